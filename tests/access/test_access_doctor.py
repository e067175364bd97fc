"""Tests of the doctor against emulated AWS services: findings, reasons and remedies."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials
from support.doctor_setup import (
    JUDGES,
    MODEL,
    REWARD,
    VERSION,
    assume_caller,
    codes,
    create_caller,
    create_function,
    find_one,
    needs_profiles,
    run_doctor,
)
from support.fake_secrets import LONG, SECRET, SHORT, find_leaks, find_secrets, short_term
from support.iam_simulator import Iam
from support.moto_server import Aws
from support.scripts import EXAMPLES, run_python

from bedrock_rft import AsyncClient, Client, ConfigurationError
from bedrock_rft._auth.api_key import parse_key as read
from bedrock_rft._cli.app import run as main
from bedrock_rft._core.findings import Finding
from bedrock_rft.access import Report, caller_policy, doctor, execution_policy, mint_api_key
from bedrock_rft.access._doctor import client_checks, function_checks
from bedrock_rft.access._doctor.aws_queries import CallerIdentity, QueryFailure
from bedrock_rft.access._doctor.caller_checks import check_caller, check_permissions
from bedrock_rft.access._doctor.doctor import run_checks
from bedrock_rft.local import LocalService, LocalTransport, Service
from bedrock_rft.types import LambdaArn


@pytest.fixture
def look(doctor_service: LocalService) -> Callable[..., Report]:
    """Return a function that runs the doctor with AWS credentials."""
    return partial(run_doctor, doctor_service)


@needs_profiles
def test_no_findings_with_the_packages_own_policies(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    needed = caller_policy("us-west-2", reward=VERSION)
    report = look(create_caller(aws, needed.json()), reward=VERSION, models=[MODEL], judges=JUDGES)
    assert report.verdict == "ok", str(report)
    assert report.who == "arn:aws:sts::123456789012:assumed-role/scientist/ada"
    allowed = {name for finding in report.findings for name in re.findall(r"[a-z-]+:[A-Z]\w+", finding.summary)}
    assert set(needed.actions) <= allowed
    assert codes(report, "ok") >= {
        "identity", "region", "endpoint", "clock", "models", "who", "may_files", "may_createjobs", "may_jobs",
        "may_inference", "may_invokereward", "reward", "reward_timeout", "reward_memory", "reward_runtime",
        "reward_concurrency", "reward_policy", "role", "role_ownlog", "role_judges", "role_judgeprofiles",
        "role_modelsofprofiles",
    }  # fmt: skip
    assert iam.asked.count("SimulatePrincipalPolicy") == 8, "of the profile, in each of its three regions"
    published = f"{report.redacted()}{report.redacted().to_json()}"
    assert "arn:aws:sts::ACCOUNT-1:assumed-role/NAME-" in published
    assert not re.search(r"123456789012|scientist|\bada\b|my-reward", published)
    assert MODEL in published


def test_the_printed_statements_allow_denied_actions(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    person = create_caller(aws)
    report = look(person, reward=VERSION)
    assert codes(report, "error") == {"may_files", "may_createjobs", "may_jobs", "may_invokereward"}
    assert codes(report, "warning") == {"may_inference"}
    mends = [finding.remedy for finding in (*report.errors, *report.warnings)]
    statements = [json.loads(mend.partition("`")[2].strip("`")) for mend in mends]
    assert not re.search(r"123456789012|scientist|my-reward", f"{report.redacted()}")
    mended = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.client("iam").put_role_policy(RoleName="scientist", PolicyName="mended", PolicyDocument=mended)
    assert look(person, reward=VERSION).verdict == "ok"
    assert "SimulatePrincipalPolicy" in iam.asked


def test_final_denials_offer_no_statement(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    iam.extra = {
        "bedrock-mantle:CreateFile": "<OrganizationsDecisionDetail><AllowedByOrganizations>false"
        "</AllowedByOrganizations></OrganizationsDecisionDetail>",
        "bedrock-mantle:CreateFineTuningJob": "<PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>false"
        "</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>",
    }
    deny = {"Effect": "Deny", "Action": ["lambda:*"], "Resource": ["*"]}
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    report = look(create_caller(aws, json.dumps(policy)), reward=VERSION)
    whys = {finding.reason: finding.remedy for finding in report.errors}
    for why in ("a policy of the organisation", "the permissions boundary", "explicitly denied by a policy"):
        (mend,) = [mend for said, mend in whys.items() if said.startswith(why)]
        assert mend == "No further policy can allow it. Ask the administrator of that policy."


def test_actions_that_depend_on_a_condition_are_unknown_without_its_value(
    aws: Aws, iam: Iam, look: Callable[..., Report]
) -> None:
    create_function(aws)
    policy = caller_policy("us-west-2", reward=VERSION, models=[MODEL]).json()
    person = create_caller(aws, policy)
    report = look(person, reward=VERSION)
    assert find_one(report, "may_createjobs").level == "unknown"
    assert "bedrock-mantle:Model" in find_one(report, "may_createjobs").reason
    # With a model, the condition has a value.
    assert find_one(look(person, reward=VERSION, models=MODEL), "may_createjobs").level == "ok"
    assert find_one(look(person, reward=VERSION, models="qwen.qwen3-32b"), "may_createjobs").level == "error"
    assert "SimulatePrincipalPolicy" in iam.asked


def test_permissions_are_unknown_without_the_simulation(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    iam.refuses = {"SimulatePrincipalPolicy"}
    report = look(create_caller(aws), reward=VERSION, judges=JUDGES)
    assert codes(report, "unknown") == {"permissions", "role_ownlog"}
    assert not report.errors
    found = find_one(report, "permissions")
    assert "CreateFineTuningJob" in found.summary
    assert '"iam:SimulatePrincipalPolicy"' in found.remedy
    assert '"arn:aws:iam::123456789012:role/team/scientist"' in found.remedy, "with the path that STS leaves out"
    iam.refuses = {"GetRole", "ListAttachedRolePolicies"}
    report = look(assume_caller(aws), reward=VERSION)
    assert {"permissions", "role"} <= codes(report, "unknown")


def test_an_unreadable_simulation_is_unknown(aws: Aws, look: Callable[..., Report]) -> None:
    create_function(aws)
    report = look(create_caller(aws), reward=VERSION)
    assert find_one(report, "permissions").reason.startswith("IAM's policy simulation failed: ")
    assert not report.errors


@pytest.mark.parametrize(
    ("settings", "code", "level", "says"),
    [
        ({"Timeout": 3}, "reward_timeout", "error", "timeout=300"),
        ({"Timeout": 20}, "reward_timeout", "warning", "timeout=300"),
        ({"MemorySize": 128}, "reward_memory", "warning", "memory=512"),
        ({"Runtime": "python3.9"}, "reward_runtime", "warning", "runtime='python3.13'"),
        ({"Runtime": "nodejs22.x"}, "reward_runtime", "unknown", ""),
    ],
)
def test_unsuitable_settings_of_the_function_are_found(
    aws: Aws, iam: Iam, look: Callable[..., Report], settings: dict[str, Any], code: str, level: str, says: str
) -> None:
    create_function(aws, settings=settings)
    report = look(create_caller(aws, caller_policy("us-west-2", reward=VERSION).json()), reward=VERSION)
    found = find_one(report, code)
    assert found.level == level
    assert says in found.remedy
    others = {finding.code for finding in report.findings if finding.level != "ok"}
    assert others == {code}
    assert iam.asked


def test_a_throttled_public_or_missing_function_is_found(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    functions = aws.client("lambda")
    person = create_caller(aws, caller_policy("us-west-2", reward=REWARD).json())
    functions.put_function_concurrency(FunctionName="my-reward", ReservedConcurrentExecutions=0)
    functions.add_permission(
        FunctionName="my-reward", StatementId="everybody", Action="lambda:InvokeFunction", Principal="*"
    )
    report = look(person, reward=REWARD)
    assert codes(report, "error") == {"reward_concurrency"}
    assert codes(report, "warning") == {"reward_policy", "reward_version"}
    assert "--statement-id everybody" in find_one(report, "reward_policy").remedy
    functions.put_function_concurrency(FunctionName="my-reward", ReservedConcurrentExecutions=2)
    assert find_one(look(person, reward=REWARD), "reward_concurrency").level == "warning"
    gone = look(person, reward=REWARD.replace("my-reward", "other"))
    assert find_one(gone, "reward").summary == f"There is no function {REWARD.replace('my-reward', 'other')}"
    assert find_one(gone, "reward").level == "error"
    assert iam.asked


def test_a_function_of_another_region_or_account_is_found(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    person = create_caller(aws)
    east = look(person, reward=VERSION.replace("us-west-2", "us-east-1"))
    assert "us-east-1" in find_one(east, "reward_region").summary
    assert find_one(east, "reward_region").level == "error"
    arn = LambdaArn(VERSION)
    none = QueryFailure("ResourceNotFoundException", "")
    assert [each.level for each in function_checks.check_account(arn, "210987654321", none)] == ["error"]
    assert [each.level for each in function_checks.check_account(arn, "210987654321", {"Policy": "{}"})] == ["warning"]
    assert list(function_checks.check_account(arn, "123456789012", none)) == []
    assert iam.asked


@needs_profiles
def test_missing_and_excessive_permissions_of_the_role_are_found(
    aws: Aws, iam: Iam, look: Callable[..., Report]
) -> None:
    create_function(aws, policy=execution_policy("arn:aws:lambda:us-west-2:123456789012:function:other").json())
    admin = aws.client("iam").create_policy(
        PolicyName="AdministratorAccess", PolicyDocument=caller_policy("us-west-2", "123456789012").json()
    )["Policy"]["Arn"]
    aws.client("iam").attach_role_policy(RoleName="reward", PolicyArn=admin)
    report = look(create_caller(aws, caller_policy("us-west-2", reward=VERSION).json()), reward=VERSION, judges=JUDGES)
    assert codes(report, "error") == {"role_judges", "role_judgeprofiles", "role_modelsofprofiles"}
    assert codes(report, "warning") == {"role_ownlog", "role_powers"}
    for code in codes(report, "error"):
        (_, statement, _) = find_one(report, code).remedy.split("`")
        assert json.loads(statement)["Action"] == ["bedrock:InvokeModel"]
    wrong = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
    )
    aws.client("iam").update_assume_role_policy(RoleName="reward", PolicyDocument=wrong)
    report = look(assume_caller(aws), reward=VERSION)
    assert find_one(report, "role").level == "error"
    assert iam.asked


def test_checks_that_need_aws_credentials_are_unknown_with_only_a_key(
    aws: Aws, doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with Client(**doctor_service.client_options("api_key")) as client:
        report = doctor(client, reward=VERSION)
    assert codes(report, "unknown") == {"key", "who", "permissions", "reward"}
    assert not report.errors
    for code in ("permissions", "reward"):
        assert find_one(report, code).reason == "no request to AWS was possible"
    assert find_one(report, "who").reason.startswith("There are no AWS credentials")
    assert "CallWithBearerToken" in find_one(report, "permissions").summary
    assert aws.url


def test_the_permissions_of_a_key_need_the_credentials_that_made_it(
    aws: Aws, iam: Iam, doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = create_caller(aws, caller_policy("us-west-2", "123456789012", api_key="short-term").json())
    key = mint_api_key("us-west-2", credentials=person)
    with Client("us-west-2", api_key=key.reveal(), base_url=doctor_service.base_url) as client:
        stranger = doctor(client)
        assert find_one(stranger, "permissions").level == "unknown"
        assert "may belong to someone else" in find_one(stranger, "permissions").reason
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", person.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", person.secret_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", str(person.token))
        own = doctor(client)
    assert find_one(own, "may_apikey").level == "ok"
    assert find_one(own, "admitted").level == "error", "the rehearsal does not know this key"
    assert iam.asked


def test_a_client_of_the_local_service_sends_nothing_to_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE000000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    with Service() as service, Client(transport=LocalTransport(service)) as client:
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        report = doctor(client, reward=VERSION)
    assert codes(report, "unknown") == {"clock", "who", "permissions", "reward"}
    assert "uses the local service" in find_one(report, "who").reason


@pytest.mark.anyio
async def test_an_async_client_gets_the_same_report(aws: Aws, iam: Iam, doctor_service: LocalService) -> None:
    create_function(aws)
    with Client(**doctor_service.client_options("api_key")) as client:
        report = doctor(client, reward=VERSION)
    async with AsyncClient(**doctor_service.client_options("api_key")) as other:
        same = await doctor(other, reward=VERSION)
    assert set(same.findings) == set(report.findings)
    assert same.facts() == report.facts()
    assert iam.asked


def test_an_endpoint_that_refuses_connections_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with Client("us-west-2", api_key="some-key", base_url=url) as client:
        report = doctor(client)
    found = find_one(report, "endpoint")
    assert found.level == "error"
    assert "refused" in found.reason
    assert found.remedy == "Check base_url, and whether the service or a proxy listens there."


def test_checks_end_in_time_and_never_raise() -> None:
    import threading

    stuck = threading.Event()

    def slow() -> list[Finding]:
        stuck.wait(60)
        return []

    def broken() -> list[Finding]:
        raise RuntimeError(f"no, {LONG}")

    found = run_checks({"slow": slow, "broken": broken, "well": lambda: [Finding("ok", "x", "Well")]}, 0.05)
    stuck.set()
    assert [finding.level for finding in found] == ["unknown", "unknown", "ok"]
    assert str(found[0]) == "The check of the slow did not finish within 0.05 s. Allow more time with seconds=."
    assert find_secrets(str(found[1])) == []
    assert "RuntimeError" in found[1].reason


NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "level", "says"),
    [
        ({"date": "Mon, 04 May 2026 12:00:00 GMT"}, "ok", "agrees"),
        ({"date": "Mon, 04 May 2026 12:10:00 GMT"}, "warning", "600 s behind"),
        ({"date": "Mon, 04 May 2026 11:50:00 GMT"}, "warning", "s ahead"),
        ({"date": "Mon, 04 May 2026 11:50:00 GMT", "age": "600"}, "unknown", "not known"),
        ({"date": "yesterday"}, "unknown", "not known"),
        ({}, "unknown", "not known"),
    ],
)
def test_the_clock_is_compared_with_the_services(headers: dict[str, str], level: str, says: str) -> None:
    found = client_checks.check_clock(headers, NOW, NOW + timedelta(milliseconds=80))
    assert found.level == level
    assert says in found.summary


@pytest.mark.parametrize(
    ("runtime", "today", "level"),
    [
        ("python3.13", date(2026, 1, 1), "ok"),
        ("python3.10", date(2025, 12, 1), "ok"),
        ("python3.10", date(2026, 6, 1), "warning"),
        ("python3.10", date(2027, 1, 1), "warning"),
        ("python3.7", date(2024, 1, 1), "warning"),
        ("python3.19", date(2026, 1, 1), "ok"),
        ("ruby3.3", date(2026, 1, 1), "unknown"),
        ("", date(2026, 1, 1), "unknown"),
    ],
)
def test_runtimes_end_with_their_python_version(runtime: str, today: date, level: str) -> None:
    assert function_checks.check_runtime(LambdaArn(VERSION), {"Runtime": runtime}, today).level == level


def test_the_state_of_the_function_is_reported() -> None:
    arn = LambdaArn(VERSION)
    for said, level in (
        ({"State": "Active", "LastUpdateStatus": "Successful"}, "ok"),
        ({"State": "Pending"}, "warning"),
        ({"State": "Inactive"}, "warning"),
        ({"State": "Active", "LastUpdateStatus": "InProgress"}, "warning"),
        ({"State": "Failed", "StateReason": "no such\x1b[31m image"}, "error"),
        ({"State": "Active", "LastUpdateStatus": "Failed"}, "error"),
    ):
        first = next(function_checks.check_configuration(arn, said, NOW.date()))
        assert (first.code, first.level) == ("reward", level)
        assert "\x1b" not in str(first)
    denied = next(function_checks.check_configuration(arn, QueryFailure("AccessDeniedException", "no"), NOW.date()))
    assert denied.level == "unknown"
    assert '"lambda:GetFunctionConfiguration"' in denied.remedy


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (lambda: LONG, [("warning", "key")]),
        (lambda: "opaque", [("unknown", "key")]),
        (lambda: short_term(stamp=NOW), [("ok", "key")]),
        (lambda: short_term(stamp=NOW - timedelta(hours=11, minutes=30)), [("warning", "key")]),
        (lambda: "bedrock-api-key-abc", [("unknown", "key")]),
    ],
)
def test_the_kind_and_the_expiry_of_a_key_are_checked(key: Callable[[], str], found: list[tuple[str, str]]) -> None:
    said = list(client_checks.check_key(read(key()), NOW))
    assert [(each.level, each.code) for each in said] == found
    assert find_secrets("".join(map(str, said))) == []


def test_an_identity_that_shadows_another_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", LONG)
    monkeypatch.setenv("AWS_PROFILE", "good-role")
    with Client("us-west-2") as client:
        levels = [(each.level, each.code) for each in client_checks.check_identity(client.identity)]
    assert levels == [("ok", "identity"), ("warning", "shadowed")]
    with Client("us-west-2", api_key=LONG) as client:
        assert [each.level for each in client_checks.check_identity(client.identity)] == ["ok", "ok", "ok"]
        assert client_checks.check_region(client._async._session.config).level == "ok"
    with Client("eu-west-1", api_key=LONG) as client:
        assert client_checks.check_region(client._async._session.config).level == "warning"


def test_only_invalid_arguments_raise(doctor_service: LocalService) -> None:
    with pytest.raises(ConfigurationError, match="takes a Client or an AsyncClient, not str"):
        doctor("client")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    with Client(**doctor_service.client_options("api_key")) as client:
        with pytest.raises(ConfigurationError, match="not the ARN of a Lambda function"):
            doctor(client, reward="my-reward")
        with pytest.raises(ConfigurationError, match=r"seconds is nan\. It must be a positive number"):
            doctor(client, seconds=float("nan"))
        with pytest.raises(ConfigurationError, match="neither the id nor the ARN"):
            doctor(client, judges=["no such model"])


def test_no_secret_is_in_a_report(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    person = create_caller(aws)
    report = look(person, reward=VERSION, judges=JUDGES)
    assert find_leaks(report, [person.secret_key, str(person.token)[:30]]) == []
    assert max(len(line) for line in str(report).splitlines() if "arn:" not in line) <= 80
    assert iam.asked


def test_the_command_prints_the_report(
    aws: Aws,
    iam: Iam,
    doctor_service: LocalService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_function(aws, settings={"Timeout": 3})
    for name, value in doctor_service.environment("api_key").items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", "--region", "us-west-2", "--reward", VERSION, "--model", MODEL]) == 3
    said = capsys.readouterr().out
    assert said.startswith("Access to 127.0.0.1: 1 ERROR")
    assert "timeout 300" in " ".join(said.split())
    assert iam.asked


def test_the_example_runs_on_this_machine(aws: Aws, iam: Iam) -> None:
    create_function(aws)
    done = run_python("-W", "error", EXAMPLES / "access_doctor.py", "--local", "--reward", VERSION)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Access to 127.0.0.1: ")
    assert "error:" not in done.stdout
    assert f"reward    {VERSION}" in done.stdout
    assert iam.asked


@pytest.fixture
def silent() -> Iterator[str]:
    """Yield the URL of an endpoint that accepts connections and sends nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


@pytest.mark.anyio
async def test_a_silent_endpoint_ends_with_the_time_limit(silent: str) -> None:
    with Client("us-west-2", api_key="some-key", base_url=silent, timeout=1) as client:
        report = doctor(client, seconds=0.2)
    assert find_one(report, "endpoint").summary == "The check of the endpoint did not finish within 0.2 s"
    async with AsyncClient("us-west-2", api_key="some-key", base_url=silent, timeout=1) as other:
        same = await doctor(other, seconds=0.2)
    assert find_one(same, "endpoint") == find_one(report, "endpoint")


@pytest.mark.anyio
async def test_a_failing_key_provider_is_a_finding(silent: str) -> None:
    def none() -> str:
        raise ConfigurationError("No key today.")

    with Client("us-west-2", api_key=none, base_url=silent, timeout=1) as client:
        report = doctor(client, seconds=5)
    assert find_one(report, "key").reason == "No key today."
    assert find_one(report, "endpoint").reason == "No key today."
    async with AsyncClient("us-west-2", api_key=none, base_url=silent, timeout=1) as other:
        same = await doctor(other, seconds=5)
    assert find_one(same, "key") == find_one(report, "key")


def test_the_permissions_of_a_user_are_checked(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    client = aws.client("iam")
    client.create_user(UserName="bob")
    key = client.create_access_key(UserName="bob")["AccessKey"]
    policy = caller_policy("us-west-2", "123456789012").json()
    client.put_user_policy(UserName="bob", PolicyName="rft", PolicyDocument=policy)
    report = look(Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    assert report.who == "arn:aws:iam::123456789012:user/bob"
    assert report.verdict == "ok", str(report)
    assert report.facts()[-1] == ("reward", "none given; pass reward= to check a reward")
    assert "SimulatePrincipalPolicy" in iam.asked


def test_no_api_key_is_in_a_report(aws: Aws, doctor_service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for key in (LONG, SHORT):
        with Client("us-west-2", api_key=key, base_url=doctor_service.base_url) as client:
            report = doctor(client, reward=SimpleNamespace(arn=VERSION))
        assert report.reward == VERSION
        assert find_one(report, "admitted").level == "error"
        assert find_leaks(report) == []
    assert aws.url


def test_failures_of_sts_are_errors_or_unknown() -> None:
    expired = QueryFailure("ExpiredToken", "The security token included in the request is expired")
    found = check_caller(expired, "profile 'dev'", signs=True, region="us-west-2")
    assert (found.level, found.remedy) == ("error", "Renew the credentials from profile 'dev'.")
    assert check_caller(expired, "profile 'dev'", signs=False, region="us-west-2").level == "unknown", (
        "the key may be good for all that"
    )
    assert check_caller(QueryFailure("AccessDenied", "no"), "x", signs=True, region="us-west-2").level == "unknown"
    assert (
        check_caller(QueryFailure("EndpointConnectionError", "no"), "x", signs=True, region="us-west-2").level
        == "unknown"
    )
    root = CallerIdentity("arn:aws:iam::123456789012:root", "123456789012")
    assert check_caller(root, "x", signs=True, region="us-west-2").level == "warning"

    def nobody(*_: str, **__: object) -> QueryFailure:
        raise AssertionError("the root of an account is not simulated")

    needed = caller_policy("us-west-2", "123456789012")
    assert [each.level for each in check_permissions(nobody, root, needed, {}, resource_policy=False)] == ["unknown"]


def test_a_resource_policy_may_allow_the_invocation(aws: Aws, iam: Iam, look: Callable[..., Report]) -> None:
    create_function(aws)
    document = caller_policy("us-west-2", "123456789012").json()
    person = create_caller(aws, document)
    assert find_one(look(person, reward=REWARD), "may_invokereward").level == "error"
    aws.client("lambda").add_permission(
        FunctionName="my-reward", StatementId="s", Action="lambda:InvokeFunction", Principal="123456789012"
    )
    found = find_one(look(person, reward=REWARD), "may_invokereward")
    assert (found.level, found.reason) == (
        "unknown",
        "no policy of the identity allows it; the function's resource policy may allow it",
    )
    assert iam.asked
