"""Checks of the reward function's execution role: trust policy, log and judges."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.names import POLICY
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure, allow_statement
from bedrock_rft.access._doctor.policy_simulation import NO_POLICY_HELPS, Decision, is_final, simulate
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
    """Return a finding if the role cannot be read, because it is the caller's account that has no such role.

    Lambda accepts roles of the function's own account only.
    """
    if arn.account == caller and role.startswith("arn:"):
        return None
    reason = f"it belongs to account {arn.account}, and the caller to {caller}" if role else "it is not named"
    return Finding("unknown", "role", "The function's role cannot be read", reason)


def check_trust(role: str, arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check that Lambda may assume the role for the function."""
    if isinstance(response, QueryFailure):
        if response.missing:
            summary = f"The function's role {role} does not exist"
            return Finding("error", "role", summary, response.text, "Deploy it again.")
        return response.finding("role", "The function's role cannot be read", "iam:GetRole", role)
    decision = evaluate_trust(response.get("Role", {}).get("AssumeRolePolicyDocument"), arn)
    if decision.verdict == "allowed":
        return Finding("ok", "role", f"Lambda may assume the function's role {role}")
    if decision.verdict == "unknown":
        return Finding("unknown", "role", f"Not known whether Lambda may assume {role}", decision.reason)
    remedy = (
        f"Replace its trust policy: `python -m bedrock_rft.access policy trust --reward {arn} > trust.json && "
        f"aws iam update-assume-role-policy --role-name {_name(role)} --policy-document file://trust.json`"
    )
    return Finding("error", "role", f"Lambda may not assume the function's role {role}", decision.reason, remedy)


def check_wide_policies(
    role: str, arn: LambdaArn, judges: Sequence[str], response: Mapping[str, Any] | QueryFailure
) -> Iterator[Finding]:
    """Warn if the role has far more permissions than a reward needs."""
    if isinstance(response, QueryFailure):
        if not response.missing:
            summary = "The managed policies of the function's role cannot be read"
            yield response.finding("role_powers", summary, "iam:ListAttachedRolePolicies", role)
        return
    attached = response.get("AttachedPolicies", ())
    wide = {
        str(policy.get("PolicyName")): sanitize_line(str(policy.get("PolicyArn", "")), 300)
        for policy in attached
        if policy.get("PolicyName") in _WIDE_POLICIES
    }
    if not wide:
        return
    models = "".join(f" --model {shlex.quote(judge)}" for judge in judges)
    printing = f"python -m bedrock_rft.access policy execution --reward {arn}{models} > execution.json"
    to_role = f"--role-name {_name(role)}"
    commands = [
        printing,
        f"aws iam put-role-policy {to_role} --policy-name {POLICY} --policy-document file://execution.json",
        *(f"aws iam detach-role-policy {to_role} --policy-arn {policy}" for policy in wide.values()),
    ]
    summary = f"The role has the policy {', '.join(wide)}"
    reason = "a reward function processes untrusted text from a model"
    remedy = f"Replace it with the permissions that the function needs: `{' && '.join(commands)}`"
    yield Finding("warning", "role_powers", summary, reason, remedy)


def check_role_permissions(query: AwsQuery, role: str, arn: LambdaArn, judges: tuple[str, ...]) -> Iterator[Finding]:
    """Check that the role has the permissions of `execution_policy`, on every resource that its requests name."""
    for statement in execution_policy(arn, judges=judges).statement:
        is_log, code = statement.sid == "OwnLog", f"role_{statement.sid}".lower()
        decisions: list[Decision] = []
        unread: QueryFailure | None = None
        for resource, context in _requests(query, statement, arn.region):
            if isinstance(resource, QueryFailure):
                unread = resource
                continue
            result = simulate(query, role, statement.action, resource, context)
            if isinstance(result, QueryFailure):
                summary = f"Not known whether the function's role is allowed to: {', '.join(statement.action)}"
                failed = result.finding(code, summary, "iam:SimulatePrincipalPolicy", role)
                yield replace(failed, reason=f"IAM's policy simulation failed: {result}")
                return
            decisions += result
        finding = _statement_finding(statement, code, decisions, is_log=is_log)
        if unread is not None and finding.level == "ok":
            summary = f"Not known whether {finding.summary[0].lower()}{finding.summary[1:]} in every region"
            profiles = statement.condition["ArnEquals"]["bedrock:InferenceProfileArn"]
            finding = unread.finding(code, summary, "bedrock:GetInferenceProfile", *profiles)
        yield finding


def _requests(
    query: AwsQuery, statement: Statement, region: str
) -> Iterator[tuple[str | QueryFailure, Mapping[str, str]]]:
    """Yield the resource and the context of each request that a statement allows.

    A log is a stream of the group, as in Lambda's own requests. An inference profile names its model in each region;
    if the profile cannot be read, the failure follows the model in the function's region.
    """
    if statement.sid == "OwnLog":
        yield f"{statement.resource[0]}:log-stream:doctor", {}
    elif not statement.condition:
        for resource in statement.resource:
            yield resource, {}
    else:
        for profile in statement.condition["ArnEquals"]["bedrock:InferenceProfileArn"]:
            context = {"bedrock:InferenceProfileArn": profile}
            found = query("bedrock", "get_inference_profile", inferenceProfileIdentifier=profile)
            if not isinstance(found, QueryFailure):
                for model in found.get("models", ()):
                    yield sanitize_line(str(model.get("modelArn", "")), 300), context
                continue
            for resource in statement.resource:
                if profile.endswith(resource.rpartition("/")[2]) or resource.endswith("*"):
                    yield resource.replace(":bedrock:*:", f":bedrock:{region}:").replace("*", "any"), context
            yield found, context


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
            remedy = f"{NO_POLICY_HELPS}."
        return Finding("warning" if is_log else "error", code, f"The function cannot {task}", denied[0].reason, remedy)
    if unknown:
        return Finding("unknown", code, f"Not known whether the function can {task}", unknown[0].reason)
    return Finding("ok", code, f"The function can {task}")


def _name(role: str) -> str:
    return role.rpartition("/")[2]
