"""What went wrong with a call to Lambda, IAM or STS, as an error of this package, without what botocore holds of it."""

from __future__ import annotations

import re
from typing import Any

from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.status_errors import kind
from bedrock_rft._transport.transport import Response
from bedrock_rft.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    BedrockRFTError,
    ConfigurationError,
    PermissionDeniedError,
    RateLimitError,
)
from bedrock_rft.types.errors import ErrorBody

__all__ = ["refused"]

_SHOWN = 600
_DENIAL = re.compile(r"perform:? ([a-z0-9-]+:[A-Za-z*]+)(?: on (?:resource:? )?(\S+))?")
_IDENTITY = {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}


def refused(error: Exception, service: str, operation: str, *, origin: str, policy: str) -> BedrockRFTError:
    """Say what happened, why, and what to do.

    Args:
        error: botocore's.
        service: that was asked, such as `iam`.
        operation: as AWS spells it, such as `CreateRole`.
        origin: where the credentials came from.
        policy: the command that prints a policy which allows it.
    """
    doing = f"{service} {operation}"
    response: dict[str, Any] | None = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        found = _said_no(response, doing, service, operation, origin, policy)
    else:
        found = _lost(error, doing, service)
    if isinstance(found, APIError):
        found.method, found.path = "POST", f"/{service}/{operation}"
    return found


def _said_no(
    response: dict[str, Any], doing: str, service: str, operation: str, origin: str, policy: str
) -> BedrockRFTError:
    said, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(said.get("Code") or ""), int(meta.get("HTTPStatusCode") or 0)
    text = redact(str(said.get("Message") or said.get("message") or "no explanation"))
    reply = Response(status, {"x-amzn-requestid": str(meta.get("RequestId") or "")}, b"")
    error_type = kind(reply, ErrorBody(code=code, message=text))
    request = f" (request {reply.request_id})" if reply.request_id else ""
    head = (
        f"{doing}: {sanitize_line(code, 100) or f'HTTP {status}'}: {sanitize_line(text, _SHOWN).rstrip('.')}{request}."
    )
    if not issubclass(error_type, PermissionDeniedError):
        advice = _advice(error_type, origin)
        return error_type(f"{head}{advice}", status=status, code=code or None, request_id=reply.request_id)
    stated = _DENIAL.search(text)
    action = stated[1] if stated else f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"
    resource = stated[2].rstrip(".,") if stated and stated[2] else None
    denied = PermissionDeniedError(
        f"{head} {_allow(action, resource, text, origin, policy)}",
        status=status,
        code=code or None,
        request_id=reply.request_id,
    )
    denied.action, denied.resource = action, resource
    return denied


def _allow(action: str, resource: str | None, text: str, origin: str, policy: str) -> str:
    where = f" on {sanitize_line(resource, 300)}" if resource else ""
    bound = " Where roles must have a permissions boundary, pass permissions_boundary=." * (action == "iam:CreateRole")
    if "explicit deny" in text:
        return f"A policy denies {action}{where}: no other can allow it. Ask whoever looks after that one.{bound}"
    return f"Allow {action}{where} to the identity from {origin}. '{policy}' prints a policy that does.{bound}"


def _advice(error_type: type[BedrockRFTError], origin: str) -> str:
    if issubclass(error_type, RateLimitError):
        return " Several attempts were made. Run it again: what is done stays done."
    if issubclass(error_type, AuthenticationError):
        return f" The credentials came from {origin}. Renew them, or check this machine's clock."
    return ""


def _lost(error: Exception, doing: str, service: str) -> BedrockRFTError:
    names = {each.__name__ for each in type(error).__mro__}
    detail = sanitize_line(redact(str(error)) or type(error).__name__, _SHOWN).rstrip(".")
    if names & _IDENTITY or any("SSO" in name or "Token" in name for name in names):
        return ConfigurationError(f"{doing}: the AWS credentials could not be resolved: {detail}.")
    if "ParamValidationError" in names:
        return ConfigurationError(f"{doing} was not sent: {detail}.")
    if names & {"ReadTimeoutError", "ConnectTimeoutError"}:
        sent = "ConnectTimeoutError" not in names
        return APITimeoutError(f"{doing}: no answer in time: {detail}.", reason="timeout", sent=sent)
    if "HTTPClientError" in names or "EndpointConnectionError" in names:
        reason = "certificate" if "CERTIFICATE_VERIFY_FAILED" in detail else "closed" if "Closed" in detail else "other"
        return APIConnectionError(
            f"{doing}: {detail}. Check the network, any proxy, and AWS_ENDPOINT_URL_{service.upper()}.", reason=reason
        )
    if "ResponseParserError" in names:
        return APIResponseError(f"{doing}: the answer is not the service's: {detail}. A proxy may stand between.")
    return APIError(f"{doing} failed: {type(error).__name__}: {detail}.")
