"""What went wrong on the way, when no whole reply came: in one word for programs, in one sentence for people."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from bedrock_rft._auth.config import Config
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.http import origin
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import APIConnectionError, APIError, APITimeoutError

__all__ = ["disarm", "lost"]

_NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
_TIMEOUTS = {"ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException"}


def lost(error: BaseException, call: Request, config: Config, outside: BaseException | None) -> APIError:
    """Say what went wrong when no whole reply came, in the words of whichever library carried it.

    Args:
        error: what the library raised.
        call: what was being sent.
        config: where to.
        outside: what the caller was handling, `sys.exc_info()[1]` before the call. Python chains it on, but it is no
            part of what happened: a connection refused there must not make a creation look as if it were never sent.
    """
    names = {kind.__name__ for cause in _causes(error, outside) for kind in type(cause).__mro__}
    # The outermost error of the HTTP library says what the exchange died of; what is behind it may be older.
    told = next((cause for cause in _causes(error, outside) if type(cause).__module__.startswith("httpx")), error)
    sent = not _NOT_SENT & {kind.__name__ for kind in type(told).__mro__}
    where, doing = _place(config), f"{call.method} {call.path}"
    detail = sanitize_line(str(error) or type(error).__name__, 200)
    certificate = next((c for c in _causes(error, outside) if isinstance(c, ssl.SSLCertVerificationError)), None)
    if certificate is not None or "CERTIFICATE_VERIFY_FAILED" in detail:
        why = sanitize_line(getattr(certificate, "verify_message", "") or detail, 200)
        return APIConnectionError(
            f"{doing}: the certificate of {where} was not accepted: {why}. Behind a proxy with a certificate authority "
            "of its own, point ca_bundle= or AWS_CA_BUNDLE at that authority's PEM file.",
            reason="certificate",
            sent=False,
        )
    if names & _TIMEOUTS:
        step = "connection" if "ConnectTimeout" in names else "free connection" if "PoolTimeout" in names else "answer"
        return APITimeoutError(
            f"{doing}: no {step} from {where} within {config.timeout:g} s.{_broken(call, sent=sent)} Check the "
            "network, or raise timeout=.",
            reason="timeout",
            sent=sent,
        )
    reason, why = _reason(names, detail)
    return APIConnectionError(
        f"{doing}: {where} {why}.{_broken(call, sent=sent)} Check base_url, the region and any proxy.",
        reason=reason,
        sent=sent,
    )


def _broken(call: Request, *, sent: bool) -> str:
    return (
        f" The upload of {sanitize_line(call.upload.filename, 100)!r} did not complete." if call.upload and sent else ""
    )


def _reason(names: set[str], detail: str) -> tuple[str, str]:
    if "gaierror" in names or "Name or service not known" in detail or "getaddrinfo" in detail:
        return "dns", "has no address (DNS)"
    if "ConnectionRefusedError" in names or "refused" in detail.lower():
        return "refused", "refused the connection"
    if "ProxyError" in names:
        return "proxy", f"could not be reached through the proxy: {detail}"
    if names & {"SSLError", "SSLEOFError", "SSLZeroReturnError"} or "SSL" in detail or "TLS" in detail:
        return "tls", f"broke off the TLS handshake or session: {detail}"
    if names & {"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "EndOfStream", "ConnectionResetError"}:
        return "closed", f"closed the connection early: {detail}"
    return "other", f"could not be reached: {detail}"


def disarm(error: BaseException, outside: BaseException | None) -> BaseException:
    """Keep what an exception says, and drop the requests and frames it holds: they carry signatures and keys.

    What the caller was handling (`outside`) is the caller's own, and left as it is.
    """
    for cause in _causes(error, outside):
        cause.__traceback__ = None
        for name in ("_request", "request", "response"):
            if name in vars(cause):
                vars(cause)[name] = None
    return error


def _causes(error: BaseException, outside: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and cause is not outside and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _place(config: Config) -> str:
    _, host, port = origin(config.base_url)
    return f"{host}:{port}"
