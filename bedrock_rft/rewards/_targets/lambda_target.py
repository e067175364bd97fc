"""A reward function in Lambda, invoked as the service invokes it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from bedrock_rft._auth.aws_failures import AwsFailure, read_aws_failure
from bedrock_rft._auth.botocore_clients import real_host, service_client_for
from bedrock_rft._core.json_types import is_object
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._targets.fingerprint import digest
from bedrock_rft.rewards._targets.target import CONNECTION_LOST, MAX_OUTPUT_CHARS, Outcome, raised_error
from bedrock_rft.types.arn import LambdaArn

_DEFAULT_TIMEOUT = 300.0
_LONGEST_TIMEOUT = 900.0
_READ_MARGIN = 15.0
"""Seconds to wait beyond the function's own timeout, for a cold start and the network."""
_SETTINGS_TIMEOUT = 30.0

_BUSY = {
    "ServiceException",
    "EC2ThrottledException",
    "EC2UnexpectedException",
    "ENILimitReachedException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "SnapStartNotReadyException",
    "SnapStartTimeoutException",
    "EFSMountTimeoutException",
}
_SERVER_ERROR = 500
_TOO_LARGE = "Lambda takes events of at most 6 MB; send fewer rollouts at once, or shorten the answers"
_NOT_FROM_LAMBDA = "The response names no AWS error, so a proxy may have sent it; check the network and any proxy"
_NOT_READY = "The function is not ready yet; try again in a minute"
_REMEDIES = {
    **dict.fromkeys(("403", "404"), _NOT_FROM_LAMBDA),
    **dict.fromkeys(
        ("ResourceConflictException", "ResourceNotReadyException", "SnapStartNotReadyException"), _NOT_READY
    ),
    "EC2ThrottledException": "AWS limits how fast functions join a VPC; try again later",
    "AccessDeniedException": "Allow lambda:InvokeFunction on the function to the identity that invokes it",
    "ResourceNotFoundException": "Check the ARN of the function, its qualifier and its region",
    "RequestTooLargeException": _TOO_LARGE,
    "RequestEntityTooLargeException": _TOO_LARGE,
    "InvalidRuntimeException": "Deploy the function with a runtime that Lambda supports",
    "InvalidZipFileException": "Deploy the function again",
}
_KMS_REMEDY = "Check that the function's KMS key is enabled and that its execution role may use the key (kms:Decrypt)"

_WRONG_HANDLER = (
    "not_loaded",
    "cannot be loaded",
    "Check the function's handler setting: it must be module.function, as in lambda_function.lambda_handler",
)
_RUNTIME_ERRORS = {
    "Runtime.OutOfMemory": ("out_of_memory", "ran out of memory", "Deploy the function with more memory="),
    "Runtime.ImportModuleError": (
        "not_loaded",
        "cannot be loaded",
        "Add the missing module to the package (requirements=, include=) and deploy the function again",
    ),
    "Runtime.UserCodeSyntaxError": (
        "not_loaded",
        "cannot be loaded",
        "Correct the syntax, or choose a newer runtime=, and deploy the function again",
    ),
    "Runtime.HandlerNotFound": _WRONG_HANDLER,
    "Runtime.MalformedHandlerName": _WRONG_HANDLER,
    "Runtime.InvalidEntrypoint": _WRONG_HANDLER,
    "Runtime.MarshalError": (
        "not_json",
        "returned a value that cannot be sent as JSON",
        "Convert scores with float(…) and leave out other objects",
    ),
    "Function.ResponseSizeTooLarge": (
        "too_large",
        "returned more than Lambda can send",
        "Return less text, because Lambda sends at most 6 MB",
    ),
    "Sandbox.Timedout": ("timeout", "ran out of time", "Make the function faster, or raise its timeout="),
    "Runtime.ExitError": (
        "died",
        "ended its process",
        "Look for os._exit, sys.exit or a crash in native code, because the whole batch is lost",
    ),
}
"""For Lambda's own error types: the code of the error, what happened, and the remedy."""


class LambdaTarget:
    """A function in Lambda, invoked as the service invokes it."""

    def __init__(self, arn: str, client: Any, timeout: float | None) -> None:
        """Read the settings of the function, if the caller has the permission."""
        self.name, self.arn = arn, arn
        region = LambdaArn(arn).region
        given = client if hasattr(client, "invoke") else None
        host = "" if given is not None else real_host(client, "lambda", region)
        if host:
            raise ConfigurationError(
                f"Jobs on the local service call its own reward, whatever the ARN, so {arn} was not invoked: {host} is "
                "AWS. To check the reward's code, pass its file, 'file.py:name', to rewards.check. To invoke the "
                "function, use a client for AWS, or point AWS_ENDPOINT_URL_LAMBDA at this machine too."
            )
        settings_client = given or service_client_for(
            client, "lambda", region=region, timeout=_SETTINGS_TIMEOUT, retries=0
        )
        try:
            self._settings = self._read_settings(settings_client)
        finally:
            if given is None:
                settings_client.close()
        self._revision = self._settings.get("RevisionId") or self._settings.get("CodeSha256") or uuid4()
        own = self._settings.get("Timeout")
        self.own_timeout = float(own) if isinstance(own, (int, float)) and own > 0 else None
        self.timeout = timeout or self.own_timeout or _DEFAULT_TIMEOUT
        read_timeout = (self.own_timeout or _LONGEST_TIMEOUT) + _READ_MARGIN
        self._client = given or service_client_for(client, "lambda", region=region, timeout=read_timeout, retries=0)

    def _read_settings(self, client: Any) -> Mapping[str, Any]:
        try:
            found: object = client.get_function_configuration(FunctionName=self.arn)
        except ConfigurationError:
            raise
        except Exception:  # noqa: BLE001 - invoking it reports the same failure
            return {}
        return found if is_object(found) else {}

    @property
    def fingerprint(self) -> str:
        """The revision of the function; a new value for each target if the caller lacks the permission to read it."""
        return digest([f"{self.arn} {self._revision}".encode()])

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        try:
            response = self._client.invoke(FunctionName=self.arn, Payload=json.dumps(event).encode(), LogType="Tail")
            payload = bytes(response["Payload"].read())
        except Exception as error:  # noqa: BLE001 - every failure is an outcome
            return Outcome(None, time.monotonic() - began, error=self._not_invoked(read_aws_failure(error)))
        seconds, printed = time.monotonic() - began, _decode_log(response.get("LogResult"))
        if not payload:  # Lambda sends at least `null`
            lost = AwsFailure("connection", "EmptyResponse", "the response has no body")
            return Outcome(None, seconds, printed, self._not_invoked(lost))
        try:
            result = json.loads(payload)
        except (ValueError, RecursionError):  # the latter for brackets nested a thousand deep
            start = sanitize_line(payload[:60].decode("utf-8", "replace"))
            text = f"The reward function could not be invoked: the response is not JSON, and begins with {start!r}."
            failure = RewardError(f"{text} A proxy may have sent it.", code="not_invoked")
            return Outcome(None, seconds, printed, failure)
        if response.get("FunctionError"):
            return Outcome(None, seconds, printed, _function_error(result if is_object(result) else {}))
        return Outcome(result, seconds, printed)

    def _not_invoked(self, failure: AwsFailure) -> RewardError:
        """Return the error for an invocation without a response from the function."""
        remedy = _REMEDIES.get(failure.code, _KMS_REMEDY if failure.code.startswith("KMS") else "")
        if failure.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # also from a proxy, which sends no error code
            remedy = _TOO_LARGE
        code, cause = "not_invoked", None
        if failure.kind == "timeout" and failure.sent:
            code = "timeout"
            own = f"its own timeout is {self.own_timeout:g} s" if self.own_timeout else "its own timeout is not known"
            remedy = f"There was no response, although {own}; check the network, or make the function faster"
        elif failure.kind in ("connection", "timeout"):
            code, cause = "busy", CONNECTION_LOST
            remedy = "The connection was lost; check the network and any proxy"
        elif failure.kind == "throttled" or failure.code in _BUSY or failure.status >= _SERVER_ERROR:
            code = "busy"
            if failure.kind == "throttled":
                remedy = "Lambda limits concurrent invocations; try again later, or ask AWS for a higher limit"
        elif failure.kind == "credentials":
            remedy = "Renew the AWS credentials, or check this machine's clock"
        elif failure.kind == "unreadable":
            remedy = "The response is not Lambda's; a proxy may have sent it"
        return RewardError(
            f"The reward function could not be invoked: {failure}.{f' {remedy}.' if remedy else ''}",
            code=code,
            cause=cause,
        )

    def close(self) -> None:
        self._client.close()


def _function_error(fields: Mapping[str, Any]) -> RewardError:
    """Return the error for a function that Lambda reports as failed."""
    name, message = str(fields.get("errorType") or "an error"), sanitize_line(str(fields.get("errorMessage", "")), 500)
    key = name
    if "Task timed out" in message or ("timed out" in message and name == "TimeoutError"):
        key = "Sandbox.Timedout"
    elif name == "Runtime.ExitError" and ("signal: killed" in message or "memory" in message):
        key = "Runtime.OutOfMemory"
    text = f"{sanitize_line(name, 100)}: {message}".rstrip(": ")
    advice = _RUNTIME_ERRORS.get(key)
    if advice is not None:
        code, event, remedy = advice
        return RewardError(f"The reward function {event}: {text.rstrip('.')}. {remedy}.", code=code)
    if name.startswith(("Sandbox.", "Extension.", "Runtime.")):
        return RewardError(
            f"The reward function did not run: {text.rstrip('.')}. See the function's log in CloudWatch.", code="died"
        )
    frames = re.findall(r'([^"/\\\\]+)", line (\d+)', str(fields.get("stackTrace")))
    place = f" ({sanitize_line(frames[-1][0], 100)}, line {frames[-1][1]})" if frames else ""
    return raised_error(text + place, sanitize_line(name, 100))


def _decode_log(encoded: object) -> str:
    """Return the end of the function's log, without the lines that Lambda adds."""
    if not isinstance(encoded, str):
        return ""
    try:
        lines = base64.b64decode(encoded).decode("utf-8", "replace").splitlines()
    except ValueError:
        return ""
    own = ("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START")
    return "\n".join(line for line in lines if not line.startswith(own))[:MAX_OUTPUT_CHARS]
