"""Map failures of Lambda, IAM and STS to the package's exceptions, with advice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bedrock_rft._auth.aws_failures import AwsFailure
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

__all__ = ["api_error"]

_DENIAL = re.compile(r"perform:? ([a-z0-9-]+:[A-Za-z*]+)(?: on (?:resource:? )?(\S+))?")
_SERVER_ERROR = 500
_TYPES: Mapping[str | int, type[APIStatusError]] = {
    "not_found": NotFoundError,
    "throttled": RateLimitError,
    "credentials": AuthenticationError,
    409: ConflictError,
}
_ASK_FOR_MORE = "or ask for a higher quota at https://console.aws.amazon.com/servicequotas"
_QUOTAS = {
    ("CodeStorageExceededException", ""): (
        "The Lambda quota 'Function and layer storage' (75 GB by default) of this region is used up. Delete old "
        "versions: pass keep_versions=, or run 'aws lambda delete-function --function-name NAME --qualifier VERSION'; "
        f"{_ASK_FOR_MORE}"
    ),
    ("LimitExceeded", "RolesPerAccount"): (
        "The IAM quota 'Roles per account' (1,000 by default) is used up. Delete rewards that are not used with "
        f"client.rewards.destroy, pass role_arn= to use a role that exists, {_ASK_FOR_MORE}"
    ),
    ("LimitExceeded", "policy size"): (
        "The IAM quota for the size of a role's inline policies (10,240 characters) does not leave room for all "
        "judges. Use fewer models, or pass role_arn= to use a role that exists"
    ),
    ("LimitExceeded", ""): f"An IAM quota is used up. Delete what is not needed, {_ASK_FOR_MORE}",
    ("InvalidParameterValueException", "MemorySize"): (
        "The Lambda quota for the memory of a function is 3,008 MB in new accounts. Choose less memory=, or ask AWS "
        "Support for more"
    ),
    ("InvalidParameterValueException", "Unzipped size"): (
        "The Lambda quota for an unzipped package is 250 MB. Package fewer requirements or files"
    ),
    ("NoSuchBucket", ""): "Create the bucket in the region of the function, or pass another bucket=",
    ("RequestEntityTooLargeException", ""): (
        "The Lambda quota for a zip that is sent directly is 50 MB. Pass bucket=, or package less"
    ),
}
"""Advice by the beginning of the error code and a part of the message."""


def api_error(
    failure: AwsFailure, service: str, operation: str, *, origin: str, policy: str, trust: str
) -> BedrockRFTError:
    """Return the exception for a failed call."""
    doing = f"{service} {operation}"
    error: BedrockRFTError
    if failure.status:
        error = _status_error(failure, doing, service, operation, origin, policy, trust)
    else:
        error = _transport_error(failure, doing, service)
    if isinstance(error, APIError):
        error.method, error.path = "POST", f"/{service}/{operation}"
    return error


def _status_error(
    failure: AwsFailure, doing: str, service: str, operation: str, origin: str, policy: str, trust: str
) -> APIStatusError:
    request = f" (request {failure.request_id})" if failure.request_id else ""
    head = f"{doing}: {failure.code}: {failure.message or 'no explanation'}{request}."
    about: dict[str, Any] = {"status": failure.status, "code": failure.code, "request_id": failure.request_id}
    if failure.kind != "denied":
        error_type = _TYPES.get(failure.kind) or _TYPES.get(failure.status)
        if error_type is None:
            error_type = InternalServerError if failure.status >= _SERVER_ERROR else BadRequestError
        return error_type(f"{head}{_advice(failure, error_type, origin, trust)}", **about)
    named = _DENIAL.search(failure.message)
    action = named[1] if named else f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"
    resource = named[2].rstrip(".,") if named and named[2] else None
    denied = PermissionDeniedError(
        f"{head} {_permission_advice(action, resource, failure.message, origin, policy)}", **about
    )
    denied.action, denied.resource = action, resource
    return denied


def _permission_advice(action: str, resource: str | None, message: str, origin: str, policy: str) -> str:
    on = f" on {sanitize_line(resource, 300)}" if resource else ""
    boundary = ""
    if action == "iam:CreateRole":
        boundary = " If roles must have a permissions boundary, pass permissions_boundary=."
    if "explicit deny" in message:
        return (
            f"A policy denies {action}{on}, and no other policy can allow it. Ask the administrator of that policy."
            f"{boundary}"
        )
    return f"Allow {action}{on} to the identity from {origin}. '{policy}' prints a policy that allows it.{boundary}"


def _advice(failure: AwsFailure, error_type: type[APIStatusError], origin: str, trust: str) -> str:
    if error_type is RateLimitError:
        return " Several attempts failed. Run it again; finished steps are not repeated."
    if error_type is AuthenticationError:
        return f" The credentials came from {origin}. Renew them, or check this machine's clock."
    if failure.code == "InvalidParameterValueException" and "assume" in failure.message:
        return f" Its trust policy must let lambda.amazonaws.com assume it. '{trust}' prints one that does."
    for (code, text), advice in _QUOTAS.items():
        if failure.code.startswith(code) and text.lower() in failure.message.lower():
            return f" {advice}."
    return ""


def _transport_error(failure: AwsFailure, doing: str, service: str) -> BedrockRFTError:
    if failure.kind == "credentials":
        return ConfigurationError(f"{doing}: the AWS credentials could not be resolved: {failure.message}.")
    if failure.kind == "invalid":
        return ConfigurationError(f"{doing} was not sent: {failure.message}.")
    if failure.kind == "timeout":
        return APITimeoutError(f"{doing} timed out: {failure.message}.", reason="timeout", sent=failure.sent)
    if failure.kind == "connection":
        text = failure.message
        reason = "certificate" if "CERTIFICATE_VERIFY_FAILED" in text else "closed" if "Closed" in text else "other"
        return APIConnectionError(
            f"{doing}: {text}. Check the network, any proxy, and AWS_ENDPOINT_URL_{service.upper()}.", reason=reason
        )
    return APIResponseError(f"{doing}: the response is not the service's: {failure}. A proxy may have sent it.")
