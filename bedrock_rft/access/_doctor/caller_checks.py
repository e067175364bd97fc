"""Checks of the caller: its identity, and its permissions for jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft.access._doctor.aws_queries import (
    AwsQuery,
    CallerIdentity,
    QueryFailure,
    allow_statement,
    permission_remedy,
)
from bedrock_rft.access._doctor.policy_simulation import Decision, is_final, resolve_principal, simulate
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.access._policies.policy import Policy, Statement
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.iam_actions import BEARER, FILES, JOBS

__all__ = ["check_caller", "check_permissions", "unknown_permissions"]

_INVOKE = "lambda:InvokeFunction"
_INVALID_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NO_POLICY_HELPS = "No further policy can allow it. Ask the administrator of that policy"
# Without these there is no job; without the others a job cannot be read, listed or cancelled.
_REQUIRED = {*FILES[:2], *JOBS[:2], BEARER, _INVOKE}


def check_caller(identity: CallerIdentity | QueryFailure, origin: str, *, signs: bool) -> Finding:
    """Report whose credentials they are.

    Args:
        identity: response of STS.
        origin: source of the credentials.
        signs: True if the client signs with them, False if it uses an API key.
    """
    if isinstance(identity, QueryFailure):
        if identity.not_sent:
            return Finding("unknown", "who", "The caller's identity is not known", identity.text)
        if signs and not identity.denied and identity.code in _INVALID_CREDENTIALS:
            remedy = f"Renew the credentials from {origin}."
            return Finding("error", "who", "AWS does not accept these credentials", str(identity), remedy)
        return Finding("unknown", "who", "The caller's identity is not known", str(identity))
    if identity.is_root:
        remedy = "Use a role or a user with the policy of `python -m bedrock_rft.access policy caller`"
        return Finding("warning", "who", f"{identity.arn} is the account's root user", "no policy limits it", remedy)
    subject = "Requests are made as" if signs else "The AWS credentials beside the API key belong to"
    return Finding("ok", "who", f"{subject} {identity.arn}", f"credentials from {origin}")


def unknown_permissions(needed: Policy, reason: str, remedy: str = "") -> Finding:
    """Return the finding for permissions that could not be checked."""
    names = ", ".join(action.partition(":")[2] for action in needed.actions)
    return Finding("unknown", "permissions", f"Not known whether the identity is allowed to: {names}", reason, remedy)


@dataclass(frozen=True)
class _Simulation:
    query: AwsQuery
    principal: str
    context: Mapping[str, str]

    def decide(self, actions: Sequence[str], resource: str) -> tuple[Decision, ...] | QueryFailure:
        return simulate(self.query, self.principal, actions, resource, self.context)


def check_permissions(
    query: AwsQuery,
    identity: CallerIdentity,
    needed: Policy,
    context: Mapping[str, str],
    *,
    reward: LambdaArn | None = None,
    resource_policy: bool = False,
) -> Iterator[Finding]:
    """Check that an identity has the permissions of a policy, on every resource that its requests use.

    Args:
        query: sends the queries.
        identity: the identity.
        needed: the permissions.
        context: values of condition keys in its requests.
        reward: the reward function as the job names it; IAM compares the ARN with its qualifier.
        resource_policy: True if the reward function has a resource policy, which may allow the invocation although the
            caller's policies do not.
    """
    if identity.is_root:
        yield unknown_permissions(needed, "IAM cannot simulate the root user of an account")
        return
    principal = resolve_principal(query, identity.arn, identity.role)
    if isinstance(principal, QueryFailure):
        remedy = f"Allow it: {allow_statement(('iam:GetRole',), ('*',))}"
        yield unknown_permissions(needed, f"the ARN of the role is not known: {principal}", remedy)
        return
    simulation = _Simulation(query, principal, context)
    targets = [_resources(statement, reward) for statement in needed.statement]
    decisions: dict[tuple[str, str], Decision] = {}
    for resource in dict.fromkeys(resource for resources in targets for resource in resources):
        actions = [
            action
            for statement, resources in zip(needed.statement, targets, strict=True)
            if resource in resources
            for action in statement.action
        ]
        result = simulation.decide(actions, resource)
        if isinstance(result, QueryFailure):
            remedy = permission_remedy(result, "iam:SimulatePrincipalPolicy", principal)
            yield unknown_permissions(needed, f"IAM's policy simulation failed: {result}", remedy)
            return
        decisions.update({(decision.action, resource): decision for decision in result})
    for statement, resources in zip(needed.statement, targets, strict=True):
        decided = [decisions[action, resource] for resource in resources for action in statement.action]
        if _INVOKE in statement.action and reward is not None:
            yield _invoke_finding(simulation, statement, decided[0], reward, resource_policy)
        else:
            yield from _statement_findings(statement, decided)


def _resources(statement: Statement, reward: LambdaArn | None) -> tuple[str, ...]:
    """Return the resources of a statement as requests name them: the function with the job's own qualifier."""
    return (str(reward),) if _INVOKE in statement.action and reward is not None else statement.resource


def _statement_findings(statement: Statement, decisions: Sequence[Decision]) -> Iterator[Finding]:
    code = f"may_{statement.sid}".lower()
    denied = {decision.action for decision in decisions if decision.verdict != "allowed"}
    allowed = [action for action in statement.action if action not in denied]
    if allowed:
        yield Finding("ok", code, f"Allowed: {', '.join(allowed)}")
    not_allowed = [decision for decision in decisions if decision.verdict != "allowed"]
    for reason in dict.fromkeys(decision.reason for decision in not_allowed):
        same = [decision for decision in not_allowed if decision.reason == reason]
        actions = tuple(dict.fromkeys(decision.action for decision in same))
        names = ", ".join(actions)
        if same[0].verdict == "unknown":
            yield Finding("unknown", code, f"Not known whether this is allowed: {names}", reason)
            continue
        resources = tuple(dict.fromkeys(decision.resource for decision in same))
        remedy = f"{_NO_POLICY_HELPS}." if is_final(reason) else f"Allow it: {allow_statement(actions, resources)}"
        level: Severity = "error" if _REQUIRED & set(actions) else "warning"
        yield Finding(level, code, f"Not allowed: {names}", reason, remedy)


def _invoke_finding(
    simulation: _Simulation, statement: Statement, decision: Decision, reward: LambdaArn, resource_policy: bool
) -> Finding:
    """Judge the invocation of the function as the job names it, and explain a missing qualifier."""
    code = f"may_{statement.sid}".lower()
    if decision.verdict == "allowed":
        return Finding("ok", code, f"Allowed: {_INVOKE} on {reward}")
    if decision.verdict == "unknown":
        return Finding("unknown", code, f"Not known whether this is allowed: {_INVOKE}", decision.reason)
    reason, alternative = decision.reason, ""
    bare, _ = function_arns(reward)
    other_form = bare if reward.qualifier else f"{bare}:1"
    other = simulation.decide((_INVOKE,), other_form)
    if not isinstance(other, QueryFailure) and other[0].verdict == "allowed":
        if reward.qualifier:
            reason += f": the policies allow the ARN without a qualifier, and the job invokes :{reward.qualifier}"
            alternative = f"create the job with the ARN without the qualifier, {bare}"
        else:
            reason += ": the policies allow versions only, and the job invokes the ARN without a qualifier"
            alternative = "create the job with the ARN of a published version"
    elif resource_policy and not is_final(decision.reason):
        summary = f"Not known whether this is allowed: {_INVOKE}"
        return Finding("unknown", code, summary, f"{reason}; the function's resource policy may")
    if is_final(decision.reason):
        remedy = _NO_POLICY_HELPS
    else:
        remedy = f"Allow it: {allow_statement((_INVOKE,), statement.resource)}"
    remedy += f"; or {alternative}." if alternative else "." if is_final(decision.reason) else ""
    return Finding("error", code, f"Not allowed: {_INVOKE} on {reward}", reason, remedy)
