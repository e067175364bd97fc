"""What IAM says of the role that a reward function runs as: whether it can write its log and ask its judges."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import Ask, Refused, allow
from bedrock_rft.access._doctor.policy_simulation import Decision, simulate
from bedrock_rft.access._policies.policy import Statement
from bedrock_rft.access._policies.rft_policies import execution_policy
from bedrock_rft.types.arn import LambdaArn

__all__ = ["powers", "reach", "trust"]

_TOO_MUCH = {
    "AdministratorAccess",
    "PowerUserAccess",
    "IAMFullAccess",
    "AWSLambda_FullAccess",
    "AmazonBedrockFullAccess",
    "AmazonS3FullAccess",
}


def trust(role: str, said: Mapping[str, Any] | Refused) -> Finding:
    """Whether Lambda may become the role."""
    if isinstance(said, Refused):
        if said.missing:
            return Finding("error", "role", f"The function's role is gone: {role}", said.text, "Deploy it again.")
        mend = f"Allow it: {allow(('iam:GetRole',), (role,))}" if said.denied else ""
        return Finding("unknown", "role", "The function's role could not be seen", str(said), mend)
    if any(map(_lets_lambda, _statements(said.get("Role", {}).get("AssumeRolePolicyDocument")))):
        return Finding("ok", "role", f"Lambda runs the function as {role}")
    mend = "Let it: `python -m bedrock_rft.access policy trust` prints the policy."
    return Finding("error", "role", f"Lambda may not become the function's role, {role}", "", mend)


def _statements(document: Any) -> list[Any]:
    """Of a policy as botocore hands it over; IAM takes one without a list around it."""
    found = cast("Mapping[str, Any]", document or {}).get("Statement", [])
    return [*found] if isinstance(found, (list, tuple)) else [found]  # pyright: ignore[reportUnknownVariableType] # JSON


def _lets_lambda(statement: Any) -> bool:
    return statement.get("Effect") == "Allow" and "lambda.amazonaws.com" in json.dumps(statement.get("Principal"))


def powers(said: Mapping[str, Any] | Refused) -> Iterator[Finding]:
    """Whether the role may do far more than a reward needs."""
    if isinstance(said, Refused):
        return
    names = [sanitize_line(str(each.get("PolicyName", "")), 80) for each in said.get("AttachedPolicies", ())]
    wide = [name for name in names if name in _TOO_MUCH]
    if wide:
        why = "a reward function runs code over whatever a model writes"
        mend = "Detach it, and attach what `python -m bedrock_rft.access policy execution` prints."
        yield Finding("warning", "role_powers", f"The role has {', '.join(wide)}", why, mend)


def reach(ask: Ask, role: str, arn: LambdaArn, judges: tuple[str, ...]) -> Iterator[Finding]:
    """Whether the role can do what `execution_policy` says that it needs."""
    for statement in execution_policy(arn, judges=judges).statement:
        log = statement.sid == "OwnLog"
        code = f"role_{statement.sid}".lower()
        context = _context(statement)
        told: list[Decision] = []
        for resource in statement.resource[-1:] if log else statement.resource:
            said = simulate(ask, role, statement.action, _example(resource, arn.region), context)
            if isinstance(said, Refused):
                mend = f"Allow it: {allow(('iam:SimulatePrincipalPolicy',), (role,))}" if said.denied else ""
                what = f"Whether the function's role may: {', '.join(statement.action)}"
                yield Finding("unknown", code, what, f"IAM's simulation did not answer: {said}", mend)
                return
            told += said
        yield _of(statement, code, told, log=log)


def _context(statement: Statement) -> dict[str, str]:
    """One value for each condition key, as a call would have it."""
    return {
        key: value if isinstance(value, str) else value[0]
        for keys in statement.condition.values()
        for key, value in keys.items()
    }


def _of(statement: Statement, code: str, told: list[Decision], *, log: bool) -> Finding:
    models = ", ".join(resource.rpartition("/")[2] for resource in statement.resource)
    what = "write its log" if log else f"ask {models}"
    denied = [one for one in told if one.verdict == "denied"]
    unknown = [one for one in told if one.verdict == "unknown"]
    if denied:
        actions = tuple(dict.fromkeys(one.action for one in denied))
        mend = f"Allow it to the role: {allow(actions, statement.resource, statement.document().get('Condition'))}"
        return Finding("warning" if log else "error", code, f"The function cannot {what}", denied[0].why, mend)
    if unknown:
        return Finding("unknown", code, f"Whether the function can {what}", unknown[0].why)
    return Finding("ok", code, f"The function can {what}")


def _example(resource: str, region: str) -> str:
    """A resource without wildcards, as a call would name it."""
    return (
        resource.replace(":bedrock:*:", f":bedrock:{region}:").replace(":*", ":log-stream:doctor").replace("*", "any")
    )
