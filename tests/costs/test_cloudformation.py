"""The CloudFormation template of a deployment: least privilege as in the plan, linted, and deployed in the emulator."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.aws_gate import Here
from support.deploy_setup import build_package
from support.fake_secrets import ACCESS_KEY, SECRET
from support.moto_server import REGION

from bedrock_rft import Client, ConfigurationError
from bedrock_rft.access import Plan
from bedrock_rft.rewards import Judge, package


def service(name: str) -> Any:
    boto3: Any = import_module("boto3")  # it ships no annotations
    return boto3.client(
        name,
        region_name=REGION,
        endpoint_url=os.environ["AWS_ENDPOINT_URL_LAMBDA"],
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
    )


def planned(client: Client, **settings: Any) -> Plan:
    return client.rewards.plan(build_package(), name="sums", tags={"team": "research"}, **settings)


def test_the_template_has_the_policies_of_the_plan(here: Here, aws_client: Client, tmp_path: Path) -> None:
    plan = planned(aws_client)
    path = tmp_path / "template.json"
    template = json.loads(plan.to_cloudformation(path))
    assert json.loads(path.read_text("utf-8")) == template
    role = template["Resources"]["Role"]["Properties"]
    policies = {title: policy.document() for title, policy in plan.policies}
    assert role["Policies"][0]["PolicyDocument"] == policies["Permissions of the role"]
    assert role["AssumeRolePolicyDocument"] == policies["Trust policy of the role"]
    assert "*" not in [action for one in role["Policies"][0]["PolicyDocument"]["Statement"] for action in one["Action"]]
    assert not [asked for asked in here.gate.asked if not asked.action.split(":")[1].startswith(("Get", "List"))]


def test_a_role_of_the_user_and_a_boundary(here: Here, aws_client: Client) -> None:
    del here
    own = "arn:aws:iam::123456789012:role/own"
    template = json.loads(planned(aws_client, role_arn=own).to_cloudformation())
    assert "Role" not in template["Resources"]
    assert template["Resources"]["Function"]["Properties"]["Role"] == own
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    template = json.loads(planned(aws_client, permissions_boundary=boundary, bucket="zips").to_cloudformation())
    assert template["Resources"]["Role"]["Properties"]["PermissionsBoundary"] == boundary
    assert template["Parameters"]["Bucket"]["Default"] == "zips"


def test_a_plan_of_a_deletion_has_no_template() -> None:
    with pytest.raises(ConfigurationError, match="deletion"):
        Plan("Destroy sums", ()).to_cloudformation()


def test_the_template_has_no_problem_for_the_linter(here: Here, aws_client: Client) -> None:
    lint: Any = pytest.importorskip("cfnlint.api")
    del here
    judged = aws_client.rewards.plan(package(Judge("amazon.nova-lite-v1:0", "Is it right?")), name="judge")
    problems = lint.lint_all(judged.to_cloudformation())
    assert [str(one) for one in problems if not one.rule.id.startswith("I")] == []  # I: for information


def test_the_template_can_be_deployed(here: Here, aws_client: Client) -> None:
    pytest.importorskip("openapi_spec_validator")  # the emulator of CloudFormation needs it
    del here
    plan, content = planned(aws_client), build_package().content
    template = json.loads(plan.to_cloudformation())
    key = template["Parameters"]["Key"]["Default"]
    storage = service("s3")
    storage.create_bucket(Bucket="zips", CreateBucketConfiguration={"LocationConstraint": REGION})
    storage.put_object(Bucket="zips", Key=key, Body=content)
    stacks = service("cloudformation")
    stacks.create_stack(
        StackName="reward",
        TemplateBody=plan.to_cloudformation(),
        Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "zips"}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    stack = stacks.describe_stacks(StackName="reward")["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    found = service("lambda").get_function(FunctionName="sums")
    assert found["Configuration"]["CodeSha256"] == build_package().code_sha256
    assert found["Configuration"]["Timeout"] == 300
    assert [output["OutputKey"] for output in stack["Outputs"]] == ["RewardArn"]  # its value is not emulated
    # The emulator drops the tags of functions that a stack creates, so those of the template are compared.
    tags = {one["Key"]: one["Value"] for one in template["Resources"]["Function"]["Properties"]["Tags"]}
    assert (tags["bedrock-rft:managed"], tags["bedrock-rft:name"], tags["team"]) == ("reward", "sums", "research")
    role = service("iam").get_role(RoleName="sums-us-west-2")["Role"]
    assert (role["Path"], found["Configuration"]["Role"]) == ("/bedrock-rft/", role["Arn"])
