"""Checks of the reward function's settings: can jobs invoke it repeatedly, for hours?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import QueryFailure, permission_remedy
from bedrock_rft.types.arn import LambdaArn

__all__ = [
    "check_account",
    "check_arn",
    "check_concurrency",
    "check_configuration",
    "check_resource_policy",
    "check_runtime",
    "is_published",
]

_DEFAULT_TIMEOUT = 3
_SHORT_TIMEOUT = 30
_DEFAULT_MEMORY = 128
_LOW_CONCURRENCY = 10
_DAYS_OF_NOTICE = 180
_RUNTIME = "python3.13"
# Lambda deprecates a runtime when its Python version reaches end of life (python.org's schedule).
_PYTHON_ENDS = {
    8: date(2024, 10, 31),
    9: date(2025, 10, 31),
    10: date(2026, 10, 31),
    11: date(2027, 10, 31),
    12: date(2028, 10, 31),
    13: date(2029, 10, 31),
    14: date(2030, 10, 31),
}


def is_published(arn: LambdaArn) -> bool:
    """Return whether an ARN names a version or alias, whose settings cannot be changed."""
    return arn.qualifier not in {None, "$LATEST"}


def _setting_remedy(arn: LambdaArn, option: str, keyword: str) -> str:
    """Return how to change a setting: of a published version only by a new version."""
    if is_published(arn):
        return (
            f"A published version cannot be changed. Deploy again with client.rewards.deploy(…, name='{arn.name}', "
            f"{keyword}), and use the ARN that it returns."
        )
    command = f"aws lambda update-function-configuration --function-name {arn.name} --region {arn.region} {option}"
    return f"Change it: `{command}`"


def check_arn(arn: LambdaArn, region: str) -> Iterator[Finding]:
    """Check the function's region, and that its ARN names a version."""
    if arn.region != region:
        yield Finding(
            "error",
            "reward_region",
            f"The reward function is in {arn.region}, and the client uses {region}",
            "jobs cannot use a function of another region",
            f"Deploy it in {region}, or use region='{arn.region}'.",
        )
    if not is_published(arn):
        command = f"aws lambda publish-version --function-name {arn.name} --region {arn.region}"
        yield Finding(
            "warning",
            "reward_version",
            "The reward's ARN names no version",
            "an update of the function changes the reward of a running job",
            f"Publish a version and use the ARN that is printed: `{command}`",
        )


def check_account(arn: LambdaArn, caller: str, policy: Mapping[str, Any] | QueryFailure) -> Iterator[Finding]:
    """Check that the function belongs to the caller's account, or has a policy that may admit the caller."""
    if arn.account == caller:
        return
    if isinstance(policy, QueryFailure) and policy.missing:
        level, reason = "error", "the function has no policy that could allow another account to invoke it"
    else:
        level, reason = (
            "warning",
            "the function's policy must allow the caller; it is not documented whether jobs may use such a function",
        )
    summary = f"The function belongs to account {arn.account}, and the caller to {caller}"
    yield Finding(
        "error" if level == "error" else "warning", "reward_account", summary, reason, f"Deploy it in account {caller}."
    )


def check_configuration(
    arn: LambdaArn, configuration: Mapping[str, Any] | QueryFailure, today: date
) -> Iterator[Finding]:
    """Check that the function exists and is ready, its timeout, memory and runtime."""
    if isinstance(configuration, QueryFailure):
        yield _unavailable_finding(arn, configuration)
        return
    yield _state_finding(configuration)
    seconds, memory = int(configuration.get("Timeout") or 0), int(configuration.get("MemorySize") or 0)
    if seconds <= _SHORT_TIMEOUT:
        default = seconds <= _DEFAULT_TIMEOUT
        reason = (
            "this is Lambda's default, and the first invocation or a batch of answers takes longer"
            if default
            else "a batch of answers may take longer, especially with a judge"
        )
        remedy = _setting_remedy(arn, "--timeout 300", "timeout=300")
        yield Finding(
            "error" if default else "warning", "reward_timeout", f"The timeout is {seconds} s", reason, remedy
        )
    else:
        yield Finding("ok", "reward_timeout", f"The timeout is {seconds} s")
    if memory <= _DEFAULT_MEMORY:
        reason = "this is Lambda's default; processor time is proportional to memory, and answers are long"
        remedy = _setting_remedy(arn, "--memory-size 512", "memory=512")
        yield Finding("warning", "reward_memory", f"The memory is {memory} MB", reason, remedy)
    else:
        yield Finding("ok", "reward_memory", f"The memory is {memory} MB")
    yield check_runtime(arn, configuration, today)


def _unavailable_finding(arn: LambdaArn, failure: QueryFailure) -> Finding:
    if failure.missing:
        return Finding(
            "error",
            "reward",
            f"There is no function {arn}",
            failure.text,
            f"Deploy it, or list the functions: `aws lambda list-functions --region {arn.region}`",
        )
    remedy = permission_remedy(failure, "lambda:GetFunctionConfiguration", str(arn))
    return Finding("unknown", "reward", "The function's settings cannot be read", str(failure), remedy)


def _state_finding(configuration: Mapping[str, Any]) -> Finding:
    state, update = configuration.get("State"), configuration.get("LastUpdateStatus")
    reason = configuration.get("StateReason") or configuration.get("LastUpdateStatusReason") or ""
    reason = sanitize_line(str(reason), 200)
    if state == "Failed" or update == "Failed":
        return Finding("error", "reward", "The function cannot run because its last change failed", reason,
                       "Deploy it again.")  # fmt: skip
    if state in {"Pending", "Inactive"} or update == "InProgress":
        status = sanitize_line(str(state if state != "Active" else update), 20)
        remedy = "Invoke it once, and wait until it is active."
        return Finding("warning", "reward", f"The function exists and is not ready: {status}", reason, remedy)
    return Finding("ok", "reward", "The function exists and is ready")


def check_runtime(arn: LambdaArn, configuration: Mapping[str, Any], today: date) -> Finding:
    """Check that the function's Python still gets security updates."""
    name = sanitize_line(str(configuration.get("Runtime") or ""), 40)
    if configuration.get("PackageType") == "Image" or not name:
        reason = "the runtime is inside the image, where Lambda's settings do not show it"
        return Finding("unknown", "reward_runtime", "The function is a container image", reason)
    minor = re.fullmatch(r"python3\.(\d+)", name, re.ASCII)
    if minor is None:
        reason = "the end of life of Python runtimes only is known here"
        return Finding("unknown", "reward_runtime", f"Not known whether the runtime {name} is deprecated", reason)
    version = int(minor[1])
    end = _PYTHON_ENDS.get(version, date.min if version < min(_PYTHON_ENDS) else date.max)
    remedy = _setting_remedy(arn, f"--runtime {_RUNTIME}", f"runtime='{_RUNTIME}'")
    if today >= end:
        reason = f"Python 3.{version} gets no more security updates, and Lambda deprecates such runtimes"
        return Finding("warning", "reward_runtime", f"The runtime {name} has reached its end of life", reason, remedy)
    if (end - today).days < _DAYS_OF_NOTICE:
        summary = f"The runtime {name} reaches its end of life in {end:%B %Y}"
        return Finding("warning", "reward_runtime", summary, "", remedy)
    return Finding("ok", "reward_runtime", f"The runtime is {name}")


def check_concurrency(arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check the function's reserved concurrency."""
    code = "reward_concurrency"
    if isinstance(response, QueryFailure):
        remedy = permission_remedy(response, "lambda:GetFunctionConcurrency", str(arn))
        return Finding("unknown", code, "The reserved concurrency cannot be read", str(response), remedy)
    reserved = response.get("ReservedConcurrentExecutions")
    remove = f"`aws lambda delete-function-concurrency --function-name {arn.name} --region {arn.region}`"
    if reserved is None:
        return Finding("ok", code, "The function has no reserved concurrency", "it uses the account's")
    if reserved == 0:
        return Finding(
            "error", code, "The reserved concurrency is 0", "Lambda rejects every invocation", f"Remove it: {remove}"
        )
    if reserved < _LOW_CONCURRENCY:
        reason = "a job scores many answers at once, and Lambda throttles it beyond that number"
        return Finding(
            "warning", code, f"The reserved concurrency is {reserved}", reason, f"Raise or remove it: {remove}"
        )
    return Finding("ok", code, f"The reserved concurrency is {reserved}")


def check_resource_policy(arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check that the function's resource policy does not allow everyone to invoke it."""
    code = "reward_policy"
    if isinstance(response, QueryFailure):
        if response.missing:
            return Finding("ok", code, "The function has no resource policy", "callers in its account need none")
        remedy = permission_remedy(response, "lambda:GetPolicy", str(arn))
        return Finding("unknown", code, "The function's resource policy cannot be read", str(response), remedy)
    try:
        statements = json.loads(str(response.get("Policy", "")))["Statement"]
        public = [statement for statement in statements if _allows_everyone(statement)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Finding("unknown", code, "The function's resource policy is not valid JSON")
    if public:
        sid = sanitize_line(str(public[0].get("Sid", "")), 60)
        command = f"aws lambda remove-permission --function-name {arn.name} --region {arn.region} --statement-id {sid}"
        command += f" --qualifier {arn.qualifier}" if is_published(arn) else ""
        remedy = f"Remove the statement: `{command}`"
        return Finding("warning", code, "Everyone may invoke the function", "its policy names '*'", remedy)
    return Finding(
        "ok", code, f"The function's resource policy has {len(statements)} statements, and none allows everyone"
    )


def _allows_everyone(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    return statement.get("Effect") == "Allow" and principal in ("*", {"AWS": "*"}) and not statement.get("Condition")
