"""Map exceptions of HTTP libraries to `APIConnectionError` and `APITimeoutError`."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from bedrock_rft._auth.config import Config
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.http import origin
from bedrock_rft._transport.proxy import find_proxy
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import APIConnectionError, APIError, APITimeoutError

_NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
_TIMEOUTS = {"ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException"}
_TLS_ERRORS = {"SSLError", "SSLEOFError", "SSLZeroReturnError"}
_CLOSED_ERRORS = {"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "EndOfStream", "ConnectionResetError"}
# Parts of the error texts for certificates that only newer versions reject: Python 3.13, which sets
# `VERIFY_X509_STRICT`, or a recent OpenSSL.
_STRICTNESS = (
    "authority key identifier", "subject key identifier", "basic constraints", "key usage", "ca cert does not include",
    "path length", "invalid extension", "not marked critical", "ca md too weak", "key too small",
)  # fmt: skip


def map_connection_error(
    error: BaseException, request: Request, config: Config, outer_error: BaseException | None
) -> APIError:
    """Return the error to raise if no complete response arrived, caused by the exception of the HTTP library."""
    # The chain of `error` contains `outer_error`, which the caller was handling. Leave it out: if it is a refused
    # connection, the creation of a job would look as if it was never sent.
    mapped = _describe(error, request, config, outer_error)
    mapped.__cause__ = _strip_secrets(error, outer_error)
    return mapped


def _describe(error: BaseException, request: Request, config: Config, outer_error: BaseException | None) -> APIError:
    names = {kind.__name__ for cause in _causes(error, outer_error) for kind in type(cause).__mro__}
    # The outermost exception of the HTTP library is the current failure. Its causes may be older failures.
    current = next((c for c in _causes(error, outer_error) if type(c).__module__.startswith("httpx")), error)
    sent = not _NOT_SENT & {kind.__name__ for kind in type(current).__mro__}
    _, host, port = origin(config.base_url)
    endpoint = f"{host}:{port}"
    detail = sanitize_line(str(current) or type(current).__name__, 200).removesuffix(".")
    certificate = next((c for c in _causes(error, outer_error) if isinstance(c, ssl.SSLCertVerificationError)), None)
    if certificate is not None or "CERTIFICATE_VERIFY_FAILED" in detail:
        why = sanitize_line(getattr(certificate, "verify_message", "") or detail, 200)
        return APIConnectionError(
            f"{request.summary}: the certificate of {endpoint} was not accepted: {why}. {_certificate_advice(why)}",
            reason="certificate",
            sent=False,
        )
    if _is_header_error(current):
        return APIConnectionError(
            f"{request.summary}: a header of the request cannot be sent, because its name or value contains a line "
            "break or another character that HTTP does not allow. The value is not shown, because it may be a secret. "
            "Check the key, the credentials, and variables such as OPENAI_CUSTOM_HEADERS.",
            reason="header",
            sent=False,
        )
    proxy = None if sent else find_proxy(config.base_url)
    peer, advice = endpoint, f"Check {config.endpoint_setting}, the region and any proxy."
    if proxy is not None:
        peer = f"the proxy {proxy.address} ({proxy.source})"
        advice = f"Check {proxy.source}, or add {host} to NO_PROXY."
    upload = ""
    if sent and request.upload is not None:
        upload = f" The upload of {sanitize_line(request.upload.filename, 100)!r} did not complete."
    if names & _TIMEOUTS:
        step = (
            "connection" if "ConnectTimeout" in names else "free connection" if "PoolTimeout" in names else "response"
        )
        return APITimeoutError(
            f"{request.summary}: no {step} from {peer} within {config.timeout:g} s.{upload} Check the network, or "
            "raise timeout=.",
            reason="timeout",
            sent=sent,
        )
    reason, text = _reason(names, detail, endpoint)
    if proxy is not None and reason == "tls":
        peer = f"{endpoint}, or the proxy {proxy.address} ({proxy.source}),"
    return APIConnectionError(f"{request.summary}: {peer} {text}.{upload} {advice}", reason=reason, sent=sent)


def _is_header_error(error: BaseException) -> bool:
    return type(error).__name__ == "LocalProtocolError" and "header" in str(error)


def _certificate_advice(why: str) -> str:
    lowered = why.lower()
    if any(text in lowered for text in _STRICTNESS):
        return (
            "The certificate violates RFC 5280, which Python checks strictly since version 3.13. Ask the operator of "
            "the proxy or the authority for a certificate with the missing extension, and name it with ca_bundle= or "
            "AWS_CA_BUNDLE. Until then, you can use Python 3.12."
        )
    first = ""
    if "expired" in lowered or "not yet valid" in lowered:
        first = "Check this machine's clock. "
    elif "mismatch" in lowered:
        first = "Check base_url: the URL, or a DNS entry, may lead to another server. "
    return (
        f"{first}Behind a proxy with its own certificate authority, set ca_bundle= or AWS_CA_BUNDLE to the PEM file of "
        "that authority."
    )


def _reason(names: set[str], detail: str, endpoint: str) -> tuple[str, str]:
    if "ProxyError" in names:
        return "proxy", f"did not open a connection to {endpoint}: {detail}"
    if "gaierror" in names or "Name or service not known" in detail or "getaddrinfo" in detail:
        return "dns", "has no address (DNS)"
    if "ConnectionRefusedError" in names or "refused" in detail.lower():
        return "refused", "refused the connection"
    if names & _TLS_ERRORS or "SSL" in detail or "TLS" in detail:
        return "tls", f"ended the TLS handshake or session: {detail}"
    if names & _CLOSED_ERRORS:
        return "closed", f"closed the connection early: {detail}"
    return "other", f"could not be reached: {detail}"


def _strip_secrets(error: BaseException, outer_error: BaseException | None) -> BaseException:
    """Remove the requests, frames and header values that an exception and its causes refer to: they may be secret."""
    for cause in _causes(error, outer_error):
        cause.__traceback__ = None
        if _is_header_error(cause):
            cause.args = ("Illegal header",)
        for name in ("_request", "request", "response"):
            if name in vars(cause):
                vars(cause)[name] = None
    return error


def _causes(error: BaseException, outer_error: BaseException | None) -> Iterator[BaseException]:
    visited: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and cause is not outer_error and id(cause) not in visited:
        visited.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
