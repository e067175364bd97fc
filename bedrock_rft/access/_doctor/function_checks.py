"""What Lambda says of the reward function: whether a job can invoke it, again and again, for hours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import Refused, allow
from bedrock_rft.types.arn import LambdaArn

__all__ = ["account", "concurrency", "configuration", "resource_policy", "runtime", "where"]

_DEFAULT_TIMEOUT = 3
_SHORT_TIMEOUT = 30
_DEFAULT_MEMORY = 128
_FEW = 10
_SOON = 180  # days
# When Python itself gets no more fixes, which is when Lambda deprecates its runtime (python.org's schedule).
_PYTHON_ENDS = {8: date(2024, 10, 31), 9: date(2025, 10, 31), 10: date(2026, 10, 31), 11: date(2027, 10, 31),
                12: date(2028, 10, 31), 13: date(2029, 10, 31), 14: date(2030, 10, 31)}  # fmt: skip


def where(arn: LambdaArn, region: str) -> Iterator[Finding]:
    """Whether the function is where the job will be, and stays what it is."""
    if arn.region != region:
        yield Finding(
            "error",
            "reward_region",
            f"The reward function is in {arn.region}, and the client is set to {region}",
            "jobs are not created with a function of another region",
            f"Deploy it in {region}, or use region='{arn.region}'.",
        )
    if arn.qualifier in {None, "$LATEST"}:
        yield Finding(
            "warning",
            "reward_version",
            "The reward's ARN names no version",
            "whoever updates the function changes the reward of a job that is running",
            f"Publish one: `aws lambda publish-version --function-name {arn.name} --region {arn.region}`",
        )


def account(arn: LambdaArn, caller: str, policy: Mapping[str, Any] | Refused) -> Iterator[Finding]:
    """Whether caller and function are of one account; a function of another one has to let the caller in."""
    if arn.account == caller:
        return
    known = "it has no policy that could let anybody of another one in" if _none(policy) else "its policy must let in"
    yield Finding(
        "error" if _none(policy) else "warning",
        "reward_account",
        f"The function belongs to account {arn.account}, and the caller to {caller}",
        known
        if _none(policy)
        else f"{known} the caller; whether jobs may use one of another account is not documented",
        f"Deploy it in account {caller}.",
    )


def configuration(arn: LambdaArn, said: Mapping[str, Any] | Refused, today: date) -> Iterator[Finding]:
    """Its settings: whether it exists and is ready, its timeout, memory and runtime."""
    if isinstance(said, Refused):
        yield _not_seen(arn, said)
        return
    yield _state(said)
    update = f"`aws lambda update-function-configuration --function-name {arn.name} --region {arn.region}"
    seconds, memory = int(said.get("Timeout") or 0), int(said.get("MemorySize") or 0)
    if seconds <= _SHORT_TIMEOUT:
        default = seconds <= _DEFAULT_TIMEOUT
        why = "Lambda's default; the first invocation and a batch of answers take longer" if default else (
            "a batch of answers may take longer, above all with a judge"
        )  # fmt: skip
        mend = f"Raise it: {update} --timeout 300`"
        yield Finding("error" if default else "warning", "reward_timeout", f"Its timeout is {seconds} s", why, mend)
    else:
        yield Finding("ok", "reward_timeout", f"Its timeout is {seconds} s")
    if memory <= _DEFAULT_MEMORY:
        why = "Lambda's default; processor time is given by memory, and answers are long"
        yield Finding("warning", "reward_memory", f"It has {memory} MB", why, f"Raise it: {update} --memory-size 512`")
    else:
        yield Finding("ok", "reward_memory", f"It has {memory} MB")
    yield runtime(said, update, today)


def _not_seen(arn: LambdaArn, said: Refused) -> Finding:
    if said.missing:
        return Finding(
            "error",
            "reward",
            f"There is no function {arn}",
            said.text,
            f"Deploy it, or list what is there: `aws lambda list-functions --region {arn.region}`",
        )
    action = ("lambda:GetFunctionConfiguration",)
    mend = f"Allow it: {allow(action, (str(arn),))}" if said.denied else ""
    return Finding("unknown", "reward", "The function's settings could not be seen", str(said), mend)


def _state(said: Mapping[str, Any]) -> Finding:
    state, updating = said.get("State"), said.get("LastUpdateStatus")
    why = sanitize_line(str(said.get("StateReason") or said.get("LastUpdateStatusReason") or ""), 200)
    if state == "Failed" or updating == "Failed":
        return Finding("error", "reward", "The function cannot run: its last change failed", why, "Deploy it again.")
    if state in {"Pending", "Inactive"} or updating == "InProgress":
        what = (
            f"The function is there, and not ready: {sanitize_line(str(state if state != 'Active' else updating), 20)}"
        )
        return Finding("warning", "reward", what, why, "Invoke it once, and wait until it is active.")
    return Finding("ok", "reward", "The function is there, and ready")


def runtime(said: Mapping[str, Any], update: str, today: date) -> Finding:
    """Whether what runs the function is still looked after."""
    name = sanitize_line(str(said.get("Runtime") or ""), 40)
    if not name:
        return Finding("ok", "reward_runtime", "It is a container image, which brings its own runtime")
    minor = re.fullmatch(r"python3\.(\d+)", name, re.ASCII)
    if minor is None:
        return Finding(
            "unknown", "reward_runtime", f"Whether {name} is deprecated", "Python's runtimes alone are known"
        )
    return _python(name, int(minor[1]), update, today)


def _python(name: str, minor: int, update: str, today: date) -> Finding:
    ends = _PYTHON_ENDS.get(minor, date.min if minor < min(_PYTHON_ENDS) else date.max)
    if today >= ends:
        why = f"Python 3.{minor} gets no more security fixes, and Lambda deprecates such runtimes"
        return Finding(
            "warning", "reward_runtime", f"It runs on {name}, which has come to its end", why, _newer(update)
        )
    if (ends - today).days < _SOON:
        return Finding(
            "warning", "reward_runtime", f"It runs on {name}, which ends in {ends:%B %Y}", "", _newer(update)
        )
    return Finding("ok", "reward_runtime", f"It runs on {name}")


def _newer(update: str) -> str:
    return f"Move it: {update} --runtime python3.13`"


def concurrency(arn: LambdaArn, said: Mapping[str, Any] | Refused) -> Finding:
    """How many invocations may run at once."""
    if isinstance(said, Refused):
        mend = f"Allow it: {allow(('lambda:GetFunctionConcurrency',), (str(arn),))}" if said.denied else ""
        return Finding("unknown", "reward_concurrency", "Its reserved concurrency could not be seen", str(said), mend)
    reserved = said.get("ReservedConcurrentExecutions")
    free = f"`aws lambda delete-function-concurrency --function-name {arn.name} --region {arn.region}`"
    if reserved is None:
        return Finding("ok", "reward_concurrency", "It has no reserved concurrency", "it shares the account's")
    if reserved == 0:
        why = "no invocation is let through"
        return Finding("error", "reward_concurrency", "Its reserved concurrency is 0", why, f"Let go of it: {free}")
    if reserved < _FEW:
        why = "a job scores many answers at once, and is throttled beyond that"
        what = f"Its reserved concurrency is {reserved}"
        return Finding("warning", "reward_concurrency", what, why, f"Raise it, or let go of it: {free}")
    return Finding("ok", "reward_concurrency", f"Its reserved concurrency is {reserved}")


def resource_policy(arn: LambdaArn, said: Mapping[str, Any] | Refused) -> Finding:
    """Who else may invoke it."""
    if _none(said):
        why = "callers of its own account need none"
        return Finding("ok", "reward_policy", "The function has no policy of its own", why)
    if isinstance(said, Refused):
        mend = f"Allow it: {allow(('lambda:GetPolicy',), (str(arn),))}" if said.denied else ""
        return Finding("unknown", "reward_policy", "The function's own policy could not be seen", str(said), mend)
    try:
        statements = json.loads(str(said.get("Policy", "")))["Statement"]
        public = [each for each in statements if _anybody(each)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Finding("unknown", "reward_policy", "The function's own policy cannot be read")
    if public:
        sid = sanitize_line(str(public[0].get("Sid", "")), 60)
        remove = f"aws lambda remove-permission --function-name {arn.name} --region {arn.region} --statement-id {sid}"
        mend = f"Take that away: `{remove}`"
        return Finding("warning", "reward_policy", "Anybody may invoke the function", "its policy names '*'", mend)
    return Finding(
        "ok", "reward_policy", f"The function's own policy has {len(statements)} statements, none for anybody"
    )


def _anybody(statement: Mapping[str, Any]) -> bool:
    named = statement.get("Principal")
    return statement.get("Effect") == "Allow" and named in ("*", {"AWS": "*"}) and not statement.get("Condition")


def _none(said: Mapping[str, Any] | Refused) -> bool:
    return isinstance(said, Refused) and said.missing
