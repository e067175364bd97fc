"""Checks of the reward function's surroundings: its URL, its VPC and its KMS key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.aws_queries import AwsQuery, QueryFailure, permission_remedy
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.types.arn import LambdaArn

__all__ = ["check_function_url", "check_kms_key", "check_network"]

_DEFAULT_ROUTE = "0.0.0.0/0"
_OUTBOUND = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId", "VpcPeeringConnectionId")
"""Route targets through which a function reaches the internet. Functions have no public IP for an internet gateway."""


def check_function_url(query: AwsQuery, arn: LambdaArn) -> Iterator[Finding]:
    """Check that a function URL, if there is one, needs authentication. A URL belongs to the function or an alias."""
    bare, _ = function_arns(arn)
    alias = arn.qualifier if arn.qualifier and not arn.qualifier.isdigit() and arn.qualifier != "$LATEST" else None
    for qualifier in (None, alias) if alias else (None,):
        parameters = {"FunctionName": bare, **({"Qualifier": qualifier} if qualifier else {})}
        response = query("lambda", "get_function_url_config", **parameters)
        if isinstance(response, QueryFailure):
            if not response.missing:
                remedy = permission_remedy(response, "lambda:GetFunctionUrlConfig", str(arn))
                yield Finding("unknown", "reward_url", "The function URL cannot be read", str(response), remedy)
        elif response.get("AuthType") == "NONE":
            command = f"aws lambda update-function-url-config --function-name {arn.name} --region {arn.region}"
            command += f" --qualifier {qualifier}" if qualifier else ""
            yield Finding(
                "warning",
                "reward_url",
                "Everyone on the internet may invoke the function through its URL",
                "the function URL has the authentication type NONE",
                f"Require signed requests: `{command} --auth-type AWS_IAM`",
            )


def check_kms_key(query: AwsQuery, configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that the KMS key of the function's environment variables is enabled."""
    key = configuration.get("KMSKeyArn")
    if not key:
        return
    name = sanitize_line(str(key), 120)
    response = query("kms", "describe_key", KeyId=key)
    if isinstance(response, QueryFailure):
        if response.missing:
            yield Finding("error", "reward_key", f"The KMS key {name} does not exist", response.text,
                          "Deploy the function with another key.")  # fmt: skip
            return
        remedy = permission_remedy(response, "kms:DescribeKey", name)
        yield Finding("unknown", "reward_key", f"The state of the KMS key {name} cannot be read", str(response), remedy)
        return
    state = sanitize_line(str(response.get("KeyMetadata", {}).get("KeyState")), 40)
    if state == "Enabled":
        yield Finding("ok", "reward_key", "The function's KMS key is enabled")
        return
    commands = [f"aws kms enable-key --key-id {name}"]
    if state == "PendingDeletion":
        commands.insert(0, f"aws kms cancel-key-deletion --key-id {name}")
    yield Finding(
        "error",
        "reward_key",
        f"The function's KMS key is not enabled but {state}",
        "Lambda cannot decrypt the function's environment variables, so every invocation fails",
        f"Enable the key: `{' && '.join(commands)}`",
    )


def check_network(
    query: AwsQuery, arn: LambdaArn, configuration: Mapping[str, Any], judges: Sequence[str]
) -> Iterator[Finding]:
    """Check that a function in a VPC can reach Bedrock, if the reward invokes judges."""
    network: Mapping[str, Any] = configuration.get("VpcConfig") or {}
    vpc, subnets = network.get("VpcId"), [str(subnet) for subnet in network.get("SubnetIds") or ()]
    if not vpc or not subnets:
        return
    if not judges:
        yield Finding("ok", "reward_network", "The function runs in a VPC and invokes no judge")
        return
    service = f"com.amazonaws.{arn.region}.bedrock-runtime"
    endpoints = query(
        "ec2", "describe_vpc_endpoints", Filters=[_filter("vpc-id", vpc), _filter("service-name", service)]
    )
    routes = query("ec2", "describe_route_tables", Filters=[_filter("vpc-id", vpc)])
    if not isinstance(endpoints, QueryFailure) and any(
        str(endpoint.get("State", "")).lower() == "available" for endpoint in endpoints.get("VpcEndpoints", ())
    ):
        yield Finding("ok", "reward_network", "The function's VPC has an endpoint for Bedrock")
        return
    failure = next((result for result in (endpoints, routes) if isinstance(result, QueryFailure)), None)
    if failure is not None or isinstance(routes, QueryFailure):
        remedy = (
            permission_remedy(failure, "ec2:DescribeVpcEndpoints", "*").replace(
                '"ec2:DescribeVpcEndpoints"', '"ec2:DescribeVpcEndpoints", "ec2:DescribeRouteTables"'
            )
            if failure
            else ""
        )
        summary = "Not known whether the function can reach its judges from its VPC"
        yield Finding("unknown", "reward_network", summary, str(failure), remedy)
        return
    isolated = [subnet for subnet in subnets if not _has_outbound_route(subnet, routes.get("RouteTables", ()))]
    if not isolated:
        yield Finding("ok", "reward_network", "The function's subnets have a route to the internet")
        return
    yield Finding(
        "error",
        "reward_network",
        f"The function cannot reach its judges from {sanitize_line(', '.join(isolated), 120)}",
        "these subnets have no route through a NAT gateway, and the VPC has no endpoint for Bedrock",
        f"Create an endpoint: `aws ec2 create-vpc-endpoint --vpc-id {sanitize_line(str(vpc), 40)} "
        f"--region {arn.region} --vpc-endpoint-type Interface --service-name {service} "
        f"--subnet-ids {sanitize_line(' '.join(subnets), 200)}`",
    )


def _filter(name: str, value: object) -> dict[str, Any]:
    return {"Name": name, "Values": [str(value)]}


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
