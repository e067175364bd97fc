"""Checks of the caller: its identity, and its permissions for jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft.access._doctor.aws_queries import (
    NO_POLICY_HELPS,
    AwsQuery,
    CallerIdentity,
    Decision,
    QueryFailure,
    allow_statement,
    is_final,
    resolve_principal,
    simulate,
)
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.access._policies.policy import Policy, Statement
from bedrock_rft.access._policies.rft_policies import model_condition
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.iam_actions import BEARER, FILES, JOBS

_INVOKE = "lambda:InvokeFunction"
_MODEL = "bedrock-mantle:Model"
# Without these actions, no job can be created. Without the others, jobs cannot be read, listed or cancelled.
_REQUIRED = {*FILES[:2], *JOBS[:2], BEARER, _INVOKE}


def check_caller(identity: CallerIdentity | QueryFailure, origin: str, *, signs: bool, region: str) -> Finding:
    """Report the identity that the credentials belong to."""
    if isinstance(identity, QueryFailure):
        unknown = "The caller's identity is not known"
        if identity.was_not_sent:
            return Finding("unknown", "who", unknown, identity.text)
        if signs and identity.kind == "credentials":
            is_time_error = re.search("Signature|RequestExpired|Skewed", identity.code)
            clock = "Synchronise this machine's clock (NTP). If it is right: " if is_time_error else ""
            remedy = f"{clock}Renew the credentials from {origin}."
            return Finding("error", "who", "AWS does not accept these credentials", str(identity), remedy)
        return Finding("unknown", "who", unknown, str(identity))
    if identity.is_root:
        command = f"bedrock-rft policy caller --region {region} --account {identity.account}"
        remedy = f"Use a role or a user with the policy of `{command}`"
        return Finding("warning", "who", f"{identity.arn} is the account's root user", "no policy limits it", remedy)
    source = "Requests are made as" if signs else "The AWS credentials that were found next to the API key belong to"
    return Finding("ok", "who", f"{source} {identity.arn}", f"credentials from {origin}")


def unknown_permissions_finding(policy: Policy, reason: str, remedy: str = "") -> Finding:
    """Return the finding for permissions that could not be checked."""
    names = ", ".join(action.partition(":")[2] for action in policy.actions)
    return Finding("unknown", "permissions", f"Not known whether the identity is allowed to: {names}", reason, remedy)


@dataclass(frozen=True)
class _Simulation:
    """Simulates the decisions of IAM on the requests of a job."""

    query: AwsQuery
    principal: str
    context: Mapping[str, str]
    models: Sequence[str]

    def decide(self, actions: Sequence[str], resource: str) -> list[Decision] | QueryFailure:
        """Return the decision on each action, and on the creation of a job with each model."""
        decisions: list[Decision] = []
        for model in self.models or ("",):
            if decisions and JOBS[0] not in actions:
                break
            context = {**self.context, _MODEL: model} if model else self.context
            result = simulate(self.query, self.principal, JOBS[:1] if decisions else actions, resource, context)
            if isinstance(result, QueryFailure):
                return result
            decisions += result
        return decisions


def check_permissions(
    query: AwsQuery,
    identity: CallerIdentity,
    policy: Policy,
    context: Mapping[str, str],
    *,
    reward: LambdaArn | None = None,
    models: Sequence[str] = (),
    resource_policy: bool = False,
) -> Iterator[Finding]:
    """Check that an identity has the permissions of a policy, on every resource that its requests use."""
    if identity.is_root:
        yield unknown_permissions_finding(policy, "IAM cannot simulate the root user of an account")
        return
    principal = resolve_principal(query, identity.arn, identity.role)
    if isinstance(principal, QueryFailure):
        remedy = f"Allow it: {allow_statement(('iam:GetRole',), ('*',))}"
        yield unknown_permissions_finding(policy, f"the ARN of the role is not known: {principal}", remedy)
        return
    simulation = _Simulation(query, principal, context, models)
    targets = [_requested_resources(statement, reward) for statement in policy.statement]
    decisions: list[Decision] = []
    for resource in dict.fromkeys(resource for resources in targets for resource in resources):
        actions = [
            action
            for statement, resources in zip(policy.statement, targets, strict=True)
            if resource in resources
            for action in statement.action
        ]
        result = simulation.decide(actions, resource)
        if isinstance(result, QueryFailure):
            failure = result.finding("permissions", "", "iam:SimulatePrincipalPolicy", principal)
            yield unknown_permissions_finding(policy, f"IAM's policy simulation failed: {result}", failure.remedy)
            return
        decisions += result
    for statement, resources in zip(policy.statement, targets, strict=True):
        decided = [each for each in decisions if each.action in statement.action and each.resource in resources]
        if _INVOKE in statement.action and reward is not None:
            yield _invoke_finding(simulation, statement, decided[0], reward, resource_policy)
        else:
            yield from _statement_findings(simulation, statement, decided)


def _requested_resources(statement: Statement, reward: LambdaArn | None) -> tuple[str, ...]:
    """Return the resources of a statement as requests name them: the function with the job's own qualifier."""
    return (str(reward),) if _INVOKE in statement.action and reward is not None else statement.resource


def _statement_findings(
    simulation: _Simulation, statement: Statement, decisions: Sequence[Decision]
) -> Iterator[Finding]:
    code = f"may_{statement.sid}".lower()
    not_allowed = [decision for decision in decisions if decision.verdict != "allowed"]
    denied = {decision.action for decision in not_allowed}
    allowed = [action for action in statement.action if action not in denied]
    if allowed:
        yield Finding("ok", code, f"Allowed: {', '.join(allowed)}")
    for reason in dict.fromkeys(decision.reason for decision in not_allowed):
        same = [decision for decision in not_allowed if decision.reason == reason]
        actions = tuple(dict.fromkeys(decision.action for decision in same))
        pairs = zip(simulation.models if JOBS[0] in actions else (), decisions, strict=False)
        models = [model for model, decision in pairs if decision in same]
        names = ", ".join(actions) + (f" with {', '.join(models)}" if models else "")
        if same[0].verdict == "unknown":
            yield Finding("unknown", code, f"Not known whether this is allowed: {names}", reason)
            continue
        resources = tuple(dict.fromkeys(decision.resource for decision in same))
        remedy = f"Allow it: {allow_statement(actions, resources, model_condition(models))}"
        level: Severity = "error" if _REQUIRED & set(actions) else "warning"
        summary = f"Not allowed: {names}"
        yield Finding(level, code, summary, reason, f"{NO_POLICY_HELPS}." if is_final(reason) else remedy)


def _invoke_finding(
    simulation: _Simulation, statement: Statement, decision: Decision, reward: LambdaArn, resource_policy: bool
) -> Finding:
    """Judge the invocation of the function as the job names it, and explain a missing qualifier."""
    code = f"may_{statement.sid}".lower()
    if decision.verdict == "allowed":
        return Finding("ok", code, f"Allowed: {_INVOKE} on {reward}")
    unknown = f"Not known whether this is allowed: {_INVOKE}"
    if decision.verdict == "unknown":
        return Finding("unknown", code, unknown, decision.reason)
    reason, alternative = decision.reason, ""
    bare, _ = function_arns(reward)
    other = simulation.decide((_INVOKE,), bare if reward.qualifier else f"{bare}:1")
    if not isinstance(other, QueryFailure) and other[0].verdict == "allowed":
        if reward.qualifier:
            reason += f": the policies allow the ARN without a qualifier, and the job invokes :{reward.qualifier}"
            alternative = f"create the job with the ARN without the qualifier, {bare}"
        else:
            reason += ": the policies allow versions only, and the job invokes the ARN without a qualifier"
            alternative = "create the job with the ARN of a published version"
    elif resource_policy and not is_final(decision.reason):
        return Finding("unknown", code, unknown, f"{reason}; the function's resource policy may allow it")
    final = is_final(decision.reason)
    remedy = NO_POLICY_HELPS if final else f"Allow it: {allow_statement((_INVOKE,), statement.resource)}"
    remedy += f"; or {alternative}." if alternative else "." if final else ""
    return Finding("error", code, f"Not allowed: {_INVOKE} on {reward}", reason, remedy)
