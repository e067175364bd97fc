"""Evaluate a role's trust policy for Lambda, as STS does when the function starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.policy_simulation import Verdict
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.types.arn import LambdaArn

__all__ = ["TrustDecision", "evaluate_trust"]

_LAMBDA = "lambda.amazonaws.com"
_ACTION = "sts:AssumeRole"
_ACCOUNT, _SOURCE = "aws:sourceaccount", "aws:sourcearn"
_CONTEXT = {"aws:principalisawsservice": "true", "aws:principalservicename": _LAMBDA, "aws:securetransport": "true"}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnLike",
    "ArnNotLike": "ArnLike",
}


class TrustDecision(NamedTuple):
    """Decision on whether Lambda may assume a role; `unknown` if a condition cannot be evaluated here."""

    verdict: Verdict
    reason: str


def evaluate_trust(document: object, reward: LambdaArn) -> TrustDecision:
    """Decide whether Lambda may assume a role for a function.

    The condition keys that Lambda sends are `aws:SourceAccount` and `aws:SourceArn`. The source ARN is the function's,
    with or without the qualifier; a policy that distinguishes the two is `unknown`.
    """
    if not isinstance(document, Mapping):
        return TrustDecision("denied", "the role has no trust policy")
    statements: Any = cast("Mapping[str, Any]", document).get("Statement", [])
    listed = cast("Sequence[Any]", statements) if isinstance(statements, (list, tuple)) else [statements]
    bare, _ = function_arns(reward)
    # Without a qualifier a job invokes $LATEST.
    sources = (bare, reward if reward.qualifier else f"{bare}:$LATEST")
    first, second = (_evaluate(listed, {**_CONTEXT, _ACCOUNT: reward.account, _SOURCE: arn}) for arn in sources)
    if first.verdict == second.verdict:
        return first
    reason = "it distinguishes the function's versions, and not every form of aws:SourceArn passes"
    return TrustDecision("unknown", reason)


def _evaluate(statements: Sequence[Any], context: Mapping[str, str]) -> TrustDecision:
    """Decide as IAM does: a Deny that applies wins, and without an Allow nothing is allowed."""
    allowed, may_allow, may_deny = False, "", ""
    failed = "no statement names lambda.amazonaws.com with sts:AssumeRole"
    for statement in statements:
        if not isinstance(statement, Mapping):
            may_allow = may_deny = "a statement cannot be read"
            continue
        fields = cast("Mapping[str, Any]", statement)
        if not _covers(fields):
            continue
        holds, reason = _conditions_hold(fields.get("Condition"), context)
        if fields.get("Effect") == "Deny":
            if holds:
                sid = sanitize_line(str(fields.get("Sid") or "a statement"), 60)
                return TrustDecision("denied", f"{sid} denies it explicitly")
            may_deny = may_deny if holds is False else reason
        elif holds:
            allowed = True
        elif holds is None:
            may_allow = reason
        else:
            failed = reason
    if may_deny and (allowed or may_allow):
        return TrustDecision("unknown", may_deny)
    if allowed:
        return TrustDecision("allowed", "its trust policy allows it")
    return TrustDecision("unknown", may_allow) if may_allow else TrustDecision("denied", failed)


def _covers(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement concerns sts:AssumeRole by Lambda."""
    principal = _names_lambda(statement.get("NotPrincipal", statement.get("Principal")))
    patterns = _texts(statement.get("NotAction", statement.get("Action")))
    action = any(_matches_pattern(pattern.lower(), _ACTION.lower()) for pattern in patterns)
    return principal != ("NotPrincipal" in statement) and action != ("NotAction" in statement)


def _names_lambda(principal: Any) -> bool:
    services = cast("Mapping[str, Any]", principal).get("Service") if isinstance(principal, Mapping) else None
    return principal == "*" or any(name in (_LAMBDA, "*") for name in _texts(services))


def _conditions_hold(conditions: Any, context: Mapping[str, str]) -> tuple[bool | None, str]:
    """Return whether all conditions hold (None if undecidable), and the first condition that does not."""
    undecidable = ""
    for operator, keys in cast("Mapping[str, Mapping[str, Any]]", conditions or {}).items():
        for key, values in keys.items():
            holds = _condition_holds(operator, key, _texts(values), context)
            if holds is None:
                undecidable = f"its condition {sanitize_line(f'{operator} {key}', 80)} cannot be evaluated here"
            elif not holds:
                expected = sanitize_line(", ".join(_texts(values)), 120)
                return False, f"its condition {sanitize_line(f'{operator} {key}', 80)} requires {expected}"
    return (None, undecidable) if undecidable else (True, "")


def _condition_holds(operator: str, key: str, values: Sequence[str], context: Mapping[str, str]) -> bool | None:
    value = context.get(key.lower())
    if value is None or ":" in operator:
        return None
    name = operator.removesuffix("IfExists")  # every key in the context exists
    if name == "Null":
        return "false" in [text.lower() for text in values]
    match = _MATCHERS.get(_NEGATED.get(name, name))
    return None if match is None else any(match(text, value) for text in values) != (name in _NEGATED)


def _matches_pattern(pattern: str, text: str) -> bool:
    """Match IAM's wildcards `*` and `?`."""
    expression = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _matches_arn(pattern: str, text: str) -> bool:
    """Match an ARN part by part: a wildcard does not cross the first five colons."""
    wanted, found = pattern.split(":", 5), text.split(":", 5)
    return len(wanted) == len(found) and all(map(_matches_pattern, wanted, found))


_MATCHERS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: expected == value,
    "StringEqualsIgnoreCase": lambda expected, value: expected.lower() == value.lower(),
    "StringLike": _matches_pattern,
    "ArnEquals": _matches_arn,
    "ArnLike": _matches_arn,
    "Bool": lambda expected, value: expected.lower() == value.lower(),
}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    values = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]
