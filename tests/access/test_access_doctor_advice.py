"""Tests that carry out the advice of the doctor: permissions for queries, a route from a VPC, and plain text."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from support.deploy_setup import build_package
from support.doctor_setup import (
    JUDGES,
    MODEL,
    REWARD,
    VERSION,
    create_caller,
    create_function,
    find_one,
    needs_profiles,
    run_doctor,
)
from support.fake_secrets import ACCESS_KEY, LONG, SECRET
from support.iam_simulator import Iam
from support.moto_server import Application, Aws, MotoServer, signed_for

from bedrock_rft import Client
from bedrock_rft._auth.config import resolve
from bedrock_rft._core.findings import Finding
from bedrock_rft.access import Report, Statement, api_key_provider, caller_policy, doctor, mint_api_key
from bedrock_rft.access._doctor.client_checks import check_identity, check_region
from bedrock_rft.access._doctor.doctor import run_checks
from bedrock_rft.access._doctor.function_checks import check_arn
from bedrock_rft.local import LocalService
from bedrock_rft.types import LambdaArn

ACTION_BY_PATH = {"configuration": "GetFunctionConfiguration", "concurrency": "GetFunctionConcurrency",
                  "url": "GetFunctionUrlConfig", "policy": "GetPolicy"}  # fmt: skip
ERRORS = {
    "lambda": b'{"message": "not authorized"}',
    "kms": b'{"__type": "AccessDeniedException", "message": "not authorized"}',
    "ec2": b"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors>"
    b"<RequestID>r-1</RequestID></Response>",
}


@dataclass
class Gate:
    """An application in front of moto that refuses some actions, and that names the VPC of functions.

    Attributes:
        refuses: IAM actions that are answered with an error.
        vpc: the id of the VPC in settings of functions, for which moto has a constant.
    """

    refuses: set[str] = field(default_factory=set[str])
    vpc: str = "vpc-123abc"

    def around(self, inner: Application) -> Application:
        def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            service = signed_for(environ)
            if service in ERRORS and f"{service}:{operation_of(environ)}" in self.refuses:
                start("403 Error", [("x-amzn-errortype", "AccessDeniedException")])
                return [ERRORS[service]]

            def begin(status: str, headers: Any, *_: object) -> None:
                start(status, [(name, value) for name, value in headers if name.lower() != "content-length"])

            return [b"".join(inner(environ, begin)).replace(b"vpc-123abc", self.vpc.encode())]

        return application


def operation_of(environ: dict[str, Any]) -> str:
    if "HTTP_X_AMZ_TARGET" in environ:
        return str(environ["HTTP_X_AMZ_TARGET"]).rpartition(".")[2]
    if "/functions/" in environ["PATH_INFO"]:
        return ACTION_BY_PATH.get(environ["PATH_INFO"].rpartition("/")[2], "")
    body: bytes = environ["wsgi.input"].getvalue()
    return body.decode().partition("Action=")[2].partition("&")[0]


@pytest.fixture
def gate(aws: Aws, iam: Iam, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Gate:
    assert iam.refuses == set()
    found = Gate()
    moto_server.application = found.around(moto_server.application)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", aws.url)
    return found


@pytest.fixture
def look(doctor_service: LocalService) -> Callable[..., Report]:
    """Return a function that runs the doctor with AWS credentials."""
    return partial(run_doctor, doctor_service, models=[MODEL], judges=JUDGES)


def create_network(aws: Aws, subnets: int = 2) -> tuple[str, dict[str, Any]]:
    """Create a VPC without a route, and return its id with the settings of a function in it."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    names = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in range(subnets)
    ]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    return vpc, {"VpcConfig": {"SubnetIds": names, "SecurityGroupIds": [group]}}


def statement_of(finding: Finding) -> Statement:
    """Return the statement that a remedy prints, which has to be valid."""
    return Statement.model_validate(json.loads(finding.remedy.split("`")[1]))


QUERIES = {
    "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:SimulatePrincipalPolicy", "bedrock:GetInferenceProfile",
    "lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency", "lambda:GetFunctionUrlConfig",
    "lambda:GetPolicy", "kms:DescribeKey", "ec2:DescribeVpcEndpoints", "ec2:DescribeRouteTables",
}  # fmt: skip


@needs_profiles
def test_each_query_that_is_refused_can_be_allowed_with_the_printed_statement(
    aws: Aws, iam: Iam, gate: Gate, look: Callable[..., Report]
) -> None:
    gate.vpc, network = create_network(aws)
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    create_function(aws, settings={**network, "KMSKeyArn": key})
    if not aws.client("lambda").get_function_configuration(FunctionName="my-reward").get("KMSKeyArn"):
        pytest.skip("this moto keeps no key of a function")
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    allowed = set[str]()

    def examine() -> list[Finding]:
        gate.refuses = QUERIES - allowed
        iam.refuses = {name.partition(":")[2] for name in gate.refuses if name.startswith(("iam:", "bedrock:"))}
        return [each for each in look(person, reward=VERSION).findings if each.level == "unknown"]

    unknown = examine()
    while unknown:
        first = next(each for each in unknown if each.remedy)
        statement = statement_of(first)
        assert statement.resource, "each statement names its resources"
        assert not set(statement.action) <= allowed, f"the remedy for {first} was carried out already"
        allowed |= set(statement.action)
        unknown = examine()
        found = {(each.code, each.summary, each.reason) for each in unknown}
        assert (first.code, first.summary, first.reason) not in found, "the finding is gone"
    assert allowed == QUERIES
    assert {each.code for each in look(person, reward=VERSION).findings if each.level != "ok"} == {"reward_network"}


def test_the_endpoint_that_the_doctor_proposes_gives_the_function_a_route(
    aws: Aws, gate: Gate, look: Callable[..., Report]
) -> None:
    gate.vpc, network = create_network(aws)
    create_function(aws, settings=network)
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    found = find_one(look(person, reward=VERSION), "reward_network")
    assert found.level == "error"
    words = shlex.split(found.remedy.split("`")[1])
    assert words[:3] == ["aws", "ec2", "create-vpc-endpoint"]
    options = {
        name: value.split() for name, value in re.findall(r"--([a-z-]+) ((?:(?!--)\S+ ?)+)", " ".join(words[3:]))
    }
    assert options.pop("region") == ["us-west-2"]
    aws.client("ec2").create_vpc_endpoint(
        VpcId=options["vpc-id"][0],
        VpcEndpointType=options["vpc-endpoint-type"][0],
        ServiceName=options["service-name"][0],
        SubnetIds=options["subnet-ids"],
    )
    assert options["subnet-ids"] == network["VpcConfig"]["SubnetIds"]
    assert look(person, reward=VERSION).verdict == "ok"


def test_a_route_through_a_nat_gateway_serves_too(aws: Aws, gate: Gate, look: Callable[..., Report]) -> None:
    gate.vpc, network = create_network(aws, subnets=1)
    create_function(aws, settings=network)
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    assert "no route through a NAT gateway" in find_one(look(person, reward=VERSION), "reward_network").reason
    ec2 = aws.client("ec2")
    subnet = network["VpcConfig"]["SubnetIds"][0]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=gate.vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    assert look(person, reward=VERSION).verdict == "ok"


@needs_profiles
def test_each_printed_statement_gives_the_role_a_permission_that_it_lacks(
    aws: Aws, gate: Gate, look: Callable[..., Report]
) -> None:
    assert gate.refuses == set()
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:List"], "Resource": ["*"]}]}
    create_function(aws, policy=json.dumps(nothing))
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    allowed: list[Any] = []
    for code in ("role_ownlog", "role_judges", "role_judgeprofiles", "role_modelsofprofiles"):
        found = find_one(look(person, reward=VERSION), code)
        assert found.level == ("warning" if code == "role_ownlog" else "error")
        allowed.append(json.loads(found.remedy.split("`")[1]))
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        aws.client("iam").put_role_policy(RoleName="reward", PolicyName="mended", PolicyDocument=document)
        assert find_one(look(person, reward=VERSION), code).level == "ok"
    assert look(person, reward=VERSION).verdict == "ok"


def test_advice_to_deploy_again_removes_the_finding(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    person = create_caller(aws, caller_policy("us-west-2", reward=VERSION).json())
    package = build_package()
    missing = find_one(look(person, reward=VERSION), "reward")
    assert missing.remedy.startswith("Deploy it, or list the functions:")
    with Client("us-west-2", auth="aws") as client:
        settings: dict[str, Any] = {"name": "my-reward", "check": False, "models": JUDGES, "memory": 128}
        made = client.rewards.deploy(package, timeout=3, **settings)
        invoking = caller_policy("us-west-2", reward=made.arn).json()
        aws.client("iam").put_role_policy(RoleName="scientist", PolicyName="rft", PolicyDocument=invoking)
        for code, argument in (("reward_timeout", "timeout=300"), ("reward_memory", "memory=512")):
            found = find_one(look(person, reward=made.arn), code)
            assert found.level != "ok"
            assert f"client.rewards.deploy(…, name='my-reward', {argument})" in found.remedy
            name, _, value = argument.partition("=")
            settings[name] = int(value)
            made = client.rewards.deploy(package, **settings)
            assert find_one(look(person, reward=made.arn), code).level == "ok"
        aws.client("iam").delete_role_policy(RoleName="my-reward-us-west-2", PolicyName="bedrock-rft")
        aws.client("iam").delete_role(RoleName="my-reward-us-west-2")
        gone = find_one(look(person, reward=made.arn), "role")
        assert (gone.level, gone.remedy) == ("error", "Deploy it again.")
        made = client.rewards.deploy(package, **settings)
        assert look(person, reward=made.arn).verdict == "ok"
    assert iam.asked


def test_advice_on_identities_removes_the_warning(
    doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, url = doctor_service.client_options("api_key")["api_key"], doctor_service.base_url
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def levels(**settings: Any) -> set[str]:
        with Client("us-west-2", base_url=url, **settings) as client:
            return {each.level for each in check_identity(client.identity)}

    with Client("us-west-2", base_url=url) as client:
        (warning,) = [each for each in check_identity(client.identity) if each.level == "warning"]
    advice = "Unset AWS_ACCESS_KEY_ID or AWS_BEARER_TOKEN_BEDROCK, or choose: auth='api_key', auth='aws'."
    assert warning.remedy == advice
    assert levels(auth="api_key") == levels(auth="aws") == {"ok"}
    for name, value in (("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_BEARER_TOKEN_BEDROCK", key)):
        monkeypatch.delenv(name)
        assert levels() == {"ok"}
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("names", "arguments", "found"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_PROFILE"), {}, "Unset AWS_PROFILE or AWS_ACCESS_KEY_ID."),
        (("OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"), {}, "Unset AWS_BEARER_TOKEN_BEDROCK or OPENAI_API_KEY."),
        (
            ("OPENAI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_MANTLE"),
            {"auth": "aws"},
            "Unset AWS_ENDPOINT_URL_BEDROCK_MANTLE or OPENAI_BASE_URL.",
        ),
        (
            ("OPENAI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_MANTLE"),
            {"api_key": LONG},
            "Unset AWS_ENDPOINT_URL_BEDROCK_MANTLE or OPENAI_BASE_URL.",
        ),
        (("OPENAI_BASE_URL",), {"base_url": "http://localhost:2/v1"}, None),
    ],
)
def test_advice_on_settings_that_auth_cannot_choose_names_both(
    names: tuple[str, ...], arguments: dict[str, Any], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_PROFILE": "good-role",
        "OPENAI_API_KEY": LONG,
        "AWS_BEARER_TOKEN_BEDROCK": LONG,
        "OPENAI_BASE_URL": "http://localhost:1/v1",
        "AWS_ENDPOINT_URL_BEDROCK_MANTLE": "http://127.0.0.1:1/v1",
    }
    for name in names:
        monkeypatch.setenv(name, values[name])
    identity = resolve(region="us-west-2", **arguments).identity
    findings = [each for each in check_identity(identity) if each.code == "shadowed"]
    assert [each.remedy for each in findings if each.level == "warning"] == ([found] if found else [])


def test_advice_on_keys_removes_the_finding(
    aws: Aws, iam: Iam, doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = create_caller(aws, caller_policy("us-west-2", "123456789012", api_key="short-term").json())

    def examine(**settings: Any) -> Report:
        with Client("us-west-2", base_url=doctor_service.base_url, **settings) as client:
            return doctor(client)

    ending = find_one(examine(api_key=mint_api_key("us-west-2", credentials=person, expires_in=600).reveal()), "key")
    assert ending.remedy == "Make a new key, or renew keys automatically: Client(api_key=access.api_key_provider())."
    assert find_one(examine(api_key=mint_api_key("us-west-2", credentials=person).reveal()), "key").level == "ok"
    provided = examine(api_key=api_key_provider("us-west-2", credentials=person))
    assert find_one(provided, "key").level == "ok"
    unknown = find_one(provided, "permissions")
    assert unknown.remedy == "Run the doctor with the credentials that the key was made from: Client(auth='aws')."
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", person.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", person.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(person.token))
    assert "permissions" not in {each.code for each in examine(auth="aws").findings}
    assert iam.asked


def test_advice_on_regions_models_and_time_removes_the_finding(doctor_service: LocalService) -> None:
    settings = doctor_service.client_options("api_key")
    west = REWARD.replace("us-west-2", "us-east-1")
    (region, *_) = check_arn(LambdaArn(west), "us-west-2")
    assert region.remedy == "Deploy it in us-west-2, or use region='us-east-1'."
    assert "reward_region" not in {each.code for each in check_arn(LambdaArn(REWARD), "us-west-2")}
    assert "reward_region" not in {each.code for each in check_arn(LambdaArn(west), "us-east-1")}
    elsewhere = check_region(resolve(region="eu-central-1", api_key="a-key"))
    assert (elsewhere.level, elsewhere.remedy) == ("warning", "Use region='us-west-2'.")
    assert check_region(resolve(region="us-west-2", api_key="a-key")).level == "ok"
    with Client(**settings) as client:
        unknown = find_one(doctor(client, models="no-such-model"), "models")
        trainable = unknown.remedy.removeprefix("Known to be trainable here: ").removesuffix(".").split(", ")
        assert {each.level for each in doctor(client, models=trainable).findings if each.code == "models"} == {"ok"}

    def slow() -> list[Finding]:
        time.sleep(0.3)
        return [Finding("ok", "endpoint", "responds")]

    (late,) = run_checks({"endpoint": slow}, 0.01)
    assert (late.level, late.remedy) == ("unknown", "Allow more time with seconds=.")
    assert [each.level for each in run_checks({"endpoint": slow}, 30)] == ["ok"]
