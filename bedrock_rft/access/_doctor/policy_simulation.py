"""What IAM says an identity may do: its own simulation, and never a guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import Ask, Refused

__all__ = ["ELSEWHERE", "Decision", "Verdict", "principal", "simulate"]

Verdict = Literal["allowed", "denied", "unknown"]

ELSEWHERE = (
    "a policy of the organisation does not allow it",
    "its permissions boundary does not allow it",
    "denied outright",
)
"""Reasons for a denial that no further policy can mend: how they begin."""

_MOST_PAGES = 10


@dataclass(frozen=True)
class Decision:
    """Whether an identity may do one thing.

    Attributes:
        action: such as `bedrock-mantle:CreateFile`.
        verdict: `unknown` where it hangs on a condition that the simulation was not told of.
        why: how that is known.
    """

    action: str
    verdict: Verdict
    why: str


def principal(ask: Ask, arn: str, role: str | None) -> str | Refused:
    """The ARN whose policies are to be simulated: of an assumed role, the role itself, whose path STS leaves out."""
    if role is None:
        return arn
    found = ask("iam", "get_role", RoleName=role)
    return found if isinstance(found, Refused) else str(found["Role"]["Arn"])


def simulate(
    ask: Ask, who: str, actions: Sequence[str], resource: str, context: Mapping[str, str] | None = None
) -> tuple[Decision, ...] | Refused:
    """Ask IAM what an identity may do to a resource: its policies, its boundary and its organisation's.

    Args:
        ask: whom to ask.
        who: the ARN of a user or a role.
        actions: what it would do.
        resource: an ARN, or `*`.
        context: values of condition keys, as the calls would have them.
    """
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in (context or {}).items()
    ]
    asked = {
        "PolicySourceArn": who,
        "ActionNames": list(actions),
        "ResourceArns": [resource],
        **({"ContextEntries": entries} if entries else {}),
    }
    results: list[Mapping[str, Any]] = []
    marker: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        page = ask("iam", "simulate_principal_policy", **asked, **marker)
        if isinstance(page, Refused):
            return page
        results += page.get("EvaluationResults", ())
        if not page.get("IsTruncated") or not page.get("Marker"):
            break
        marker = {"Marker": page["Marker"]}
    return tuple(_decisions(actions, {str(each.get("EvalActionName")): each for each in results}))


def _decisions(actions: Sequence[str], results: Mapping[str, Mapping[str, Any]]) -> Iterator[Decision]:
    for action in actions:
        result = results.get(action)
        yield Decision(action, "unknown", "the simulation left it out") if result is None else _decision(action, result)


def _decision(action: str, result: Mapping[str, Any]) -> Decision:
    missing = [sanitize_line(str(key), 60) for key in result.get("MissingContextValues", ())]
    verdict = result.get("EvalDecision")
    if missing:
        return Decision(action, "unknown", f"it hangs on {', '.join(missing)}, which a simulation is not told")
    if verdict == "allowed":
        return Decision(action, "allowed", "by IAM's simulation of its policies")
    if verdict in {"implicitDeny", "explicitDeny"}:
        return Decision(action, "denied", _reason(result))
    return Decision(action, "unknown", f"the simulation says {sanitize_line(str(verdict), 40)}")


def _reason(result: Mapping[str, Any]) -> str:
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return ELSEWHERE[0]
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return ELSEWHERE[1]
    if result.get("EvalDecision") == "explicitDeny":
        named = [sanitize_line(str(each.get("SourcePolicyId", "")), 60) for each in result.get("MatchedStatements", ())]
        return f"{ELSEWHERE[2]} by {', '.join(filter(None, named)) or 'a policy'}"
    return "no policy of its allows it"
