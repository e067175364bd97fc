"""IAM's policy simulation: which actions an identity may perform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure

__all__ = ["NO_POLICY_HELPS", "Decision", "Verdict", "is_final", "resolve_principal", "simulate"]

NO_POLICY_HELPS = "No further policy can allow it. Ask the administrator of that policy"
Verdict = Literal["allowed", "denied", "unknown"]

_ORGANISATION = "a policy of the organisation does not allow it"
_BOUNDARY = "the permissions boundary does not allow it"
_EXPLICIT = "explicitly denied"
_MAX_PAGES = 10


@dataclass(frozen=True)
class Decision:
    """Decision on one action."""

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
    parameters = {
        "PolicySourceArn": principal,
        "ActionNames": list(actions),
        "ResourceArns": [resource],
        **({"ContextEntries": entries} if entries else {}),
    }
    results: list[Mapping[str, Any]] = []
    marker: dict[str, str] = {}
    for _ in range(_MAX_PAGES):
        page = query("iam", "simulate_principal_policy", **parameters, **marker)
        if isinstance(page, QueryFailure):
            return page
        results += page.get("EvaluationResults", ())
        if not page.get("IsTruncated") or not page.get("Marker"):
            break
        marker = {"Marker": page["Marker"]}
    return tuple(_decisions(actions, resource, {str(result.get("EvalActionName")): result for result in results}))


def _decisions(actions: Sequence[str], resource: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[Decision]:
    for action in actions:
        result = results.get(action)
        if result is None:
            yield Decision(action, resource, "unknown", "the simulation has no result for it")
        else:
            yield _decision(action, resource, result)


def _decision(action: str, resource: str, result: Mapping[str, Any]) -> Decision:
    missing = [sanitize_line(str(key), 60) for key in result.get("MissingContextValues", ())]
    verdict = result.get("EvalDecision")
    if missing:
        reason = f"it depends on {', '.join(missing)}, which has no value in the simulation"
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
        named = [sanitize_line(policy, 60) for policy in policies if policy]
        return f"{_EXPLICIT} by {', '.join(named) or 'a policy'}"
    return "no policy of the identity allows it"
