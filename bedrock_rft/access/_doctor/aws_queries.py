"""Read-only queries to AWS that return a failure instead of raising it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_rft._auth.aws_failures import read_aws_failure
from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._aws_services import AwsServices
from bedrock_rft.errors import ConfigurationError

__all__ = ["Aws", "AwsQuery", "CallerIdentity", "QueryFailure", "allow_statement"]

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
_MISSING = {
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NoSuchEntityException",
    "NotFoundException",
    "ResourceNotFound",
}
_NOT_SENT = {"ConfigurationError", "LocalOnly"}
_EXPECTED_FIELDS = {
    "get_caller_identity": "Arn",
    "get_role": "Role",
    "list_attached_role_policies": "AttachedPolicies",
    "simulate_principal_policy": "EvaluationResults",
    "get_function_configuration": "FunctionName",
    "get_function_url_config": "AuthType",
    "get_policy": "Policy",
    "describe_key": "KeyMetadata",
    "describe_vpc_endpoints": "VpcEndpoints",
    "describe_route_tables": "RouteTables",
    "get_inference_profile": "models",
}
"""A field that the response of an operation always has. A proxy may answer `{}` in the service's place."""


@dataclass(frozen=True)
class QueryFailure:
    """Reason why a query has no result."""

    code: str
    text: str

    @property
    def denied(self) -> bool:
        """True if the identity lacks the permission for the query."""
        return self.code in _DENIED

    @property
    def missing(self) -> bool:
        """True if the resource does not exist."""
        return self.code in _MISSING

    @property
    def not_sent(self) -> bool:
        """True if no request was sent: there are no credentials, or the client uses the local service."""
        return self.code in _NOT_SENT

    def finding(self, code: str, summary: str, actions: str | tuple[str, ...], *resources: str) -> Finding:
        """Return the finding `unknown`, with the permission for the query as its remedy if the query was denied."""
        remedy = ""
        if self.denied:
            remedy = f"Allow it: {allow_statement((actions,) if isinstance(actions, str) else actions, resources)}"
        return Finding("unknown", code, summary, str(self), remedy)

    def __str__(self) -> str:
        if self.not_sent:
            return "no request to AWS was possible"  # the finding on the identity gives the reason
        return f"{self.code}: {self.text}" if self.text else self.code


@dataclass(frozen=True)
class CallerIdentity:
    """An identity as returned by STS."""

    arn: str
    account: str

    @property
    def role(self) -> str | None:
        """The name of the assumed role, or None for another kind of identity."""
        kind, _, rest = self.arn.rpartition(":")[2].partition("/")
        return rest.partition("/")[0] or None if kind == "assumed-role" else None

    @property
    def is_root(self) -> bool:
        """True for the account's root user, which no policy of the account limits."""
        return self.arn.endswith(":root")


AwsQuery = Callable[..., "Mapping[str, Any] | QueryFailure"]
"""Calls one read-only operation, by botocore's names of the service and of the operation. It does not raise."""


class Aws:
    """An `AwsQuery` that calls botocore."""

    def __init__(self, services: AwsServices) -> None:
        self._services, self.credentials = services, services.credentials
        self._lock = threading.Lock()
        self._identity: CallerIdentity | QueryFailure | None = None

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | QueryFailure:
        try:
            if self._services.real_host(service):
                reason = "the client uses the local service, whose identities AWS does not know"
                return QueryFailure("LocalOnly", reason)
            client = self._services.client(service)
            if not hasattr(client, operation):
                return QueryFailure(
                    "UnknownOperation", f"update botocore, which does not know {service} {operation} yet"
                )
            response: Mapping[str, Any] = getattr(client, operation)(**parameters)
        except ConfigurationError as error:
            return QueryFailure(type(error).__name__, sanitize_line(redact(str(error)), 400).rstrip("."))
        except Exception as error:  # noqa: BLE001 - botocore raises many types for responses it cannot parse
            failure = read_aws_failure(error)
            unreadable = failure.kind == "unreadable"
            return QueryFailure(failure.code, "the response cannot be parsed" if unreadable else failure.message)
        expected = _EXPECTED_FIELDS.get(operation)
        if expected is not None and expected not in response:
            return QueryFailure("InvalidResponse", f"the response has no {expected}; a proxy may have sent it")
        return response

    @property
    def identity(self) -> CallerIdentity | QueryFailure:
        """The identity of the credentials; queried once."""
        with self._lock:
            if self._identity is None:
                response = self("sts", "get_caller_identity")
                self._identity = (
                    response
                    if isinstance(response, QueryFailure)
                    else CallerIdentity(sanitize_line(str(response["Arn"]), 300), str(response.get("Account", "")))
                )
            return self._identity

    @property
    def known_identity(self) -> CallerIdentity | None:
        """The identity of the credentials if it was queried successfully."""
        return self._identity if isinstance(self._identity, CallerIdentity) else None

    def close(self) -> None:
        """Close all connections."""
        self._services.close()


def allow_statement(
    actions: tuple[str, ...], resources: tuple[str, ...], condition: Mapping[str, Any] | None = None
) -> str:
    """Return an Allow statement as JSON in backticks; it may be wrapped at any space."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return f"`{json.dumps(statement | ({'Condition': condition} if condition else {}))}`"
