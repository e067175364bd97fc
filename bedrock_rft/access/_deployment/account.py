"""Call the services of an AWS account, and map failures to exceptions with advice."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bedrock_rft._auth.aws_failures import AwsFailure, read_aws_failure
from bedrock_rft._auth.botocore_clients import AwsServices
from bedrock_rft._auth.config import Config
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.plan import Action, PlannedStep, Step
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

if TYPE_CHECKING:
    import tenacity

_RETRIES = 4
_DENIAL = re.compile(r"perform:? ([a-z0-9-]+:[A-Za-z*]+)(?: on (?:resource:? )?(\S+))?")
_SERVER_ERROR = 500
_TYPES: Mapping[str | int, type[APIStatusError]] = {
    "not_found": NotFoundError,
    "throttled": RateLimitError,
    "credentials": AuthenticationError,
    409: ConflictError,
}
_QUOTA_REQUEST = "or ask for a higher quota at https://console.aws.amazon.com/servicequotas"
_QUOTAS = {
    ("CodeStorageExceededException", ""): (
        "The Lambda quota 'Function and layer storage' (75 GB by default) of this region is used up. Delete old "
        "versions: pass keep_versions=, or run 'aws lambda delete-function --function-name NAME --qualifier VERSION'; "
        f"{_QUOTA_REQUEST}"
    ),
    ("LimitExceeded", "RolesPerAccount"): (
        "The IAM quota 'Roles per account' (1,000 by default) is used up. Delete rewards that are not used with "
        f"client.rewards.destroy, pass role_arn= to use a role that exists, {_QUOTA_REQUEST}"
    ),
    ("LimitExceeded", "policy size"): (
        "The IAM quota for the size of a role's inline policies (10,240 characters) does not leave room for all "
        "judges. Use fewer models, or pass role_arn= to use a role that exists"
    ),
    ("LimitExceeded", ""): f"An IAM quota is used up. Delete what is not needed, {_QUOTA_REQUEST}",
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


class Account:
    """The services of an AWS account, with the region and the AWS credentials of a client, or those botocore finds."""

    def __init__(self, config: Config, *, for_job: bool = False) -> None:
        """Determine the account. If `for_job`, an error for a local service says that its jobs need no function."""
        self.region = config.region
        self._services = AwsServices(config, {}, timeout=config.timeout, retries=_RETRIES)
        self._function, self._policy_options = "", ""
        self._for_job = for_job
        self.refuse_real_account("lambda", "iam", "sts")
        identity = self.call("sts", "GetCallerIdentity", expect=("Account", "Arn"))
        self.id, self.caller = str(identity["Account"]), str(identity["Arn"])
        self.partition = self.caller.split(":", 2)[1] if self.caller.startswith("arn:") else "aws"

    @property
    def origin(self) -> str:
        """The source of the credentials."""
        return self._services.credentials.origin

    @property
    def description(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a label and a text that describe the account, the caller and the credentials."""
        return (
            ("account", f"{self.id}, {self.region}"),
            ("caller", self.caller),
            ("identity", f"AWS credentials from {self.origin}"),
        )

    def set_subject(self, function: str, role: str, boundary: str | None = None, bucket: str | None = None) -> None:
        """Set the function and the role that advice after a denial names. Without a role, advice names no policy."""
        self._function, self._policy_options = function, f" --reward {function} --role {role}" if role else ""
        self._policy_options += f" --permissions-boundary {boundary}" if boundary else ""
        self._policy_options += f" --bucket {bucket}" if bucket else ""
        if bucket:
            self.refuse_real_account("s3")

    def function_arn(self, name: str) -> str:
        """Return the ARN of a function of this account, without a qualifier."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.id}:function:{name}"

    def role_arn(self, path: str, name: str) -> str:
        """Return the ARN of a role of this account."""
        return f"arn:{self.partition}:iam::{self.id}:role{path}{name}"

    def call(
        self, service: str, operation: str, *, expect: Sequence[str] = (), pages: bool = False, **parameters: Any
    ) -> dict[str, Any]:
        """Call an operation such as `CreateRole`, or all `pages` of a list. botocore retries throttled calls."""
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()  # botocore's spelling of the operation
        client = self._services.client(service)
        problem: BedrockRFTError | None
        try:
            if pages:
                response = client.get_paginator(method).paginate(**parameters).build_full_result()
            else:
                response = getattr(client, method)(**parameters)
        except Exception as error:  # noqa: BLE001 - botocore raises its parsers' and its HTTP library's errors too
            failure = read_aws_failure(error)
            problem = self._status_error(failure, service, operation) if failure.status else None
            problem = problem or _transport_error(failure, f"{service} {operation}", service)
            if isinstance(problem, APIError):
                problem.method, problem.path = "POST", f"/{service}/{operation}"
        else:
            fields = cast("dict[str, Any]", response)
            for name in expect:
                if name not in fields:
                    raise APIResponseError(
                        f"{service} {operation}: the response has no field '{name}'. A proxy may have sent it."
                    )
            return fields
        raise problem  # outside the handler, so that no exception of botocore's, with its secrets, is chained

    def call_when_ready(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation; retry while AWS does not know its resource yet or is changing it. Raises as `call`."""

        def attempt() -> dict[str, Any]:
            return retry_until_accepted(
                lambda: self.call(service, operation, **parameters), is_too_early, SHORT_SECONDS
            )

        return retry_until_accepted(attempt, is_busy)

    def get_or_none(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """Call an operation on one resource. Return None if there is no such resource. Raises as `call`."""
        try:
            return self.call(service, operation, **parameters)
        except NotFoundError:
            return None

    def delete(self, service: str, operation: str, **parameters: Any) -> None:
        """Call an operation that deletes a resource; retry while AWS is changing it. Raises as `call`."""

        def is_retryable(error: Any) -> bool:
            return is_busy(error) or error.code == "DeleteConflict"

        retry_until_accepted(lambda: self.get_or_none(service, operation, **parameters), is_retryable)

    def plan_step(
        self, action: Action, kind: str, name: str, details: Sequence[str], call: str, **parameters: Any
    ) -> PlannedStep:
        """Return the step that makes one call, such as `iam:TagRole`, which is also the IAM action that it needs."""
        service, operation = call.split(":")
        run = self.delete if action == "delete" else self.call_when_ready
        step = Step(action, kind, name, tuple(details), (call,))
        return PlannedStep(step, lambda: run(service, operation, **parameters))

    def list_all(self, service: str, operation: str, key: str, **parameters: Any) -> Sequence[Any]:
        """Return every item of a list, across its pages. Raises as `call`."""
        items: Sequence[Any] = self.call_when_ready(service, operation, pages=True, **parameters).get(key, ())
        return items

    def _status_error(self, failure: AwsFailure, service: str, operation: str) -> APIStatusError:
        request = f" (request {failure.request_id})" if failure.request_id else ""
        head = f"{service} {operation}: {failure.code}: {failure.message or 'no explanation'}{request}."
        attributes: dict[str, Any] = {"status": failure.status, "code": failure.code, "request_id": failure.request_id}
        if failure.kind != "denied":
            default = InternalServerError if failure.status >= _SERVER_ERROR else BadRequestError
            error_type = _TYPES.get(failure.kind) or _TYPES.get(failure.status) or default
            return error_type(f"{head}{self._advice(failure, error_type)}", **attributes)
        denial = _DENIAL.search(failure.message)
        action = denial[1] if denial else f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"
        resource = denial[2].rstrip(".,") if denial and denial[2] else None
        permission = f"{action} on {sanitize_line(resource, 300)}" if resource else action
        if "explicit deny" in failure.message:
            advice = (
                f"A policy denies {permission}, and no other policy can allow it. Ask the administrator of that policy."
            )
        else:
            advice = f"Allow {permission} to the identity from {self.origin}."
            if self._policy_options:
                advice += f" 'bedrock-rft policy deployer{self._policy_options}' prints a policy that allows it."
        if action == "iam:CreateRole":
            advice += " If roles must have a permissions boundary, pass permissions_boundary=."
        denied = PermissionDeniedError(f"{head} {advice}", **attributes)
        denied.action, denied.resource = action, resource
        return denied

    def _advice(self, failure: AwsFailure, error_type: type[APIStatusError]) -> str:
        if error_type is RateLimitError:
            return " Several attempts failed. Run it again; finished steps are not repeated."
        if error_type is AuthenticationError:
            return f" The credentials came from {self.origin}. Renew them, or check this machine's clock."
        if failure.code == "InvalidParameterValueException" and "assume" in failure.message:
            trust = f"bedrock-rft policy trust --reward {self._function}"
            return f" The role's trust policy must let lambda.amazonaws.com assume it. '{trust}' prints such a policy."
        for (code, text), advice in _QUOTAS.items():
            if failure.code.startswith(code) and text.lower() in failure.message.lower():
                return f" {advice}."
        return ""

    def refuse_real_account(self, *services: str) -> None:
        """Raise `ConfigurationError` if a client for a local service would use a real account."""
        for service in services:
            host = self._services.real_host(service)
            if host:
                advice = f"use a client for AWS, or point AWS_ENDPOINT_URL_{service.upper()} at this machine too."
                if self._for_job:
                    arn = f"arn:aws:lambda:{self.region}:123456789012:function:my-reward"
                    advice = (
                        "A job on the local service needs no deployment, because the service calls its own reward: "
                        f"pass any function's ARN, such as reward='{arn}'. To deploy to AWS, {advice}"
                    )
                raise ConfigurationError(
                    f"This client uses a local service, but {host} is AWS, so nothing was sent there. "
                    f"{advice[0].upper()}{advice[1:]}"
                )


def _transport_error(failure: AwsFailure, action: str, service: str) -> BedrockRFTError:
    if failure.kind == "credentials":
        return ConfigurationError(f"{action}: the AWS credentials could not be resolved: {failure.message}.")
    if failure.kind == "invalid":
        return ConfigurationError(f"{action} was not sent: {failure.message}.")
    if failure.kind == "timeout":
        return APITimeoutError(f"{action} timed out: {failure.message}.", reason="timeout", sent=failure.sent)
    if failure.kind == "connection":
        text = failure.message
        reason = "certificate" if "CERTIFICATE_VERIFY_FAILED" in text else "closed" if "Closed" in text else "other"
        variable = {"logs": "CLOUDWATCH_LOGS"}.get(service, service.upper())
        return APIConnectionError(
            f"{action}: {text}. Check the network, any proxy, and AWS_ENDPOINT_URL_{variable}.", reason=reason
        )
    return APIResponseError(f"{action}: the response is not the service's: {failure}. A proxy may have sent it.")


T = TypeVar("T")

MAX_SECONDS = 180.0
"""A new role is known everywhere within about ten seconds, and a function is ready sooner."""

SHORT_SECONDS = 30.0
"""After this time, a resource that AWS does not find was deleted, and a role that Lambda cannot assume is not new."""

ROLE_SECONDS = 10.0
"""Seconds to retry with a role of the user, which is not new."""

MAX_CONFLICTS = 8
_BUSY = frozenset({"ResourceConflictException", "ConcurrentModification", "EntityTemporarilyUnmodifiable"})


class NotReadyError(APIError):
    """Lambda is still changing a function."""


def is_busy(error: APIStatusError) -> bool:
    """Return whether the resource is being changed by another call."""
    return error.code in _BUSY or (error.code or "").startswith("ConcurrentModification")


def is_too_early(error: APIStatusError) -> bool:
    """Return whether a service does not yet see a role or a function that exists."""
    return cannot_assume(error) or isinstance(error, NotFoundError)


def cannot_assume(error: APIStatusError) -> bool:
    """Return whether Lambda cannot assume a function's role, because it is new or because of its trust policy."""
    return error.code == "InvalidParameterValueException" and "assume" in error.message


def retry_until_accepted(
    call: Callable[[], T],
    is_retryable: Callable[[Any], bool],
    seconds: float = MAX_SECONDS,
    attempts: float = math.inf,
    kind: type[APIError] = APIStatusError,
) -> T:
    """Call a function; retry while it raises an error of this kind that is retryable."""
    import tenacity

    def should_retry(error: BaseException) -> bool:
        return isinstance(error, kind) and is_retryable(error)

    def is_over(state: tenacity.RetryCallState) -> bool:
        """Return whether the next pause would end too late, by the clock or by the pauses so far."""
        elapsed = max(state.idle_for, state.seconds_since_start or 0.0)
        return elapsed + state.upcoming_sleep > seconds or state.attempt_number >= attempts

    retry, wait = tenacity.retry_if_exception(should_retry), tenacity.wait_exponential(0.5, exp_base=1.5, max=5.0)
    return tenacity.Retrying(retry=retry, stop=is_over, wait=wait, sleep=time.sleep, reraise=True)(call)
