"""Checks of the reward function: its settings, its policy, its URL, its VPC and its KMS key."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.recording import LOCATION_VARIABLE, inspect_bucket
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure, allow_statement
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.types.arn import LambdaArn

_Limit = tuple[int, Severity, str]
_TIMEOUT_LIMITS: Sequence[_Limit] = (
    (3, "error", "this is Lambda's default, and the first invocation or a batch of answers takes longer"),
    (30, "warning", "a batch of answers may take longer, especially with a judge"),
)
_MEMORY_LIMITS: Sequence[_Limit] = (
    (128, "warning", "this is Lambda's default; processor time is proportional to memory, and answers are long"),
)
_LOW_CONCURRENCY = 10
_DAYS_OF_NOTICE = 180
_RUNTIME = "python3.13"
_NO_VALUE = "the response has no such field; a proxy may have sent it"
_FIRST_PYTHON, _LAST_PYTHON = 8, 14
"""Versions of Python 3 with a known end of life: each October since 2024 (python.org's schedule)."""

_HARMLESS_KEYS = {"lambda:functionurlauthtype", "lambda:invokedviafunctionurl", "aws:securetransport"}
"""Condition keys that do not limit who may invoke a function."""


def is_published(arn: LambdaArn) -> bool:
    """Return whether an ARN names a version or alias, whose settings cannot be changed."""
    return arn.qualifier not in {None, "$LATEST"}


def _setting_remedy(arn: LambdaArn, option: str, keyword: str) -> str:
    """Return advice to change a setting. A published version can only be replaced by a new one."""
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
        summary = f"The reward function is in {arn.region}, and the client uses {region}"
        remedy = f"Deploy it in {region}, or use region='{arn.region}'."
        yield Finding("error", "reward_region", summary, "jobs cannot use a function of another region", remedy)
    if not is_published(arn):
        command = f"aws lambda publish-version --function-name {arn.name} --region {arn.region}"
        reason = "an update of the function changes the reward of a running job"
        remedy = f"Publish a version and use the ARN that is printed: `{command}`"
        yield Finding("warning", "reward_version", "The reward's ARN names no version", reason, remedy)


def check_account(arn: LambdaArn, caller: str, policy: Mapping[str, Any] | QueryFailure) -> Iterator[Finding]:
    """Check that the function belongs to the caller's account, or has a policy that may admit the caller."""
    if arn.account == caller:
        return
    summary = f"The function belongs to account {arn.account}, and the caller to {caller}"
    remedy = f"Deploy it in account {caller}."
    if isinstance(policy, QueryFailure) and policy.is_missing:
        reason = "the function has no policy that could allow another account to invoke it"
        yield Finding("error", "reward_account", summary, reason, remedy)
    else:
        reason = (
            "the function's policy must allow the caller; it is not documented whether jobs may use such a function"
        )
        yield Finding("warning", "reward_account", summary, reason, remedy)


def check_configuration(
    arn: LambdaArn, configuration: Mapping[str, Any] | QueryFailure, today: date
) -> Iterator[Finding]:
    """Check that the function exists and is ready, and check its timeout, memory and runtime."""
    if isinstance(configuration, QueryFailure):
        if configuration.is_missing:
            remedy = f"Deploy it, or list the functions: `aws lambda list-functions --region {arn.region}`"
            yield Finding("error", "reward", f"There is no function {arn}", configuration.text, remedy)
            return
        summary = "The function's settings cannot be read"
        yield configuration.finding("reward", summary, "lambda:GetFunctionConfiguration", *function_arns(arn))
        return
    yield _state_finding(arn, configuration)
    remedy = _setting_remedy(arn, "--timeout 300", "timeout=300")
    yield _limit_finding("timeout", configuration.get("Timeout"), "s", _TIMEOUT_LIMITS, remedy)
    remedy = _setting_remedy(arn, "--memory-size 512", "memory=512")
    yield _limit_finding("memory", configuration.get("MemorySize"), "MB", _MEMORY_LIMITS, remedy)
    yield check_runtime(arn, configuration, today)


def _limit_finding(name: str, value: object, unit: str, limits: Sequence[_Limit], remedy: str) -> Finding:
    """Return the finding for the first limit that a setting does not exceed."""
    code, summary = f"reward_{name}", f"The {name} is {value} {unit}"
    if not isinstance(value, int):
        return Finding("unknown", code, f"The {name} is not known", _NO_VALUE)
    for largest, level, reason in limits:
        if value <= largest:
            return Finding(level, code, summary, reason, remedy)
    return Finding("ok", code, summary)


def _state_finding(arn: LambdaArn, configuration: Mapping[str, Any]) -> Finding:
    state, update = configuration.get("State"), configuration.get("LastUpdateStatus")
    reason = configuration.get("StateReason") or configuration.get("LastUpdateStatusReason") or ""
    reason = sanitize_line(str(reason), 200)
    if state == "Failed" or update == "Failed":
        summary = "The function cannot run because its last change failed"
        return Finding("error", "reward", summary, reason, "Deploy it again.")
    if state in {"Pending", "Inactive"} or update == "InProgress":
        status = sanitize_line(str(state if state != "Active" else update), 20)
        function = f"--function-name {arn.name} --region {arn.region}"
        function += f" --qualifier {arn.qualifier}" if is_published(arn) else ""
        waiter = "function-updated-v2" if state == "Active" else "function-active-v2"
        remedy = f"Wait until it is ready: `aws lambda wait {waiter} {function}`"
        if state == "Inactive":
            remedy = (
                "Invoke it once, which may fail, and wait until it is ready: "
                f"`aws lambda invoke {function} out.json; aws lambda wait {waiter} {function}`"
            )
        return Finding("warning", "reward", f"The function exists and is not ready: {status}", reason, remedy)
    if state != "Active":
        reason = f"its state is {sanitize_line(str(state), 40)}" if state else _NO_VALUE
        return Finding("unknown", "reward", "Not known whether the function is ready", reason)
    return Finding("ok", "reward", "The function exists and is ready")


def check_runtime(arn: LambdaArn, configuration: Mapping[str, Any], today: date) -> Finding:
    """Check that the function's Python still gets security updates."""
    code, name = "reward_runtime", sanitize_line(str(configuration.get("Runtime") or ""), 40)
    if configuration.get("PackageType") == "Image" or not name:
        reason = "the runtime is inside the image, where Lambda's settings do not show it"
        return Finding("unknown", code, "The function is a container image", reason)
    minor = re.fullmatch(r"python3\.(\d+)", name, re.ASCII)
    if minor is None:
        reason = "the end of life of Python runtimes only is known here"
        return Finding("unknown", code, f"Not known whether the runtime {name} is deprecated", reason)
    version = int(minor[1])
    if version > _LAST_PYTHON:
        return Finding("ok", code, f"The runtime is {name}")
    end = date(2024 + max(version, _FIRST_PYTHON - 1) - _FIRST_PYTHON, 10, 31)
    remedy = _setting_remedy(arn, f"--runtime {_RUNTIME}", f"runtime='{_RUNTIME}'")
    if today >= end:
        reason = f"Python 3.{version} gets no more security updates, and Lambda deprecates such runtimes"
        return Finding("warning", code, f"The runtime {name} has reached its end of life", reason, remedy)
    if (end - today).days < _DAYS_OF_NOTICE:
        summary = f"The runtime {name} reaches its end of life in {end:%B %Y}"
        return Finding("warning", code, summary, "", remedy)
    return Finding("ok", code, f"The runtime is {name}")


def check_concurrency(arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check the function's reserved concurrency."""
    code = "reward_concurrency"
    if isinstance(response, QueryFailure):
        summary = "The reserved concurrency cannot be read"
        return response.finding(code, summary, "lambda:GetFunctionConcurrency", *function_arns(arn))
    reserved = response.get("ReservedConcurrentExecutions")
    remove = f"`aws lambda delete-function-concurrency --function-name {arn.name} --region {arn.region}`"
    if reserved is None:
        return Finding("ok", code, "The function has no reserved concurrency", "it uses the account's concurrency")
    summary = f"The reserved concurrency is {reserved}"
    if reserved == 0:
        return Finding("error", code, summary, "Lambda rejects every invocation", f"Remove it: {remove}")
    if reserved < _LOW_CONCURRENCY:
        reason = "a job scores many answers at once, and Lambda throttles it beyond that number"
        return Finding("warning", code, summary, reason, f"Raise or remove it: {remove}")
    return Finding("ok", code, summary)


def check_resource_policy(arn: LambdaArn, response: Mapping[str, Any] | QueryFailure) -> Finding:
    """Check that the function's resource policy does not allow everyone to invoke it."""
    code = "reward_policy"
    if isinstance(response, QueryFailure):
        if response.is_missing:
            return Finding("ok", code, "The function has no resource policy", "callers in its account need none")
        summary = "The function's resource policy cannot be read"
        return response.finding(code, summary, "lambda:GetPolicy", *function_arns(arn))
    try:
        statements = json.loads(str(response.get("Policy", "")))["Statement"]
        public = [str(statement.get("Sid", "")) for statement in statements if _allows_everyone(statement)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Finding("unknown", code, "The function's resource policy is not valid JSON")
    if public:
        command = f"aws lambda remove-permission --function-name {arn.name} --region {arn.region} --statement-id "
        qualifier = f" --qualifier {arn.qualifier}" if is_published(arn) else ""
        commands = [f"{command}{shlex.quote(sanitize_line(sid, 100))}{qualifier}" for sid in public]
        remedy = f"Remove the statement{'s'[: len(commands) - 1]}: `{' && '.join(commands)}`"
        return Finding("warning", code, "Everyone may invoke the function", "its resource policy names '*'", remedy)
    summary = f"The function's resource policy has {len(statements)} statements, and none allows everyone"
    return Finding("ok", code, summary)


def _allows_everyone(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement allows everyone, without a condition that limits the caller."""
    principal = statement.get("Principal")
    conditions: Mapping[str, Mapping[str, Any]] = statement.get("Condition") or {}
    keys = {key.lower() for values in conditions.values() for key in values}
    everyone = principal in ("*", {"AWS": "*"}, {"AWS": ["*"]}, ["*"])
    return statement.get("Effect") == "Allow" and everyone and keys <= _HARMLESS_KEYS


_DEFAULT_ROUTE = "0.0.0.0/0"
_OUTBOUND = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId", "VpcPeeringConnectionId")
"""Route targets through which a function reaches the internet; not an internet gateway, because it has no public IP."""


def check_function_url(query: AwsQuery, arn: LambdaArn) -> Iterator[Finding]:
    """Check that no function URL works without authentication. A URL belongs to the function or an alias."""
    bare, _ = function_arns(arn)
    alias = arn.qualifier if is_published(arn) and not str(arn.qualifier).isdigit() else None
    for qualifier in (None, alias) if alias else (None,):
        parameters = {"FunctionName": bare, **({"Qualifier": qualifier} if qualifier else {})}
        response = query("lambda", "get_function_url_config", **parameters)
        if isinstance(response, QueryFailure):
            if not response.is_missing:
                summary = "The function URL cannot be read"
                yield response.finding("reward_url", summary, "lambda:GetFunctionUrlConfig", *function_arns(arn))
        elif response.get("AuthType") == "NONE":
            command = f"aws lambda update-function-url-config --function-name {arn.name} --region {arn.region}"
            command += f" --qualifier {qualifier}" if qualifier else ""
            summary = "Everyone on the internet may invoke the function through its URL"
            reason = "the function URL has the authentication type NONE"
            remedy = f"Require signed requests: `{command} --auth-type AWS_IAM`"
            yield Finding("warning", "reward_url", summary, reason, remedy)


def check_kms_key(query: AwsQuery, arn: LambdaArn, configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that the KMS key of the function's environment variables is enabled."""
    key = configuration.get("KMSKeyArn")
    if not key:
        return
    name = sanitize_line(str(key), 120)
    response = query("kms", "describe_key", KeyId=key)
    if isinstance(response, QueryFailure):
        if response.is_missing:
            function = f"--function-name {arn.name} --region {arn.region}"
            remedy = (
                "Use AWS's own key, and add the environment variables to this command, because their values are lost: "
                f"`aws lambda update-function-configuration {function} --kms-key-arn '' --environment Variables={{}}`"
            )
            if is_published(arn):
                remedy += ". Then publish a version, and use its ARN."
            yield Finding("error", "reward_key", f"The KMS key {name} does not exist", response.text, remedy)
        else:
            summary = f"The state of the KMS key {name} cannot be read"
            yield response.finding("reward_key", summary, "kms:DescribeKey", name)
        return
    state = sanitize_line(str(response.get("KeyMetadata", {}).get("KeyState")), 40)
    if state == "Enabled":
        yield Finding("ok", "reward_key", "The function's KMS key is enabled")
        return
    steps = ["cancel-key-deletion", "enable-key"] if state == "PendingDeletion" else ["enable-key"]
    region = f" --region {name.split(':')[3]}" if name.startswith("arn:") else ""
    commands = " && ".join(f"aws kms {step} --key-id {name}{region}" for step in steps)
    summary = f"The function's KMS key is not enabled but {state}"
    reason = "Lambda cannot decrypt the function's environment variables, so every invocation fails"
    yield Finding("error", "reward_key", summary, reason, f"Enable the key: `{commands}`")


def recording_location(configuration: Mapping[str, Any]) -> str | None:
    """Return the location that a function records its rollouts in, from its environment, or None."""
    environment: Mapping[str, Any] = configuration.get("Environment") or {}
    variables: Mapping[str, Any] = environment.get("Variables") or {}
    location = variables.get(LOCATION_VARIABLE)
    return location if isinstance(location, str) and location.startswith("s3://") else None


def check_recording(query: AwsQuery, arn: LambdaArn, location: str) -> Finding:
    """Check that the bucket of the recorded rollouts exists, in the function's account and region."""

    def head_bucket(**parameters: str) -> Mapping[str, Any] | str:
        response = query("s3", "head_bucket", **parameters)
        if not isinstance(response, QueryFailure):
            return response
        return {"403": "denied", "404": "not_found"}.get(response.code, response.kind or str(response))

    bucket = location.removeprefix("s3://").partition("/")[0]
    verdict, reason = inspect_bucket(head_bucket, bucket, arn.account, arn.region)
    summary = {
        "ok": f"The function records rollouts in {sanitize_line(location, 200)}",
        "error": f"The function cannot record rollouts in {sanitize_line(location, 200)}",
        "unknown": f"Not known whether the function can record rollouts in {sanitize_line(location, 200)}",
    }[verdict]
    remedy = "Scores are not affected. Deploy it again with record= in a bucket of its account and region."
    if verdict != "error":
        objects = (f"arn:{arn.aws_partition}:s3:::{sanitize_line(bucket, 63)}",)
        remedy = f"Allow it: {allow_statement(('s3:ListBucket',), objects)}" if "denied" in reason else ""
    level: Severity = "warning" if verdict == "error" else verdict
    return Finding(level, "reward_recording", summary, reason, remedy)


def check_network(
    query: AwsQuery, arn: LambdaArn, configuration: Mapping[str, Any], judges: Sequence[str]
) -> Iterator[Finding]:
    """Check that a function in a VPC can reach Bedrock, if the reward invokes judges."""
    code, network = "reward_network", cast("Mapping[str, Any]", configuration.get("VpcConfig") or {})
    vpc, subnets = network.get("VpcId"), [str(subnet) for subnet in network.get("SubnetIds") or ()]
    if not vpc or not subnets:
        return
    if not judges:
        yield Finding("ok", code, "The function runs in a VPC and invokes no judge")
        return
    service = f"com.amazonaws.{arn.region}.bedrock-runtime"
    in_vpc = {"Name": "vpc-id", "Values": [str(vpc)]}
    for_service = {"Name": "service-name", "Values": [service]}
    endpoints = query("ec2", "describe_vpc_endpoints", Filters=[in_vpc, for_service])
    routes = query("ec2", "describe_route_tables", Filters=[in_vpc])
    if not isinstance(endpoints, QueryFailure) and any(
        str(endpoint.get("State", "")).lower() == "available" for endpoint in endpoints.get("VpcEndpoints", ())
    ):
        yield Finding("ok", code, "The function's VPC has an endpoint for Bedrock")
        return
    for result in (endpoints, routes):
        if isinstance(result, QueryFailure):
            summary = "Not known whether the function can reach its judges from its VPC"
            yield result.finding(code, summary, ("ec2:DescribeVpcEndpoints", "ec2:DescribeRouteTables"), "*")
            return
    tables: Sequence[Mapping[str, Any]] = cast("Mapping[str, Any]", routes).get("RouteTables", ())
    isolated = [subnet for subnet in subnets if not _has_outbound_route(subnet, tables)]
    if not isolated:
        yield Finding("ok", code, "The function's subnets have a route to the internet")
        return
    summary = f"The function cannot reach its judges from {sanitize_line(', '.join(isolated), 120)}"
    reason = "these subnets have no route through a NAT gateway, and the VPC has no endpoint for Bedrock"
    remedy = (
        f"Create an endpoint: `aws ec2 create-vpc-endpoint --vpc-id {sanitize_line(str(vpc), 40)} "
        f"--region {arn.region} --vpc-endpoint-type Interface --service-name {service} "
        f"--subnet-ids {sanitize_line(' '.join(subnets), 200)}`"
    )
    yield Finding("error", code, summary, reason, remedy)


def _has_outbound_route(subnet: str, tables: Sequence[Mapping[str, Any]]) -> bool:
    subnet_tables = [
        table for table in tables if any(link.get("SubnetId") == subnet for link in table.get("Associations", ()))
    ]
    main_tables = [table for table in tables if any(link.get("Main") for link in table.get("Associations", ()))]
    return any(
        route.get("DestinationCidrBlock") == _DEFAULT_ROUTE
        and route.get("State", "active") == "active"
        and any(route.get(target) for target in _OUTBOUND)
        for table in subnet_tables or main_tables
        for route in table.get("Routes", ())
    )
