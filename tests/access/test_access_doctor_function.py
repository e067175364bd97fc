"""Tests of the doctor on the reward function: qualifier, trust policy, URL, KMS key, VPC, and remedies."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from typing import Any

import pytest
from support.doctor_setup import MODEL, assume_caller, codes, create_caller, create_function, find_one, run_doctor
from support.iam_simulator import Iam
from support.moto_server import Aws

from bedrock_rft import Client
from bedrock_rft._cli.app import run as main
from bedrock_rft._core.findings import Finding
from bedrock_rft.access import Report, caller_policy, doctor, documented_invoke_policy, trust_policy
from bedrock_rft.access._doctor.aws_queries import QueryFailure
from bedrock_rft.access._doctor.function_checks import (
    check_configuration,
    check_function_url,
    check_kms_key,
    check_network,
    check_resource_policy,
)
from bedrock_rft.access._doctor.role_checks import check_role_account, evaluate_trust
from bedrock_rft.local import LocalService
from bedrock_rft.types import LambdaArn

BARE = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
VERSION = f"{BARE}:1"
JOBS = caller_policy("us-west-2", "123456789012").document()["Statement"]


@pytest.fixture
def look(doctor_service: LocalService, iam: Iam) -> Callable[..., Report]:
    """Return a function that runs the doctor with AWS credentials."""
    assert iam.asked is not None
    return partial(run_doctor, doctor_service, models=[MODEL])


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*JOBS, *statements]})


def invoke(*resources: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": ["lambda:InvokeFunction"], "Resource": list(resources)}


DOCUMENTED = documented_invoke_policy("my-reward").document()["Statement"][0]


@pytest.mark.parametrize(
    ("statements", "reward", "level", "says"),
    [
        ((DOCUMENTED,), VERSION, "error", "job invokes :1"),
        ((DOCUMENTED,), BARE, "ok", ""),
        ((invoke(BARE),), VERSION, "error", "job invokes :1"),
        ((invoke(VERSION),), VERSION, "ok", ""),
        ((invoke(VERSION),), BARE, "error", "allow versions only"),
        ((invoke(f"{BARE}:*"),), VERSION, "ok", ""),
        ((invoke(f"{BARE}:2"),), VERSION, "error", "no policy of the identity allows it"),
        ((invoke("*"), invoke(f"{BARE}:*", effect="Deny")), VERSION, "error", "explicitly denied"),
        ((invoke("*"), invoke(f"{BARE}:*", effect="Deny")), BARE, "ok", ""),
        ((), VERSION, "error", "no policy of the identity allows it"),
    ],
)
def test_the_arn_of_the_job_is_simulated(
    aws: Aws, look: Callable[..., Report], statements: tuple[Mapping[str, Any], ...], reward: str, level: str, says: str
) -> None:
    create_function(aws)
    person = create_caller(aws, policy(*statements))
    finding = find_one(look(person, reward=reward), "may_invokereward")
    assert finding.level == level
    assert says in finding.reason
    if level == "ok":
        return
    if "denied" in says:
        assert finding.remedy.startswith("No further policy can allow it")
    else:
        (_, statement, rest) = finding.remedy.split("`")
        mended = policy(*statements, json.loads(statement))
        aws.client("iam").put_role_policy(RoleName="scientist", PolicyName="rft", PolicyDocument=mended)
        assert find_one(look(assume_caller(aws), reward=reward), "may_invokereward").level == "ok", (
            "the first remedy works"
        )
        assert (BARE in rest) == ("job invokes" in says), "the second remedy is the unqualified ARN"
        aws.client("iam").put_role_policy(RoleName="scientist", PolicyName="rft", PolicyDocument=policy(*statements))
    if "job invokes" in says or "denied" in says:
        assert BARE in finding.remedy
        assert find_one(look(assume_caller(aws), reward=BARE), "may_invokereward").level == "ok", (
            "and so does the second"
        )


UNKNOWN = {"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1"}}}


def trust(*statements: Mapping[str, Any]) -> dict[str, Any]:
    lambda_may = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [{**lambda_may, **statement} for statement in statements]}


@pytest.mark.parametrize(
    ("document", "verdict", "says"),
    [
        (trust({}), "allowed", ""),
        (trust_policy("123456789012").document(), "allowed", ""),
        (trust_policy(reward=VERSION).document(), "allowed", ""),
        ({"Statement": trust({})["Statement"][0]}, "allowed", ""),
        (trust({"Principal": "*"}), "allowed", ""),
        (trust({"Principal": {"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}}), "allowed", ""),
        (trust({"Action": ["sts:TagSession", "sts:AssumeRole"]}), "allowed", ""),
        (trust({"Action": "sts:*"}), "allowed", ""),
        (trust({"Action": "STS:assumerole"}), "allowed", ""),
        (trust({"Action": "sts:TagSession"}), "denied", "no statement names lambda.amazonaws.com"),
        (trust({"NotAction": "sts:AssumeRole", "Action": None}), "denied", "no statement"),
        (trust({"Principal": {"Service": "edgelambda.amazonaws.com"}}), "denied", "no statement"),
        (
            trust({"Principal": {"AWS": "arn:aws:iam::123456789012:role/lambda.amazonaws.com"}}),
            "denied",
            "no statement",
        ),
        (trust({"Principal": {"AWS": "*"}}), "denied", "no statement"),
        (trust({}, {"Effect": "Deny"}), "denied", "denies it explicitly"),
        (trust({}, {"Effect": "Deny", "Principal": "*", "Action": "*"}), "denied", "denies it explicitly"),
        (
            trust({}, {"Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceAccount": "1"}}}),
            "denied",
            "denies",
        ),
        (trust({}, {"Effect": "Deny", "Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}), "allowed", ""),
        (trust({"Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}}}), "denied", "aws:SourceAccount"),
        (trust({"Condition": {"StringEquals": {"AWS:sourceaccount": ["1", "123456789012"]}}}), "allowed", ""),
        (trust({"Condition": {"ArnLike": {"aws:SourceArn": f"{BARE}-other"}}}), "denied", "aws:SourceArn"),
        (trust({"Condition": {"ArnLike": {"aws:SourceArn": f"{BARE}*"}}}), "allowed", ""),
        (trust({"Condition": {"ArnEquals": {"aws:SourceArn": [BARE, f"{BARE}:1"]}}}), "allowed", ""),
        (trust({"Condition": {"ArnEquals": {"aws:SourceArn": f"{BARE}:*"}}}), "unknown", "versions"),
        (trust({"Condition": {"StringLike": {"aws:SourceArn": "arn:aws:lambda:us-west-2:*"}}}), "allowed", ""),
        (trust({"Condition": {"ArnNotLike": {"aws:SourceArn": f"{BARE}*"}}}), "denied", "aws:SourceArn"),
        (trust({"Condition": {"Bool": {"aws:SecureTransport": True}}}), "allowed", ""),
        (trust({"Condition": {"Null": {"aws:SourceArn": "true"}}}), "denied", "aws:SourceArn"),
        (trust({"Condition": {"StringEquals": {"aws:SourceOrgID": "o-1"}}}), "unknown", "aws:SourceOrgID"),
        (trust({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}), "unknown", "IpAddress"),
        (trust({"Condition": {"StringEqualsIfExists": {"aws:SourceAccount": "1"}}}), "denied", "aws:SourceAccount"),
        (trust({"Condition": {"DateLessThan": {"aws:SourceAccount": "1"}}}), "unknown", "DateLessThan"),
        (trust(UNKNOWN, {}), "allowed", ""),
        (trust({}, UNKNOWN), "allowed", ""),
        (trust(UNKNOWN, {"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}), "unknown", "aws:SourceOrgID"),
        (trust(UNKNOWN, {"Effect": "Deny"}), "denied", "denies it explicitly"),
        (trust({}, {"Effect": "Deny", **UNKNOWN}), "unknown", "aws:SourceOrgID"),
        (trust({"Action": "sts:TagSession"}, {"Effect": "Deny", **UNKNOWN}), "denied", "no statement"),
        ({"Statement": ["x", *trust({})["Statement"]]}, "unknown", "cannot be read"),
        ({"Statement": ["x", *trust({"Effect": "Deny"})["Statement"]]}, "denied", "denies it explicitly"),
        (None, "denied", "no trust policy"),
        ({"Statement": ["x"]}, "unknown", "cannot be read"),
    ],
)
def test_trust_policies_are_evaluated(document: Any, verdict: str, says: str) -> None:
    decision = evaluate_trust(document, LambdaArn(VERSION))
    assert decision.verdict == verdict
    assert says in decision.reason


def test_the_remedy_for_a_trust_policy_works(
    aws: Aws, look: Callable[..., Report], capsys: pytest.CaptureFixture[str]
) -> None:
    create_function(aws)
    client = aws.client("iam")
    wrong = trust({"Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}}})
    client.update_assume_role_policy(RoleName="reward", PolicyDocument=json.dumps(wrong))
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    finding = find_one(look(person, reward=VERSION), "role")
    assert finding.level == "error"
    assert "requires 210987654321" in finding.reason
    (_, command, _) = finding.remedy.split("`")
    printing, _, putting = command.partition(" > trust.json && ")
    assert main(shlex.split(printing)[1:]) == 0
    role = shlex.split(putting)[shlex.split(putting).index("--role-name") + 1]
    client.update_assume_role_policy(RoleName=role, PolicyDocument=capsys.readouterr().out)
    assert find_one(look(person, reward=VERSION), "role").level == "ok"


@pytest.mark.parametrize(
    ("settings", "code", "parameters"),
    [
        ({"Timeout": 3}, "reward_timeout", {"Timeout": 300}),
        ({"MemorySize": 128}, "reward_memory", {"MemorySize": 512}),
        ({"Runtime": "python3.9"}, "reward_runtime", {"Runtime": "python3.13"}),
    ],
)
def test_settings_change_by_command_and_those_of_versions_by_deploying_again(
    aws: Aws, look: Callable[..., Report], settings: dict[str, Any], code: str, parameters: dict[str, Any]
) -> None:
    create_function(aws, settings=settings)
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    published = find_one(look(person, reward=VERSION), code)
    assert "aws lambda" not in published.remedy, "no command changes a published version"
    assert "client.rewards.deploy" in published.remedy
    changeable = find_one(look(person, reward=BARE), code)
    (name, value) = next(iter(parameters.items()))
    option = {"Timeout": "--timeout", "MemorySize": "--memory-size", "Runtime": "--runtime"}[name]
    assert f"{option} {value}`" in changeable.remedy
    functions = aws.client("lambda")
    functions.update_function_configuration(FunctionName="my-reward", **parameters)
    assert find_one(look(person, reward=BARE), code).level == "ok"
    assert find_one(look(person, reward=VERSION), code).level != "ok", "the version stays as it is"
    newer = functions.publish_version(FunctionName="my-reward")["FunctionArn"]
    assert find_one(look(person, reward=newer), code).level == "ok"


def test_a_command_names_the_qualifier_if_the_setting_has_one() -> None:
    response = {"Policy": json.dumps({"Statement": [{"Sid": "all", "Effect": "Allow", "Principal": "*"}]})}
    assert check_resource_policy(LambdaArn(VERSION), response).remedy.endswith("--statement-id all --qualifier 1`")
    assert check_resource_policy(LambdaArn(BARE), response).remedy.endswith("--statement-id all`")
    assert check_resource_policy(LambdaArn(f"{BARE}:$LATEST"), response).remedy.endswith("--statement-id all`")


def test_a_function_url_without_authentication_is_found(aws: Aws, look: Callable[..., Report]) -> None:
    create_function(aws)
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    assert "reward_url" not in {finding.code for finding in look(person, reward=VERSION).findings}
    functions = aws.client("lambda")
    functions.create_function_url_config(FunctionName="my-reward", AuthType="NONE")
    report = look(person, reward=VERSION)
    assert codes(report, "warning") == {"reward_url"}
    command = re.split("`", find_one(report, "reward_url").remedy)[1]
    assert command.endswith("--function-name my-reward --region us-west-2 --auth-type AWS_IAM")
    functions.update_function_url_config(FunctionName="my-reward", AuthType="AWS_IAM")
    assert look(person, reward=VERSION).verdict == "ok"


def answering(answers: Mapping[str, Any]) -> Any:
    def query(_: str, operation: str, /, **parameters: Any) -> Any:
        return answers[operation](**parameters) if callable(answers[operation]) else answers[operation]

    return query


DENIED = QueryFailure("AccessDeniedException", "not allowed")
MISSING = QueryFailure("ResourceNotFoundException", "none")


def levels(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


def test_the_url_of_an_alias_is_found_and_a_denied_query_is_unknown() -> None:
    def url(*, FunctionName: str, Qualifier: str | None = None) -> Any:  # noqa: N803 - botocore's names
        assert FunctionName == BARE
        return {"AuthType": "NONE"} if Qualifier == "live" else MISSING

    alias = list(check_function_url(answering({"get_function_url_config": url}), LambdaArn(f"{BARE}:live")))
    assert levels(iter(alias)) == [("warning", "reward_url")]
    assert "--qualifier live --auth-type AWS_IAM" in alias[0].remedy
    (denied,) = check_function_url(answering({"get_function_url_config": DENIED}), LambdaArn(VERSION))
    assert denied.level == "unknown"
    assert '"lambda:GetFunctionUrlConfig"' in denied.remedy


@pytest.mark.parametrize(
    ("response", "level", "says"),
    [
        ({"KeyMetadata": {"KeyState": "Enabled"}}, "ok", ""),
        ({"KeyMetadata": {"KeyState": "Disabled"}}, "error", "aws kms enable-key"),
        ({"KeyMetadata": {"KeyState": "PendingDeletion"}}, "error", "cancel-key-deletion"),
        (QueryFailure("NotFoundException", "none"), "error", "--kms-key-arn ''"),
        (DENIED, "unknown", "kms:DescribeKey"),
    ],
)
def test_a_disabled_kms_key_is_found(response: Any, level: str, says: str) -> None:
    query = answering({"describe_key": response})
    key = {"KMSKeyArn": "arn:aws:kms:us-west-2:123456789012:key/k"}
    (finding,) = check_kms_key(query, LambdaArn(BARE), key)
    assert finding.level == level
    assert says in finding.remedy
    (published,) = check_kms_key(query, LambdaArn(VERSION), key)
    assert ("publish a version" in published.remedy) == (says == "--kms-key-arn ''")
    assert list(check_kms_key(query, LambdaArn(BARE), {})) == []


NAT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"}
GATEWAY = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
IN_VPC = {"VpcConfig": {"VpcId": "vpc-1", "SubnetIds": ["a", "b"]}}


def tables(main: Any, own: Any = None) -> dict[str, Any]:
    found = [{"Associations": [{"Main": True}], "Routes": [main]}]
    if own is not None:
        found.append({"Associations": [{"SubnetId": "b"}], "Routes": [own]})
    return {"RouteTables": found}


@pytest.mark.parametrize(
    ("endpoints", "routes", "level"),
    [
        ({"VpcEndpoints": [{"State": "available"}]}, DENIED, "ok"),
        ({"VpcEndpoints": [{"State": "pending"}]}, tables(GATEWAY), "error"),
        ({"VpcEndpoints": []}, tables(NAT), "ok"),
        ({"VpcEndpoints": []}, tables(GATEWAY), "error"),
        ({"VpcEndpoints": []}, tables(NAT, GATEWAY), "error"),
        ({"VpcEndpoints": []}, tables({**NAT, "State": "blackhole"}), "error"),
        ({"VpcEndpoints": []}, {"RouteTables": []}, "error"),
        (DENIED, tables(NAT), "unknown"),
        ({"VpcEndpoints": []}, DENIED, "unknown"),
    ],
)
def test_a_vpc_without_a_route_to_the_judges_is_found(endpoints: Any, routes: Any, level: str) -> None:
    query = answering({"describe_vpc_endpoints": endpoints, "describe_route_tables": routes})
    (finding,) = check_network(query, LambdaArn(VERSION), IN_VPC, ["amazon.nova-lite-v1:0"])
    assert (finding.code, finding.level) == ("reward_network", level)
    assert ("com.amazonaws.us-west-2.bedrock-runtime" in finding.remedy) == (level == "error")
    assert ("ec2:DescribeRouteTables" in finding.remedy) == (level == "unknown")


def test_a_vpc_is_checked_only_for_judges() -> None:
    query = answering({})
    assert levels(check_network(query, LambdaArn(VERSION), IN_VPC, [])) == [("ok", "reward_network")]
    assert list(check_network(query, LambdaArn(VERSION), {"VpcConfig": {"SubnetIds": []}}, ["m"])) == []


def test_the_remedy_for_a_vpc_works(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", aws.url)
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    network = {"VpcConfig": {"VpcId": vpc, "SubnetIds": [subnet]}}
    query = answering(
        {
            "describe_vpc_endpoints": ec2.describe_vpc_endpoints,
            "describe_route_tables": ec2.describe_route_tables,
        }
    )
    (finding,) = check_network(query, LambdaArn(VERSION), network, ["m"])
    assert finding.level == "error"
    assert subnet in finding.summary
    command = shlex.split(finding.remedy.split("`")[1])
    options = dict(zip(command[3::2], command[4::2], strict=True))
    ec2.create_vpc_endpoint(
        VpcId=options["--vpc-id"],
        ServiceName=options["--service-name"],
        VpcEndpointType=options["--vpc-endpoint-type"],
        SubnetIds=[options["--subnet-ids"]],
    )
    (finding,) = check_network(query, LambdaArn(VERSION), network, ["m"])
    assert finding.level == "ok"


@pytest.mark.parametrize(
    ("role", "account", "expected"),
    [
        ("arn:aws:iam::123456789012:role/reward", "123456789012", None),
        ("arn:aws:iam::123456789012:role/reward", "210987654321", ("unknown", "role")),
        ("", "123456789012", ("unknown", "role")),
    ],
)
def test_a_role_of_another_account_is_found(role: str, account: str, expected: tuple[str, str] | None) -> None:
    finding = check_role_account(role, LambdaArn(VERSION), account)
    assert (None if finding is None else (finding.level, finding.code)) == expected


@pytest.mark.parametrize(
    "configuration",
    [{"PackageType": "Image"}, {"Runtime": "nodejs22.x"}, {"Runtime": "provided.al2023"}, {"Runtime": "java21"}],
)
def test_an_image_or_another_runtime_is_unknown(configuration: dict[str, Any]) -> None:
    settings = {"State": "Active", "Timeout": 60, "MemorySize": 512, **configuration}
    findings = list(check_configuration(LambdaArn(VERSION), settings, date(2026, 1, 1)))
    assert [finding.code for finding in findings if finding.level != "ok"] == ["reward_runtime"]
    assert findings[-1].level == "unknown"


def test_an_api_key_gets_all_checks_that_need_no_credentials(
    doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    elsewhere = VERSION.replace("us-west-2", "us-east-1").removesuffix(":1")
    with Client(**doctor_service.client_options("api_key")) as client:
        report = doctor(client, reward=elsewhere, models=[MODEL, "no-such-model"], judges=["us.amazon.nova-lite-v1:0"])
    assert codes(report, "error") == {"reward_region", "models"}
    assert codes(report, "warning") == {"reward_version"}
    assert codes(report, "ok") >= {"identity", "region", "endpoint", "clock"}
    assert codes(report, "unknown") == {"key", "who", "permissions", "reward"}
    command = find_one(report, "permissions").remedy.split("`")[1]
    assert main(shlex.split(command)[1:]) == 0
