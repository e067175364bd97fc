"""Tests of the doctor: no result without a check, and every remedy removes its finding."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name  # pyright: ignore[reportUnknownVariableType]
from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends
from moto.kms.models import kms_backends
from support.doctor_setup import (
    JUDGES,
    MODEL,
    assume_caller,
    codes,
    create_caller,
    create_function,
    find_one,
    needs_profiles,
    run_doctor,
)
from support.iam_simulator import KNOWS_PROFILES, Iam
from support.moto_server import ACCOUNT, Aws

from bedrock_rft import Client
from bedrock_rft._cli.app import run as main
from bedrock_rft.access import Report, caller_policy, doctor, doctor_policy, execution_policy
from bedrock_rft.access._doctor.aws_queries import Aws as Queries
from bedrock_rft.access._doctor.aws_queries import CallerIdentity, QueryFailure
from bedrock_rft.access._doctor.caller_checks import check_caller
from bedrock_rft.local import LocalService

BARE = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
VERSION = f"{BARE}:1"
OTHER_MODEL = "qwen.qwen3-32b"
PROFILE = "us.amazon.nova-lite-v1:0"
CALLER = caller_policy("us-west-2", reward=VERSION).json()


@pytest.fixture
def look(doctor_service: LocalService, iam: Iam) -> Callable[..., Report]:
    """Return a function that runs the doctor with AWS credentials."""
    assert iam.asked is not None
    return partial(run_doctor, doctor_service, models=[MODEL], judges=JUDGES)


@pytest.fixture
def execute(aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """Return a function that runs the commands in a remedy; botocore runs those of the AWS CLI."""

    def run(remedy: str) -> Any:
        result: Any = None
        for command in re.split(" && |; ", remedy.split("`")[1]):
            words = shlex.split(command)
            if words[0] == "bedrock-rft":
                *words, arrow, name = words
                assert arrow == ">"
                assert main(words[1:]) == 0
                (tmp_path / name).write_text(capsys.readouterr().out)
            else:
                assert words[0] == "aws"
                result = call(words[1], words[2], words[3:])
        return result

    def call(service_name: str, command: str, words: list[str]) -> Any:
        client = aws.client(service_name)
        if command == "wait":
            command, *words = words
            waiter = client.get_waiter(command.replace("-", "_"))
            options = dict(zip(words[::2], words[1::2], strict=True))
            qualifier = {"Qualifier": options["--qualifier"]} if "--qualifier" in options else {}
            return waiter.wait(FunctionName=options["--function-name"], **qualifier)
        operation = command.replace("-", "_")
        shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
        names = {"--" + xform_name(name, "-"): name for name in shape.members}
        if command == "invoke":
            assert words.pop() == "out.json", "the file for the response"
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert options.pop("--region", "us-west-2") == "us-west-2"
        parameters: dict[str, Any] = {}
        for option, value in options.items():
            text = (tmp_path / value.removeprefix("file://")).read_text() if value.startswith("file://") else value
            if option == "--key-id":
                text = text.rpartition("/")[2]  # moto enables a key by its id only
            if shape.members[names[option]].type_name == "structure":
                assert text == "Variables={}"
                parameters[names[option]] = {"Variables": {}}
                continue
            parameters[names[option]] = int(text) if shape.members[names[option]].type_name == "integer" else text
        return getattr(client, operation)(**parameters)

    return run


def allow_everyone(aws: Aws, sid: str, action: str = "lambda:InvokeFunction", **settings: str) -> None:
    aws.client("lambda").add_permission(
        FunctionName="my-reward", StatementId=sid, Action=action, Principal="*", **settings
    )


def reserve_nothing(aws: Aws) -> None:
    aws.client("lambda").put_function_concurrency(FunctionName="my-reward", ReservedConcurrentExecutions=0)


def open_version_twice(aws: Aws) -> None:
    allow_everyone(aws, "first", Qualifier="1")
    allow_everyone(aws, "second", Qualifier="1")


def open_url(aws: Aws) -> None:
    allow_everyone(aws, "url", "lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")


def create_open_url(aws: Aws) -> None:
    aws.client("lambda").create_function_url_config(FunctionName="my-reward", AuthType="NONE")


def trust_another_account(aws: Aws) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("iam").update_assume_role_policy(RoleName="reward", PolicyDocument=document)


def attach_wide_policies(aws: Aws) -> None:
    client = aws.client("iam")
    for name in ("AdministratorAccess", "PowerUserAccess"):
        arn = client.create_policy(PolicyName=name, PolicyDocument=CALLER)["Policy"]["Arn"]
        client.attach_role_policy(RoleName="reward", PolicyArn=arn)


def shorten_timeout(aws: Aws) -> None:
    aws.client("lambda").update_function_configuration(FunctionName="my-reward", Timeout=3)


def give_key(aws: Aws) -> str:
    """Create the function again with a KMS key, and return the key's id."""
    key: str = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    functions = aws.client("lambda")
    functions.delete_function(FunctionName="my-reward")
    aws.client("iam").delete_role_policy(RoleName="reward", PolicyName="p")
    aws.client("iam").delete_role(RoleName="reward")
    create_function(aws, settings={"KMSKeyArn": key})  # moto takes the key at the creation only
    if not functions.get_function_configuration(FunctionName="my-reward").get("KMSKeyArn"):
        pytest.skip("this moto keeps no key of a function")
    return key.rpartition("/")[2]


def disable_key(aws: Aws) -> None:
    aws.client("kms").disable_key(KeyId=give_key(aws))


def delete_key(aws: Aws) -> None:
    aws.client("kms").schedule_key_deletion(KeyId=give_key(aws))


@pytest.mark.parametrize(
    ("spoil", "code", "reward"),
    [
        (reserve_nothing, "reward_concurrency", VERSION),
        (open_version_twice, "reward_policy", VERSION),
        (open_url, "reward_policy", VERSION),
        (open_url, "reward_policy", BARE),
        (create_open_url, "reward_url", VERSION),
        (trust_another_account, "role", VERSION),
        (attach_wide_policies, "role_powers", VERSION),
        (shorten_timeout, "reward_timeout", BARE),
        (disable_key, "reward_key", BARE),
        (delete_key, "reward_key", VERSION),
    ],
)
def test_each_command_runs_as_printed_and_removes_the_finding(
    aws: Aws,
    look: Callable[..., Report],
    execute: Callable[[str], Any],
    spoil: Callable[[Aws], None],
    code: str,
    reward: str,
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    spoil(aws)
    (found,) = [each for each in look(person, reward=reward).findings if each.code == code and each.level != "ok"]
    execute(found.remedy)
    left = [each for each in look(person, reward=reward).findings if each.level != "ok"]
    assert [each.code for each in left] == ["reward_version"] * (reward == BARE)


def test_a_function_without_its_key_gets_the_key_of_aws(
    aws: Aws, look: Callable[..., Report], execute: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    key = give_key(aws)
    update = LambdaFunction.update_configuration

    def update_key(function: LambdaFunction, settings: dict[str, Any]) -> dict[str, Any]:
        function.kms_key_arn = settings.get("KMSKeyArn", function.kms_key_arn)  # which moto leaves out
        return update(function, settings)

    monkeypatch.setattr(LambdaFunction, "update_configuration", update_key)
    del kms_backends[ACCOUNT]["us-west-2"].keys[key]
    found = find_one(look(person, reward=BARE), "reward_key")
    assert found.level == "error"
    execute(found.remedy)
    assert {each.code for each in look(person, reward=BARE).findings if each.level != "ok"} == {"reward_version"}


@pytest.mark.parametrize(("state", "code"), [("Inactive", "invoke"), ("Pending", "wait")])
def test_a_function_becomes_ready_by_the_printed_commands(
    aws: Aws,
    look: Callable[..., Report],
    execute: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    code: str,
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    function = lambda_backends[ACCOUNT]["us-west-2"].get_function("my-reward", "1")

    def wake(*_: Any, **__: Any) -> bytes:
        function.state = "Pending"
        threading.Timer(0.5, setattr, (function, "state", "Active")).start()
        return b"{}"

    monkeypatch.setattr(LambdaBackend, "invoke", wake)
    function.state = state
    found = find_one(look(person, reward=VERSION), "reward")
    assert (found.level, found.summary) == ("warning", f"The function exists and is not ready: {state}")
    assert f"aws lambda {code} " in found.remedy
    if state == "Pending":
        wake()
    execute(found.remedy)
    assert look(person, reward=VERSION).verdict == "ok"


def test_the_command_that_publishes_a_version_removes_the_warning(
    aws: Aws, look: Callable[..., Report], execute: Callable[[str], Any]
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    published = execute(find_one(look(person, reward=BARE), "reward_version").remedy)
    assert look(person, reward=published["FunctionArn"]).verdict == "ok"


def put_policy(aws: Aws, *statements: Any) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.client("iam").put_role_policy(RoleName="scientist", PolicyName="rft", PolicyDocument=document)


def test_each_of_several_models_is_simulated_and_the_remedy_allows_only_these(
    aws: Aws, look: Callable[..., Report]
) -> None:
    create_function(aws)
    allowed = caller_policy("us-west-2", reward=VERSION, models=MODEL)
    person = create_caller(aws, allowed.json())
    found = find_one(look(person, reward=VERSION, models=[MODEL, OTHER_MODEL]), "may_createjobs")
    assert (found.level, found.summary) == (
        "error",
        f"Not allowed: bedrock-mantle:CreateFineTuningJob with {OTHER_MODEL}",
    )
    put_policy(aws, *allowed.document()["Statement"], json.loads(found.remedy.split("`")[1]))
    assert (
        find_one(look(assume_caller(aws), reward=VERSION, models=[MODEL, OTHER_MODEL]), "may_createjobs").level == "ok"
    )
    assert find_one(look(assume_caller(aws), reward=VERSION, models="qwen.other"), "may_createjobs").level == "error"


def only_here(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **statement,
        "Resource": [arn.replace(":bedrock:*:", ":bedrock:us-west-2:") for arn in statement["Resource"]],
    }


@needs_profiles
def test_each_region_of_an_inference_profile_is_simulated(aws: Aws, look: Callable[..., Report]) -> None:
    statements = execution_policy(BARE, judges=JUDGES).document()["Statement"]
    create_function(aws, policy=json.dumps({"Version": "2012-10-17", "Statement": [*map(only_here, statements)]}))
    person = create_caller(aws, CALLER)
    found = find_one(look(person, reward=VERSION), "role_modelsofprofiles")
    assert found.level == "error"
    document = {"Version": "2012-10-17", "Statement": [json.loads(found.remedy.split("`")[1])]}
    aws.client("iam").put_role_policy(RoleName="reward", PolicyName="more", PolicyDocument=json.dumps(document))
    assert look(person, reward=VERSION).verdict == "ok"


@needs_profiles
def test_the_regions_of_a_profile_that_cannot_be_read_are_unknown(
    aws: Aws, iam: Iam, look: Callable[..., Report]
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    iam.refuses = {"GetInferenceProfile"}
    found = find_one(look(person, reward=VERSION), "role_modelsofprofiles")
    assert found.level == "unknown"
    assert json.loads(found.remedy.split("`")[1])["Action"] == ["bedrock:GetInferenceProfile"]
    iam.refuses, iam.profiles = set(), {}
    assert "has no models" in find_one(look(person, reward=VERSION), "role_modelsofprofiles").reason


@contextmanager
def proxy(answer: bytes) -> Generator[str, None, None]:
    """Run a server that answers every request with the same body."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class it overrides
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_empty_answer_of_a_proxy_is_unknown_and_never_ready(
    aws: Aws, look: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_function(aws)
    person = create_caller(aws, CALLER)
    with proxy(b"{}") as url:
        for name in ("LAMBDA", "BEDROCK", "KMS", "EC2"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", url)
        report = look(person, reward=VERSION)
    assert find_one(report, "reward").level == "unknown"
    assert "a proxy may have sent it" in find_one(report, "reward").reason
    with proxy(b'{"FunctionName": "my-reward"}') as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        report = look(person, reward=VERSION)
    assert {"reward", "reward_timeout", "reward_memory", "reward_url", "reward_policy"} <= codes(report, "unknown")


def test_a_doctor_without_permissions_has_no_ok_verdict(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    person = create_caller(aws)
    iam.refuses = {"SimulatePrincipalPolicy", "GetRole", "ListAttachedRolePolicies", "GetInferenceProfile"}
    report = look(person, reward=VERSION)
    assert report.verdict.endswith("checks could not run")
    assert {"permissions", "role", "role_powers", "role_ownlog"} <= codes(report, "unknown")


def test_the_doctors_policy_allows_every_query(
    aws: Aws, look: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_function(aws)
    queries: set[str] = set()
    send = Queries.__call__

    def record(self: Queries, service_name: str, operation: str, /, **parameters: Any) -> Any:
        queries.add(f"{service_name}:{''.join(word.title() for word in operation.split('_'))}")
        return send(self, service_name, operation, **parameters)

    monkeypatch.setattr(Queries, "__call__", record)
    person = create_caller(aws, CALLER)
    look(person, reward=VERSION)
    look(person, reward=BARE)
    allowed = {*doctor_policy("us-west-2", reward=BARE).actions}
    assert queries - {"sts:GetCallerIdentity"} <= allowed, "GetCallerIdentity needs no permission"
    networks = {"ec2:DescribeVpcEndpoints", "ec2:DescribeRouteTables"}
    profiles = set[str]() if KNOWS_PROFILES else {"bedrock:GetInferenceProfile"}
    assert allowed - queries == {*networks, *profiles, "kms:DescribeKey", "bedrock-mantle:ListModels"}


def test_an_expired_signature_names_the_clock() -> None:
    for code in ("SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"):
        found = check_caller(QueryFailure(code, "no"), "profile 'dev'", signs=True, region="us-west-2")
        assert (found.level, "clock (NTP)" in found.remedy) == ("error", True)
    found = check_caller(QueryFailure("ExpiredToken", "no"), "profile 'dev'", signs=True, region="us-west-2")
    assert "clock" not in found.remedy


def test_commands_for_the_root_user_and_for_long_term_keys_run(
    doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = CallerIdentity("arn:aws:iam::123456789012:root", "123456789012")
    commands = [check_caller(root, "x", signs=True, region="us-west-2").remedy.split("`")[1]]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with Client("us-west-2", api_key="ABSKfake9Long8Term7Key", base_url=doctor_service.base_url) as client:
        report = doctor(client, reward=VERSION)
        without = doctor(client)
    commands += [find_one(report, code).remedy.split("`")[1] for code in ("key", "permissions")]
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0
    assert "access.caller_policy('us-west-2', ACCOUNT, api_key=True)" in find_one(without, "key").remedy
    assert "`" not in find_one(without, "permissions").remedy
