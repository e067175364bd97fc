"""Checks of the reward function's surroundings: its URL, its VPC and its KMS key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure
from bedrock_rft.access._doctor.function_checks import is_published
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.types.arn import LambdaArn

__all__ = ["check_function_url", "check_kms_key", "check_network"]

_DEFAULT_ROUTE = "0.0.0.0/0"
_OUTBOUND = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId", "VpcPeeringConnectionId")
"""Route targets through which a function reaches the internet. Functions have no public IP for an internet gateway."""


def check_function_url(query: AwsQuery, arn: LambdaArn) -> Iterator[Finding]:
    """Check that a function URL, if there is one, needs authentication. A URL belongs to the function or an alias."""
    bare, _ = function_arns(arn)
    alias = arn.qualifier if is_published(arn) and not str(arn.qualifier).isdigit() else None
    for qualifier in (None, alias) if alias else (None,):
        parameters = {"FunctionName": bare, **({"Qualifier": qualifier} if qualifier else {})}
        response = query("lambda", "get_function_url_config", **parameters)
        if isinstance(response, QueryFailure):
            if not response.missing:
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
        if response.missing:
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
    named = {"Name": "service-name", "Values": [service]}
    endpoints = query("ec2", "describe_vpc_endpoints", Filters=[in_vpc, named])
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
    own = [table for table in tables if any(link.get("SubnetId") == subnet for link in table.get("Associations", ()))]
    main = [table for table in tables if any(link.get("Main") for link in table.get("Associations", ()))]
    return any(
        route.get("DestinationCidrBlock") == _DEFAULT_ROUTE
        and route.get("State", "active") == "active"
        and any(route.get(target) for target in _OUTBOUND)
        for table in own or main
        for route in table.get("Routes", ())
    )
