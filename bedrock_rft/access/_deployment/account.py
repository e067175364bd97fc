"""Calls to the services of an AWS account."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from bedrock_rft._auth.aws_failures import read_aws_failure
from bedrock_rft._auth.config import Config
from bedrock_rft.access._aws_services import AwsServices
from bedrock_rft.access._deployment.api_errors import api_error
from bedrock_rft.access._deployment.plan import Action, PlannedStep, Step
from bedrock_rft.access._deployment.retry import SHORT_SECONDS, is_busy, is_too_early, retry_until_accepted
from bedrock_rft.errors import APIResponseError, ConfigurationError, NotFoundError

__all__ = ["Account"]

_RETRIES = 4


class Account:
    """The services of an AWS account, called with a client's region and AWS credentials.

    A client that has an API key cannot sign with it, so botocore's credential chain is used instead.
    """

    def __init__(self, config: Config) -> None:
        self.region = config.region
        self._services = AwsServices(config, {}, timeout=config.timeout, retries=_RETRIES)
        self._function, self._policy_options = "", ""
        self._refuse_real_account("lambda", "iam", "sts")
        identity = self.call("sts", "GetCallerIdentity", expect=("Account", "Arn"))
        self.id, self.caller = str(identity["Account"]), str(identity["Arn"])
        self.partition = self.caller.split(":", 2)[1] if self.caller.startswith("arn:") else "aws"

    @property
    def origin(self) -> str:
        """The source of the credentials."""
        return self._services.credentials.origin

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """The account, the caller and the credentials, by name."""
        return (
            ("account", f"{self.id}, {self.region}"),
            ("caller", self.caller),
            ("identity", f"AWS credentials from {self.origin}"),
        )

    def set_subject(self, function: str, role: str, boundary: str | None = None, bucket: str | None = None) -> None:
        """Set the function, the role, the permissions boundary and the bucket that the advice after a denial names."""
        self._function, self._policy_options = function, f" --reward {function} --role {role}"
        self._policy_options += f" --permissions-boundary {boundary}" if boundary else ""
        self._policy_options += f" --bucket {bucket}" if bucket else ""
        if bucket:
            self._refuse_real_account("s3")

    def function_arn(self, name: str) -> str:
        """Return the ARN of a function of this account, without a qualifier."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.id}:function:{name}"

    def role_arn(self, path: str, name: str) -> str:
        """Return the ARN of a role of this account."""
        return f"arn:{self.partition}:iam::{self.id}:role{path}{name}"

    def call(self, service: str, operation: str, *, expect: Sequence[str] = (), **parameters: Any) -> dict[str, Any]:
        """Call an operation such as `CreateRole`. botocore retries throttled calls."""
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()  # botocore's spelling of the operation
        client = self._services.client(service)
        try:
            response = getattr(client, method)(**parameters)
        except Exception as error:  # noqa: BLE001 - botocore raises its parsers' and its HTTP library's errors too
            problem = api_error(
                read_aws_failure(error),
                service,
                operation,
                origin=self.origin,
                policy=f"python -m bedrock_rft.access policy deployer{self._policy_options}",
                trust=f"python -m bedrock_rft.access policy trust --reward {self._function}",
            )
        else:
            found = cast("dict[str, Any]", response)
            for path in expect:
                if not _has_field(found, path):
                    raise APIResponseError(
                        f"{service} {operation}: the response has no field '{path}'. A proxy may have sent it."
                    )
            return found
        raise problem  # outside the handler, so that no exception of botocore's, with its secrets, is chained

    def call_existing(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation on a resource that exists, again while AWS does not know it yet or is changing it.

        Raises as `call`.
        """

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
        """Call an operation that deletes a resource, again while AWS is changing it. Raises as `call`."""

        def is_retryable(error: Any) -> bool:
            return is_busy(error) or error.code == "DeleteConflict"

        retry_until_accepted(lambda: self.get_or_none(service, operation, **parameters), is_retryable)

    def planned(
        self, action: Action, kind: str, name: str, details: Sequence[str], call: str, **parameters: Any
    ) -> PlannedStep:
        """Return the step that makes one call, such as `iam:TagRole`, which is also the IAM action that it needs."""
        service, operation = call.split(":")
        run = self.delete if action == "delete" else self.call_existing
        step = Step(action, kind, name, tuple(details), (call,))
        return PlannedStep(step, lambda: run(service, operation, **parameters))

    def list_all(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield every item of a list, across its pages. Raises as `call`."""
        page_parameters = dict(parameters)
        while True:
            page = self.call_existing(service, operation, **page_parameters)
            yield from page.get(key, ())
            following = page.get("NextMarker") or (page.get("Marker") if page.get("IsTruncated") else None)
            if not following:
                return
            page_parameters = {**parameters, "Marker": following}

    def _refuse_real_account(self, *services: str) -> None:
        """Raise `ConfigurationError` if a client for a local service would change a real account."""
        for service in services:
            host = self._services.real_host(service)
            if host:
                raise ConfigurationError(
                    f"This client uses a local service, but {host} is AWS, and a real account would be changed. Make a "
                    f"client for AWS, or point AWS_ENDPOINT_URL_{service.upper()} at this machine too."
                )


def _has_field(response: object, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(response, dict) or name not in response:
            return False
        response = cast("dict[str, Any]", response)[name]
    return True
