"""Checks of the reward function's execution role: trust policy, log and judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure, allow_statement, permission_remedy
from bedrock_rft.access._doctor.policy_simulation import Decision, is_final, simulate
from bedrock_rft.access._doctor.trust_policy import evaluate_trust
from bedrock_rft.access._policies.policy import Statement
from bedrock_rft.access._policies.rft_policies import execution_policy
from bedrock_rft.types.arn import LambdaArn

__all__ = ["check_role_account", "check_role_permissions", "check_trust", "check_wide_policies"]

_WIDE_POLICIES = {
    "AdministratorAccess",
    "PowerUserAccess",
    "IAMFullAccess",
    "AWSLambda_FullAccess",
    "AmazonBedrockFullAccess",
    "AmazonS3FullAccess",
}


def check_role_account(role: str, arn: LambdaArn, caller: str) -> Finding | None:
    """Return a finding if the role cannot be checked because another account owns it; None if it can."""
    account = role.split(":")[4] if role.count(":") >= 5 else ""  # noqa: PLR2004 - an ARN has six parts
    if account and account != arn.account:
        return Finding(
            "error",
            "role_account",
            f"The function's role belongs to account {sanitize_line(account, 20)}, and the function to {arn.account}",
            "Lambda can only use a role of the function's own account",
            "Deploy it again with a role of its account.",
        )
    if arn.account != caller or not account:
        reason = f"it belongs to account {arn.account}, and the caller to {caller}" if account else "it is not named"
        return Finding("unknown", "role", "The function's role cannot be read", reason)
    return None


def check_trust(role: str, arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check that Lambda may assume the role for the function."""
    if isinstance(response, QueryFailure):
        if response.missing:
            summary = f"The function's role {role} does not exist"
            return Finding("error", "role", summary, response.text, "Deploy it again.")
        remedy = permission_remedy(response, "iam:GetRole", role)
        return Finding("unknown", "role", "The function's role cannot be read", str(response), remedy)
    decision = evaluate_trust(response.get("Role", {}).get("AssumeRolePolicyDocument"), arn)
    if decision.verdict == "allowed":
        return Finding("ok", "role", f"Lambda may assume the function's role {role}")
    if decision.verdict == "unknown":
        return Finding("unknown", "role", f"Not known whether Lambda may assume {role}", decision.reason)
    name = role.rpartition("/")[2]
    remedy = (
        f"Replace its trust policy: `python -m bedrock_rft.access policy trust --reward {arn} > trust.json && "
        f"aws iam update-assume-role-policy --role-name {name} --policy-document file://trust.json`"
    )
    return Finding("error", "role", f"Lambda may not assume the function's role {role}", decision.reason, remedy)


def check_wide_policies(response: Mapping[str, Any] | QueryFailure) -> Iterator[Finding]:
    """Warn if the role has far more permissions than a reward needs."""
    if isinstance(response, QueryFailure):
        return
    names = [sanitize_line(str(policy.get("PolicyName", "")), 80) for policy in response.get("AttachedPolicies", ())]
    wide = [name for name in names if name in _WIDE_POLICIES]
    if wide:
        reason = "a reward function processes untrusted text from a model"
        remedy = "Detach it, and attach the policy of `python -m bedrock_rft.access policy execution`."
        yield Finding("warning", "role_powers", f"The role has the policy {', '.join(wide)}", reason, remedy)


def check_role_permissions(query: AwsQuery, role: str, arn: LambdaArn, judges: tuple[str, ...]) -> Iterator[Finding]:
    """Check that the role has the permissions of `execution_policy`, on every resource of each statement."""
    for statement in execution_policy(arn, judges=judges).statement:
        is_log = statement.sid == "OwnLog"
        code = f"role_{statement.sid}".lower()
        decisions: list[Decision] = []
        # Log actions are simulated on a stream of the group, the resource that Lambda's own requests name.
        for resource in statement.resource[-1:] if is_log else statement.resource:
            result = simulate(query, role, statement.action, _example(resource, arn.region), _context(statement))
            if isinstance(result, QueryFailure):
                remedy = permission_remedy(result, "iam:SimulatePrincipalPolicy", role)
                summary = f"Not known whether the function's role is allowed to: {', '.join(statement.action)}"
                yield Finding("unknown", code, summary, f"IAM's policy simulation failed: {result}", remedy)
                return
            decisions += result
        yield _statement_finding(statement, code, decisions, is_log=is_log)


def _context(statement: Statement) -> dict[str, str]:
    """Return one value for each condition key, as a request has it."""
    return {
        key: value if isinstance(value, str) else value[0]
        for keys in statement.condition.values()
        for key, value in keys.items()
    }


def _statement_finding(statement: Statement, code: str, decisions: list[Decision], *, is_log: bool) -> Finding:
    models = ", ".join(resource.rpartition("/")[2] for resource in statement.resource)
    task = "write its log" if is_log else f"invoke {models}"
    denied = [decision for decision in decisions if decision.verdict == "denied"]
    unknown = [decision for decision in decisions if decision.verdict == "unknown"]
    if denied:
        actions = tuple(dict.fromkeys(decision.action for decision in denied))
        condition = statement.document().get("Condition")
        remedy = f"Allow it to the role: {allow_statement(actions, statement.resource, condition)}"
        if is_final(denied[0].reason):
            remedy = "No further policy can allow it. Ask the administrator of that policy."
        return Finding("warning" if is_log else "error", code, f"The function cannot {task}", denied[0].reason, remedy)
    if unknown:
        return Finding("unknown", code, f"Not known whether the function can {task}", unknown[0].reason)
    return Finding("ok", code, f"The function can {task}")


def _example(resource: str, region: str) -> str:
    """Replace wildcards, because requests name concrete resources."""
    return (
        resource.replace(":bedrock:*:", f":bedrock:{region}:").replace(":*", ":log-stream:doctor").replace("*", "any")
    )
