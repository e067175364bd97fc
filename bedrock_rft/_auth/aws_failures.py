"""Describe failures of botocore in one form without secrets, and remove secrets from botocore's logs."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import unquote

from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line

FailureKind = Literal[
    "denied", "not_found", "throttled", "credentials", "refused", "invalid", "timeout", "connection", "unreadable"
]
"""`refused` is any other error response; `invalid` is a request that botocore refused to send."""

_MAX_CHARS = 600
_PROXY_VARIABLES = {"http_proxy", "https_proxy", "all_proxy"}
_MIN_PART = 3
"""Characters of the shortest part of a password to search for, because ordinary words contain shorter parts."""
_CODES: dict[FailureKind, str] = {
    "denied": "AccessDenied AccessDeniedException UnauthorizedOperation AuthorizationError NotAuthorized",
    "not_found": "ResourceNotFoundException NoSuchEntity NoSuchEntityException NotFoundException ResourceNotFound",
    "throttled": "TooManyRequestsException Throttling ThrottlingException RequestLimitExceeded SlowDown",
    "credentials": (
        "AuthFailure IncompleteSignature MissingAuthenticationToken RequestExpired RequestTimeTooSkewed ExpiredToken "
        "ExpiredTokenException InvalidAccessKeyId InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch "
        "UnrecognizedClientException"
    ),
}
_BY_CODE: dict[str, FailureKind] = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_BY_STATUS: dict[int, FailureKind] = {401: "credentials", 403: "denied", 404: "not_found", 429: "throttled"}
_NO_IDENTITY = {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}
_TIMEOUTS = {"ReadTimeoutError", "ConnectTimeoutError"}
_NOT_SENT = {"EndpointConnectionError", "ProxyConnectionError"}
_LOGGERS_WITH_SECRETS = (
    "botocore.auth", "botocore.endpoint", "botocore.httpsession", "botocore.parsers", "urllib3.connectionpool",
)  # fmt: skip


@dataclass(frozen=True)
class AwsFailure:
    """Reason why a call to AWS failed.

    The message has no secrets, the status is 0 without a response, and `sent` is False if AWS cannot have got the
    request.
    """

    kind: FailureKind
    code: str
    message: str
    status: int = 0
    request_id: str | None = None
    sent: bool = True

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


def failure_kind(code: str) -> FailureKind | None:
    """Return the kind of a failure if its code is enough to know it, else None."""
    return _BY_CODE.get(code)


def read_aws_failure(error: BaseException) -> AwsFailure:
    """Describe an exception that a botocore client raised."""
    response = getattr(error, "response", None)  # None for connection errors of botocore
    if isinstance(response, dict) and "Error" in response:
        return _from_response(cast("dict[str, Any]", response))
    names = {base.__name__ for base in type(error).__mro__}
    code = type(error).__name__
    message = _sanitize_message(hide_proxy_password(str(error)) or code)
    if names & _NO_IDENTITY or any("SSO" in name or "Token" in name for name in names):
        return AwsFailure("credentials", code, message, sent=False)
    if names & {"ParamValidationError", "ConfigurationError"}:
        return AwsFailure("invalid", code, message, sent=False)
    message = re.sub(r"(https?://[^/\s\"']+)/[^\s\"']*", r"\1", message)  # the host is enough, and paths are long
    if names & _TIMEOUTS:
        return AwsFailure("timeout", code, message, sent="ConnectTimeoutError" not in names)
    if names & {"HTTPClientError", "ConnectionError", "IncompleteReadError"}:
        return AwsFailure("connection", code, message, sent=not names & _NOT_SENT)
    if isinstance(error, (AttributeError, LookupError, TypeError)):  # from botocore's own parser
        code, message = "UnreadableResponse", "the response has a form that botocore cannot read"
    return AwsFailure("unreadable", code, message)


def hide_proxy_password(message: str) -> str:
    """Return the message, or an explanation in its place if it contains a part of a proxy's password."""
    source = _proxy_with_password_in(message)
    if source is None:
        return message
    return (
        f"the proxy in {source} cannot be used; check its scheme, host and port, and percent-encode reserved "
        "characters in its password (the original message is hidden because it contains the password)"
    )


def redact_botocore_logs() -> None:
    """Remove session tokens, signatures, keys and proxy passwords from the DEBUG logs of botocore and urllib3."""
    for name in _LOGGERS_WITH_SECRETS:
        logging.getLogger(name).addFilter(_redact_record)


def _redact_record(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    redacted = _hide_line(redact(message))
    if redacted != message:
        record.msg, record.args = redacted, ()
    if record.exc_info:
        trace = logging.Formatter().formatException(record.exc_info)
        if (hidden := _hide_line(trace)) != trace:
            record.exc_info, record.exc_text = None, hidden
    return True


def _hide_line(text: str) -> str:
    source = _proxy_with_password_in(text)
    return f"(hidden because it contains a part of the proxy password in {source})" if source else text


def _proxy_with_password_in(message: str) -> str | None:
    """Return the source of the proxy URL whose password, or a part of it, is in a message."""
    # botocore and urllib3 quote a proxy URL that they cannot use, cut at characters that the password may contain.
    for source, url in _proxy_urls():
        user_info, at, _ = re.sub(r"^[A-Za-z0-9+.-]+:/+", "", url.strip()).rpartition("@")
        if not at:
            continue
        password = user_info.partition(":")[2] or user_info
        parts = {part for part in re.split(r"[^\w.~-]", password) if len(part) >= _MIN_PART} | {
            password,
            unquote(password),
        }
        if any(part and part in message for part in parts):
            return source
    return None


def _proxy_urls() -> Iterator[tuple[str, str]]:
    """Yield the source and URL of each proxy that botocore may use."""
    from urllib.request import getproxies

    if names := [name for name in os.environ if name.lower().endswith("_proxy") and os.environ[name]]:
        yield from ((name, os.environ[name]) for name in names if name.lower() in _PROXY_VARIABLES)
    else:
        yield from (("the system settings", url) for url in getproxies().values())


def _from_response(response: dict[str, Any]) -> AwsFailure:
    error: dict[str, Any] = response.get("Error") or {}
    metadata: dict[str, Any] = response.get("ResponseMetadata") or {}
    status = int(metadata.get("HTTPStatusCode") or 0)
    code = sanitize_line(str(error.get("Code") or ""), 100) or f"HTTP {status}"
    message = _sanitize_message(error.get("Message") or error.get("message") or "")
    kind: FailureKind = _BY_CODE.get(code) or _BY_STATUS.get(status, "refused")
    if "not authorized to perform" in message:
        kind = "denied"
    return AwsFailure(kind, code, message, status, sanitize_line(str(metadata.get("RequestId") or ""), 100) or None)


def _sanitize_message(text: object) -> str:
    return sanitize_line(redact(str(text)), _MAX_CHARS).rstrip(". ")
