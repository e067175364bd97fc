"""What AWS says of whoever calls: who it is, and whether it may do what a job needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft.access._doctor.aws_queries import Ask, Refused, Who, allow
from bedrock_rft.access._doctor.policy_simulation import ELSEWHERE, Decision, principal, simulate
from bedrock_rft.access._policies.policy import Policy, Statement
from bedrock_rft.access._policies.rft_policies import BEARER, FILES, JOBS

__all__ = ["permissions", "unasked", "who_am_i"]

_INVOKE = "lambda:InvokeFunction"
_NOT_VALID = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# Without these there is no job; without the others something of it cannot be seen or undone.
_MUST = {FILES[0], FILES[1], JOBS[0], JOBS[1], BEARER, _INVOKE}


def who_am_i(said: Who | Refused, origin: str, *, signs: bool) -> Finding:
    """Whose credentials they are.

    Args:
        said: what STS says.
        origin: where the credentials come from.
        signs: whether the client signs with them, rather than having an API key.
    """
    if isinstance(said, Refused):
        if said.unasked:
            return Finding("unknown", "who", "Who this is, AWS could not be asked", said.text)
        refused = signs and not said.denied and said.code in _NOT_VALID
        what = "AWS does not accept these credentials" if refused else "Who this is, AWS did not say"
        mend = f"Renew the credentials from {origin}." if refused else ""
        return Finding("error" if refused else "unknown", "who", what, str(said), mend)
    if said.is_root:
        mend = "Use a role or a user with the policy of `python -m bedrock_rft.access policy caller`"
        return Finding("warning", "who", f"{said.arn} is the account's root", "no policy limits it", mend)
    whose = "Calls are made as" if signs else "Beside the API key, AWS credentials are those of"
    return Finding("ok", "who", f"{whose} {said.arn}", f"credentials from {origin}")


def unasked(needed: Policy, why: str, mend: str = "") -> Iterator[Finding]:
    """Permissions that could not be looked up, with the reason."""
    names = ", ".join(action.partition(":")[2] for action in needed.actions)
    yield Finding("unknown", "permissions", f"Whether this identity may: {names}", why, mend)


def permissions(
    ask: Ask, who: Who, needed: Policy, context: Mapping[str, str], *, resource_policy: bool
) -> Iterator[Finding]:
    """Whether an identity may do what a policy says that it needs.

    Args:
        ask: whom to ask.
        who: the identity.
        needed: what it should be allowed.
        context: values of condition keys, as its calls have them.
        resource_policy: whether the reward function has a policy of its own, which may allow what the caller's do not.
    """
    if who.is_root:
        yield from unasked(needed, "IAM does not simulate the root of an account")
        return
    arn = principal(ask, who.arn, who.role)
    if isinstance(arn, Refused):
        yield from unasked(
            needed, f"the role's ARN was not told: {arn}", f"Allow it: {allow(('iam:GetRole',), ('*',))}"
        )
        return
    told: dict[str, tuple[Decision, ...] | Refused] = {}
    for resource, actions in _by_resource(needed.statement).items():
        told[resource] = simulate(ask, arn, actions, resource, context)
    refused = next((each for each in told.values() if isinstance(each, Refused)), None)
    if refused is not None:
        mend = f"Allow it: {allow(('iam:SimulatePrincipalPolicy',), (arn,))}" if refused.denied else ""
        yield from unasked(needed, f"IAM's simulation did not answer: {refused}", mend)
        return
    decisions = {one.action: one for each in told.values() if not isinstance(each, Refused) for one in each}
    for statement in needed.statement:
        yield from _of_statement(statement, [decisions[action] for action in statement.action], resource_policy)


def _by_resource(statements: Sequence[Statement]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in statements:
        found.setdefault(statement.resource[0], []).extend(statement.action)
    return found


def _of_statement(statement: Statement, decisions: Sequence[Decision], resource_policy: bool) -> Iterator[Finding]:
    code = f"may_{statement.sid}".lower()
    allowed = [one.action for one in decisions if one.verdict == "allowed"]
    if allowed:
        yield Finding("ok", code, f"Allowed: {', '.join(allowed)}")
    for why in dict.fromkeys(one.why for one in decisions if one.verdict != "allowed"):
        same = [one for one in decisions if one.why == why]
        actions = tuple(one.action for one in same)
        names = ", ".join(actions)
        if same[0].verdict == "unknown":
            yield Finding("unknown", code, f"Whether this is allowed: {names}", why)
        elif resource_policy and actions == (_INVOKE,):
            yield Finding("unknown", code, f"Whether this is allowed: {names}", f"{why}; the function's own policy may")
        else:
            mend = f"Allow it: {allow(actions, statement.resource)}"
            if why.startswith(ELSEWHERE):
                mend = "No further policy can allow it: ask whoever looks after that one."
            level: Severity = "error" if _MUST & set(actions) else "warning"
            yield Finding(level, code, f"Not allowed: {names}", why, mend)
