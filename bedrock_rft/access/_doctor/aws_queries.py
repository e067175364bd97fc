"""Read-only queries to AWS that return a failure instead of raising it, and IAM's policy simulation."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedrock_rft._auth.aws_failures import FailureKind, failure_kind, read_aws_failure
from bedrock_rft._auth.botocore_clients import AwsServices
from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

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
    def kind(self) -> FailureKind | None:
        """The kind of failure, such as `denied` or `not_found`; None for any other failure."""
        return failure_kind(self.code)

    @property
    def is_missing(self) -> bool:
        """True if the resource does not exist."""
        return self.kind == "not_found"

    @property
    def was_not_sent(self) -> bool:
        """True if no request was sent: there are no credentials, or the client uses the local service."""
        return self.code in {"ConfigurationError", "LocalOnly"}

    def finding(self, code: str, summary: str, actions: str | tuple[str, ...], *resources: str) -> Finding:
        """Return the finding `unknown`, with the permission for the query as its remedy if the query was denied."""
        remedy = ""
        if self.kind == "denied":
            remedy = f"Allow it: {allow_statement((actions,) if isinstance(actions, str) else actions, resources)}"
        return Finding("unknown", code, summary, str(self), remedy)

    def __str__(self) -> str:
        if self.was_not_sent:
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
        self._policies: dict[str, Mapping[str, Any] | QueryFailure] = {}

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | QueryFailure:
        try:
            if self._services.real_host(service):
                reason = "the client uses the local service, whose identities AWS does not know"
                return QueryFailure("LocalOnly", reason)
            client = self._services.client(service)
            if not hasattr(client, operation):
                reason = f"update botocore, which does not know {service} {operation} yet"
                return QueryFailure("UnknownOperation", reason)
            response: Mapping[str, Any]
            if client.can_paginate(operation):
                response = client.get_paginator(operation).paginate(**parameters).build_full_result()
            else:
                response = getattr(client, operation)(**parameters)
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
                if isinstance(response, QueryFailure):
                    self._identity = response
                else:
                    arn = sanitize_line(str(response["Arn"]), 300)
                    self._identity = CallerIdentity(arn, str(response.get("Account", "")))
            return self._identity

    def resource_policy(self, arn: str) -> Mapping[str, Any] | QueryFailure:
        """Return the resource-based policy of a function or a version; queried once for each."""
        with self._lock:
            if arn not in self._policies:
                self._policies[arn] = self("lambda", "get_policy", FunctionName=arn)
            return self._policies[arn]

    @property
    def known_arn(self) -> str | None:
        """The ARN of the identity if it was queried successfully."""
        return getattr(self._identity, "arn", None)

    def close(self) -> None:
        """Close all connections."""
        self._services.close()


def allow_statement(
    actions: tuple[str, ...], resources: tuple[str, ...], condition: Mapping[str, Any] | None = None
) -> str:
    """Return an Allow statement as JSON in backticks; it may be wrapped at any space."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return f"`{json.dumps(statement | ({'Condition': condition} if condition else {}))}`"


NO_POLICY_HELPS = "No further policy can allow it. Ask the administrator of that policy"
Verdict = Literal["allowed", "denied", "unknown"]

_ORGANISATION = "a policy of the organisation does not allow it"
_BOUNDARY = "the permissions boundary does not allow it"
_EXPLICIT = "explicitly denied"


@dataclass(frozen=True)
class Decision:
    """IAM's decision on one action."""

    action: str
    resource: str
    verdict: Verdict
    reason: str


def is_final(reason: str) -> bool:
    """Return whether a reason for a denial cannot be overcome by a further policy of the identity."""
    return reason.startswith((_ORGANISATION, _BOUNDARY, _EXPLICIT))


def resolve_principal(query: AwsQuery, arn: str, role: str | None) -> str | QueryFailure:
    """Return the ARN whose policies to simulate: for an assumed role, the role's ARN with the path that STS omits."""
    if role is None:
        return arn
    response = query("iam", "get_role", RoleName=role)
    return response if isinstance(response, QueryFailure) else str(response["Role"]["Arn"])


def simulate(
    query: AwsQuery, principal: str, actions: Sequence[str], resource: str, context: Mapping[str, str] | None = None
) -> tuple[Decision, ...] | QueryFailure:
    """Simulate actions on a resource with the policies of an identity, its boundary and its organisation."""
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in (context or {}).items()
    ]
    parameters: dict[str, Any] = {
        "PolicySourceArn": principal,
        "ActionNames": list(actions),
        "ResourceArns": [resource],
        **({"ContextEntries": entries} if entries else {}),
    }
    response = query("iam", "simulate_principal_policy", **parameters)
    if isinstance(response, QueryFailure):
        return response
    results = {str(result.get("EvalActionName")): result for result in response.get("EvaluationResults", ())}
    return tuple(_read_decision(action, resource, results.get(action)) for action in actions)


def _read_decision(action: str, resource: str, result: Mapping[str, Any] | None) -> Decision:
    if result is None:
        return Decision(action, resource, "unknown", "the simulation has no result for this action")
    missing_keys = [sanitize_line(str(key), 60) for key in result.get("MissingContextValues", ())]
    verdict = result.get("EvalDecision")
    if missing_keys:
        reason = f"the decision depends on {', '.join(missing_keys)}, which has no value in the simulation"
        return Decision(action, resource, "unknown", reason)
    if verdict == "allowed":
        return Decision(action, resource, "allowed", "according to IAM's policy simulation")
    if verdict in {"implicitDeny", "explicitDeny"}:
        return Decision(action, resource, "denied", _denial_reason(result))
    return Decision(action, resource, "unknown", f"the simulation returned {sanitize_line(str(verdict), 40)!r}")


def _denial_reason(result: Mapping[str, Any]) -> str:
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return _ORGANISATION
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return _BOUNDARY
    if result.get("EvalDecision") == "explicitDeny":
        policies = [str(match.get("SourcePolicyId", "")) for match in result.get("MatchedStatements", ())]
        names = [sanitize_line(policy, 60) for policy in policies if policy]
        return f"{_EXPLICIT} by {', '.join(names) or 'a policy'}"
    return "no policy of the identity allows it"
