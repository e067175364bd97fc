"""Checks of the reward function's execution role: its trust policy, its log and its judges."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.names import POLICY
from bedrock_rft.access._doctor.aws_queries import (
    NO_POLICY_HELPS,
    AwsQuery,
    Decision,
    QueryFailure,
    Verdict,
    allow_statement,
    is_final,
    simulate,
)
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.access._policies.policy import Statement
from bedrock_rft.access._policies.rft_policies import execution_policy
from bedrock_rft.types.arn import LambdaArn

_WIDE_POLICIES = {
    "AdministratorAccess",
    "PowerUserAccess",
    "IAMFullAccess",
    "AWSLambda_FullAccess",
    "AmazonBedrockFullAccess",
    "AmazonS3FullAccess",
}


def check_role_account(role: str, arn: LambdaArn, caller: str) -> Finding | None:
    """Return a finding if the role cannot be read, because it is in the function's account and the caller is not."""
    if arn.account == caller and role.startswith("arn:"):
        return None
    reason = f"it belongs to account {arn.account}, and the caller to {caller}" if role else "Lambda did not name it"
    return Finding("unknown", "role", "The function's role cannot be read", reason)


def check_trust(role: str, arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check that Lambda may assume the role for the function."""
    if isinstance(response, QueryFailure):
        if response.is_missing:
            summary = f"The function's role {role} does not exist"
            return Finding("error", "role", summary, response.text, "Deploy it again.")
        return response.finding("role", "The function's role cannot be read", "iam:GetRole", role)
    decision = evaluate_trust(response.get("Role", {}).get("AssumeRolePolicyDocument"), arn)
    if decision.verdict == "allowed":
        return Finding("ok", "role", f"Lambda may assume the function's role {role}")
    if decision.verdict == "unknown":
        return Finding("unknown", "role", f"Not known whether Lambda may assume {role}", decision.reason)
    remedy = (
        f"Replace its trust policy: `bedrock-rft policy trust --reward {arn} > trust.json && "
        f"aws iam update-assume-role-policy --role-name {_role_name(role)} --policy-document file://trust.json`"
    )
    return Finding("error", "role", f"Lambda may not assume the function's role {role}", decision.reason, remedy)


def check_wide_policies(
    role: str, arn: LambdaArn, judges: Sequence[str], response: Mapping[str, Any] | QueryFailure
) -> Iterator[Finding]:
    """Warn if the role has far more permissions than a reward needs."""
    if isinstance(response, QueryFailure):
        if not response.is_missing:
            summary = "The managed policies of the function's role cannot be read"
            yield response.finding("role_powers", summary, "iam:ListAttachedRolePolicies", role)
        return
    policies = response.get("AttachedPolicies", ())
    wide = {
        str(policy.get("PolicyName")): sanitize_line(str(policy.get("PolicyArn", "")), 300)
        for policy in policies
        if policy.get("PolicyName") in _WIDE_POLICIES
    }
    if not wide:
        return
    models = "".join(f" --judge {shlex.quote(judge)}" for judge in judges)
    print_command = f"bedrock-rft policy function --reward {arn}{models} > execution.json"
    to_role = f"--role-name {_role_name(role)}"
    commands = [
        print_command,
        f"aws iam put-role-policy {to_role} --policy-name {POLICY} --policy-document file://execution.json",
        *(f"aws iam detach-role-policy {to_role} --policy-arn {policy}" for policy in wide.values()),
    ]
    summary = f"The role has the policy {', '.join(wide)}"
    reason = "a reward function processes untrusted text from a model"
    remedy = f"Replace it with the permissions that the function needs: `{' && '.join(commands)}`"
    yield Finding("warning", "role_powers", summary, reason, remedy)


def check_role_permissions(
    query: AwsQuery, role: str, arn: LambdaArn, judges: tuple[str, ...], record: str | None = None
) -> Iterator[Finding]:
    """Check that the role has the permissions of `execution_policy`, on every resource that its requests name."""
    for statement in execution_policy(arn, judges=judges, record=record).statement:
        code = f"role_{statement.sid}".lower()
        decisions: list[Decision] = []
        profile_failure: QueryFailure | None = None
        for resource, context in _allowed_requests(query, statement, arn.region):
            if isinstance(resource, QueryFailure):
                profile_failure = resource
                continue
            result = simulate(query, role, statement.action, resource, context)
            if isinstance(result, QueryFailure):
                summary = f"Not known whether the function's role is allowed to: {', '.join(statement.action)}"
                failure = result.finding(code, summary, "iam:SimulatePrincipalPolicy", role)
                yield replace(failure, reason=f"IAM's policy simulation failed: {result}")
                return
            decisions += result
        finding = _statement_finding(statement, code, decisions)
        if profile_failure is not None and finding.level == "ok":
            summary = f"Not known whether {finding.summary[0].lower()}{finding.summary[1:]} in every region"
            profiles = statement.condition["ArnEquals"]["bedrock:InferenceProfileArn"]
            finding = profile_failure.finding(code, summary, "bedrock:GetInferenceProfile", *profiles)
        yield finding


def _allowed_requests(
    query: AwsQuery, statement: Statement, region: str
) -> Iterator[tuple[str | QueryFailure, Mapping[str, str]]]:
    """Yield the resource and the context of each request that a statement allows."""
    # A profile names its model in each region. If a profile cannot be read, its failure follows the model in this
    # region.
    if statement.sid == "OwnLog":
        yield f"{statement.resource[0]}:log-stream:doctor", {}
    elif statement.sid == "Rollouts":
        yield f"{statement.resource[0][:-1]}doctor", {}
    elif not statement.condition:
        for resource in statement.resource:
            yield resource, {}
    else:
        for profile in statement.condition["ArnEquals"]["bedrock:InferenceProfileArn"]:
            context = {"bedrock:InferenceProfileArn": profile}
            response = query("bedrock", "get_inference_profile", inferenceProfileIdentifier=profile)
            if not isinstance(response, QueryFailure):
                for model in response.get("models", ()):
                    yield sanitize_line(str(model.get("modelArn", "")), 300), context
                continue
            for resource in statement.resource:
                if profile.endswith(resource.rpartition("/")[2]) or resource.endswith("*"):
                    yield resource.replace(":bedrock:*:", f":bedrock:{region}:").replace("*", "any"), context
            yield response, context


_OPTIONAL_TASKS = {"OwnLog": "write its log", "Rollouts": "record rollouts"}
"""Tasks that a reward does not need, by the `sid` of the statement."""


def _statement_finding(statement: Statement, code: str, decisions: list[Decision]) -> Finding:
    models = ", ".join(resource.rpartition("/")[2] for resource in statement.resource)
    task = _OPTIONAL_TASKS.get(statement.sid or "")
    level: Severity = "warning" if task else "error"
    task = task or f"invoke {models}"
    denied = [decision for decision in decisions if decision.verdict == "denied"]
    unknown = [decision for decision in decisions if decision.verdict == "unknown"]
    if denied:
        actions = tuple(dict.fromkeys(decision.action for decision in denied))
        condition = statement.document().get("Condition")
        remedy = f"Allow it to the role: {allow_statement(actions, statement.resource, condition)}"
        if is_final(denied[0].reason):
            remedy = f"{NO_POLICY_HELPS}."
        return Finding(level, code, f"The function cannot {task}", denied[0].reason, remedy)
    if unknown:
        return Finding("unknown", code, f"Not known whether the function can {task}", unknown[0].reason)
    return Finding("ok", code, f"The function can {task}")


def _role_name(role: str) -> str:
    return role.rpartition("/")[2]


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
    """Decide whether Lambda may assume a role for a function; Lambda sends `aws:SourceAccount` and `aws:SourceArn`."""
    # The source ARN may have the qualifier or not, so a policy that distinguishes the two is `unknown`.
    if not isinstance(document, Mapping):
        return TrustDecision("denied", "the role has no trust policy")
    statements: Any = cast("Mapping[str, Any]", document).get("Statement", [])
    statement_list = cast("Sequence[Any]", statements) if isinstance(statements, (list, tuple)) else [statements]
    bare, _ = function_arns(reward)
    # Without a qualifier a job invokes $LATEST.
    sources = (bare, reward if reward.qualifier else f"{bare}:$LATEST")
    first, second = (_evaluate(statement_list, {**_CONTEXT, _ACCOUNT: reward.account, _SOURCE: arn}) for arn in sources)
    if first.verdict == second.verdict:
        return first
    reason = "the policy distinguishes the function's versions, and not every form of aws:SourceArn passes"
    return TrustDecision("unknown", reason)


def _evaluate(statements: Sequence[Any], context: Mapping[str, str]) -> TrustDecision:
    """Decide as IAM does: a Deny that applies wins, and without an Allow nothing is allowed."""
    allowed, may_allow, may_deny = False, "", ""
    denial_reason = "no statement names lambda.amazonaws.com with sts:AssumeRole"
    for statement in statements:
        if not isinstance(statement, Mapping):
            may_allow = may_deny = "a statement cannot be read"
            continue
        fields = cast("Mapping[str, Any]", statement)
        if not _concerns_lambda(fields):
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
            denial_reason = reason
    if may_deny and (allowed or may_allow):
        return TrustDecision("unknown", may_deny)
    if allowed:
        return TrustDecision("allowed", "its trust policy allows it")
    return TrustDecision("unknown", may_allow) if may_allow else TrustDecision("denied", denial_reason)


def _concerns_lambda(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement concerns sts:AssumeRole by Lambda."""
    principal = _names_lambda(statement.get("NotPrincipal", statement.get("Principal")))
    patterns = _as_texts(statement.get("NotAction", statement.get("Action")))
    action = any(_matches_pattern(pattern.lower(), _ACTION.lower()) for pattern in patterns)
    return principal != ("NotPrincipal" in statement) and action != ("NotAction" in statement)


def _names_lambda(principal: Any) -> bool:
    services = cast("Mapping[str, Any]", principal).get("Service") if isinstance(principal, Mapping) else None
    return principal == "*" or any(name in (_LAMBDA, "*") for name in _as_texts(services))


def _conditions_hold(conditions: Any, context: Mapping[str, str]) -> tuple[bool | None, str]:
    """Return whether all conditions hold (None if undecidable), and the first condition that does not."""
    undecidable = ""
    for operator, keys in cast("Mapping[str, Mapping[str, Any]]", conditions or {}).items():
        for key, values in keys.items():
            holds = _condition_holds(operator, key, _as_texts(values), context)
            if holds is None:
                undecidable = f"its condition {sanitize_line(f'{operator} {key}', 80)} cannot be evaluated here"
            elif not holds:
                expected = sanitize_line(", ".join(_as_texts(values)), 120)
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
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _matches_arn(pattern: str, text: str) -> bool:
    """Match an ARN part by part: a wildcard does not cross the first five colons."""
    pattern_parts, text_parts = pattern.split(":", 5), text.split(":", 5)
    return len(pattern_parts) == len(text_parts) and all(map(_matches_pattern, pattern_parts, text_parts))


_MATCHERS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: expected == value,
    "StringEqualsIgnoreCase": lambda expected, value: expected.lower() == value.lower(),
    "StringLike": _matches_pattern,
    "ArnEquals": _matches_arn,
    "ArnLike": _matches_arn,
    "Bool": lambda expected, value: expected.lower() == value.lower(),
}


def _as_texts(value: Any) -> list[str]:
    if value is None:
        return []
    values = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]
