"""Tests of failed deployments: interruptions, eventual consistency, conflicts, denials, throttling, lost links."""

from __future__ import annotations

import json
import logging
import pickle
import socket
from collections.abc import Callable
from typing import Any

import botocore.endpoint
import pytest
from support.aws_gate import Asked, Clock, Here, Rule
from support.deploy_setup import (
    ANYBODY,
    ARN,
    DATA,
    ROLE,
    SOURCE,
    build_package,
    list_versions,
    read_role_policy,
    read_settings,
)
from support.fake_secrets import find_leaks, find_secrets
from support.moto_server import ACCOUNT, REGION

from bedrock_rft import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    Client,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    RateLimitError,
)
from bedrock_rft.access._deployment import account as _retry
from bedrock_rft.access._deployment import deploy as _deploy
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.function import newest_version

Forward = Callable[[], tuple[str, Any, bytes]]
STOPPED = ("400 Error", [("content-type", "text/html")], b"<html>a proxy's page</html>")


@pytest.fixture
def client(aws_client: Client) -> Client:
    return aws_client


def cut_off_at(here: Here, number: int, *, carried_out: bool) -> None:
    """End the program at its n-th write, before it receives the response."""
    seen: list[Asked] = []

    def answer(asked: Asked, forward: Forward) -> tuple[str, Any, bytes]:
        seen.extend([asked] if asked.writes else [])
        if not asked.writes or len(seen) != number:
            return forward()
        if carried_out:
            forward()
        return STOPPED

    here.gate.rules.append(Rule("*", answer))


# Interruptions


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_interrupted_deployment_is_completed_by_a_rerun(
    here: Here, client: Client, number: int, *, carried_out: bool
) -> None:
    cut_off_at(here, number, carried_out=carried_out)
    with pytest.raises(APIError):
        client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    reward = client.rewards.deploy(build_package(), name="sums")
    whole = ["CreateRole", "PutRolePolicy", "CreateFunction", "PublishVersion"]
    assert here.gate.writes == whole[number if carried_out else number - 1 :]
    assert (reward.arn, list_versions(here)) == (f"{ARN}:1", ["1"])
    assert read_settings(here, "1")["Role"] == ROLE
    assert [one["Sid"] for one in read_role_policy(here)] == ["OwnLog"]
    assert not client.rewards.deploy(build_package(), name="sums").changed


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupted_update_is_completed_by_a_rerun(
    here: Here, client: Client, number: int, *, carried_out: bool
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    changed = build_package(SOURCE + "# changed\n")
    cut_off_at(here, number, carried_out=carried_out)
    with pytest.raises(APIError):
        client.rewards.deploy(changed, name="sums", timeout=60)
    here.gate.clear()
    reward = client.rewards.deploy(changed, name="sums", timeout=60)
    whole = ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"]
    assert here.gate.writes == whole[number if carried_out else number - 1 :]
    assert (reward.version, list_versions(here)) == ("2", ["1", "2"])
    assert read_settings(here, "2")["Timeout"] == 60
    assert read_settings(here, "2")["CodeSha256"] == changed.code_sha256


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupted_deletion_is_completed_by_a_rerun(
    here: Here, client: Client, number: int, *, carried_out: bool
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    cut_off_at(here, number, carried_out=carried_out)
    with pytest.raises(APIError):
        client.rewards.destroy("sums", force=True)
    here.gate.clear()
    client.rewards.destroy("sums", force=True)
    assert (
        here.gate.writes
        == ["DeleteFunction", "DeleteRolePolicy", "DeleteRole"][number if carried_out else number - 1 :]
    )
    assert here.service("lambda").list_functions()["Functions"] == []
    assert here.service("iam").list_roles()["Roles"] == []


# Eventual consistency

EARLY = "The role defined for the function cannot be assumed by Lambda."


def clock() -> Clock:
    found = vars(_retry)["time"]
    assert isinstance(found, Clock)
    return found


def test_a_role_that_lambda_does_not_know_yet_is_retried(here: Here, client: Client) -> None:
    here.gate.refuse("CreateFunction", 400, "InvalidParameterValueException", EARLY, times=5)
    assert client.rewards.deploy(build_package(), name="sums").version == "1"
    assert here.gate.writes.count("CreateFunction") == 6
    assert 5 < clock().now < _retry.MAX_SECONDS


def test_retries_for_a_new_role_end(here: Here, client: Client) -> None:
    here.gate.refuse("CreateFunction", 400, "InvalidParameterValueException", EARLY)
    with pytest.raises(APIStatusError, match="cannot be assumed by Lambda") as caught:
        client.rewards.deploy(build_package(), name="sums")
    assert caught.value.code == "InvalidParameterValueException"
    assert clock().now <= _retry.MAX_SECONDS
    assert 10 < here.gate.writes.count("CreateFunction") < 100


def trust_of_role(here: Here) -> dict[str, Any]:
    role = here.service("iam").get_role(RoleName=f"sums-{REGION}")["Role"]
    condition: dict[str, Any] = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    return condition


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_a_role_that_lambda_cannot_assume_gets_a_trust_policy_without_the_source_arn(
    here: Here, client: Client, operation: str
) -> None:
    settings: dict[str, Any] = {}
    if operation == "UpdateFunctionConfiguration":
        client.rewards.deploy(build_package(), name="sums")
        settings = {"timeout": 60}
    here.gate.clear()

    def answer(_: Asked, forward: Forward) -> tuple[str, Any, bytes]:
        if "ArnLike" not in trust_of_role(here):
            return forward()
        body = json.dumps({"Type": "User", "message": EARLY}).encode()
        headers = [("x-amzn-errortype", "InvalidParameterValueException"), ("content-type", "application/json")]
        return "400 Error", headers, body

    here.gate.rules.append(Rule(operation, answer))
    plan = client.rewards.plan(build_package(), name="sums", **settings)
    assert "iam:UpdateAssumeRolePolicy" in plan.needs or operation == "UpdateFunctionConfiguration"
    reward = client.rewards.deploy(build_package(), name="sums", **settings)
    assert trust_of_role(here) == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert "without aws:SourceArn, because Lambda could not assume the role with it" in " ".join(
        str(reward.plan).split()
    )
    assert here.gate.writes.count("UpdateAssumeRolePolicy") == 1
    again = client.rewards.deploy(build_package(), name="sums", **settings)
    assert not again.changed
    assert "its trust policy has no aws:SourceArn" in str(again.plan)


def test_a_role_of_the_user_that_lambda_cannot_assume_is_explained_after_seconds(here: Here, client: Client) -> None:
    role = here.service("iam").create_role(RoleName="own", AssumeRolePolicyDocument=json.dumps(ANYBODY))
    here.gate.refuse("CreateFunction", 400, "InvalidParameterValueException", EARLY)
    with pytest.raises(APIStatusError, match=r"must let lambda\.amazonaws\.com assume it\. 'bedrock-rft") as caught:
        client.rewards.deploy(build_package(), name="sums", role_arn=role["Role"]["Arn"])
    assert f"policy trust --reward {ARN}' prints such a policy" in str(caught.value)
    assert clock().now <= 10


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"])
def test_a_function_that_is_deleted_meanwhile_is_created_again(here: Here, client: Client, operation: str) -> None:
    client.rewards.deploy(build_package(), name="sums")

    def answer(_: Asked, forward: Forward) -> tuple[str, Any, bytes]:
        here.service("lambda").delete_function(FunctionName="sums")
        return forward()

    here.gate.rules.append(Rule(operation, answer, times=1))
    changed = build_package(SOURCE + "# changed\n")
    reward = client.rewards.deploy(changed, name="sums", timeout=60)
    assert read_settings(here, reward.version)["CodeSha256"] == changed.code_sha256
    assert not client.rewards.deploy(changed, name="sums", timeout=60).changed


def test_another_invalid_value_is_not_tried_again(here: Here, client: Client) -> None:
    here.gate.refuse("CreateFunction", 400, "InvalidParameterValueException", "The runtime parameter is not supported.")
    with pytest.raises(APIStatusError, match="runtime parameter"):
        client.rewards.deploy(build_package(), name="sums")
    assert here.gate.writes.count("CreateFunction") == 1


def test_deploy_polls_until_the_function_is_ready(here: Here, client: Client) -> None:
    here.gate.change("GetFunctionConfiguration", times=2, State="Pending", StateReason="The function is being created.")
    assert client.rewards.deploy(build_package(), name="sums").version == "1"
    here.gate.clear()
    here.gate.change("GetFunctionConfiguration", times=3, LastUpdateStatus="InProgress")
    assert client.rewards.deploy(build_package(), name="sums", timeout=9).version == "2"
    operations = [asked.operation for asked in here.gate.asked]
    assert operations.index("UpdateFunctionConfiguration") > operations.index("GetFunctionConfiguration") + 2


def test_a_function_that_does_not_become_ready_is_an_error(here: Here, client: Client) -> None:
    here.gate.change("GetFunctionConfiguration", State="Pending")
    with pytest.raises(
        APIError, match=r"not ready after 180 s\. Run it again; finished steps are not repeated"
    ) as caught:
        client.rewards.deploy(build_package(), name="sums")
    assert not isinstance(caught.value, APIStatusError), "AWS refused nothing"
    assert "PublishVersion" not in here.gate.writes


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"State": "Failed", "StateReason": "The role is gone.\x1b[2J"},
            r"failed: The role is gone\.\\x1b\[2J\. Correct",
        ),
        ({"LastUpdateStatus": "Failed", "LastUpdateStatusReasonCode": "InvalidRuntime"}, "failed: InvalidRuntime"),
        ({"LastUpdateStatus": "Failed"}, "failed: Lambda gave no reason"),
    ],
)
def test_a_function_that_failed_is_not_published(here: Here, client: Client, fields: Any, says: str) -> None:
    here.gate.change("GetFunctionConfiguration", **fields)
    with pytest.raises(APIError, match=says):
        client.rewards.deploy(build_package(), name="sums")
    assert "PublishVersion" not in here.gate.writes


def test_the_check_starts_after_new_permissions_are_effective(here: Here, client: Client) -> None:
    slept: Clock = vars(_deploy)["time"]
    client.rewards.deploy(build_package(), name="sums", dataset=DATA)
    assert slept.now == 0
    client.rewards.deploy(build_package(models=("amazon.nova-lite-v1:0",)), name="sums", dataset=DATA)
    assert slept.now == 10
    client.rewards.deploy(build_package(models=("amazon.nova-lite-v1:0",)), name="sums", dataset=DATA)
    assert slept.now == 10
    assert here.gate.writes.count("PutRolePolicy") == 2


NOT_FOUND = (404, "ResourceNotFoundException", "Function not found")
NO_ROLE = (404, "NoSuchEntity", "The role cannot be found.")
CHANGING = (409, "ConcurrentModification", "Multiple requests to change this object were submitted simultaneously.")
UPDATING = (409, "ResourceConflictException", "An update is in progress")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("PutRolePolicy", NO_ROLE),
        ("PutRolePolicy", CHANGING),
        ("PublishVersion", NOT_FOUND),
        ("GetFunctionConfiguration", NOT_FOUND),
        ("CreateFunction", (400, "InvalidParameterValueException", EARLY)),
        ("CreateFunction", (404, "ResourceNotFoundException", "The role cannot be found")),
    ],
)
def test_a_first_deployment_retries_what_aws_does_not_know_yet(
    here: Here, client: Client, operation: str, error: tuple[int, str, str]
) -> None:
    here.gate.refuse(operation, *error, times=3)
    assert client.rewards.deploy(build_package(), name="sums").version == "1"
    assert list_versions(here) == ["1"]


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        (
            ["ListTags", "ListVersionsByFunction", "TagResource", "UpdateFunctionCode", "UpdateFunctionConfiguration"],
            NOT_FOUND,
        ),
        (["ListRolePolicies", "ListAttachedRolePolicies", "UpdateAssumeRolePolicy", "TagRole"], NO_ROLE),
        (["UpdateAssumeRolePolicy", "TagRole"], CHANGING),
        (["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"], UPDATING),
        (["UpdateFunctionConfiguration"], (400, "InvalidParameterValueException", EARLY)),
    ],
)
def test_an_update_retries_what_aws_does_not_know_yet(
    here: Here, client: Client, operations: list[str], error: tuple[int, str, str]
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.service("iam").update_assume_role_policy(RoleName=f"sums-{REGION}", PolicyDocument=json.dumps(ANYBODY))
    here.gate.clear()
    for operation in operations:
        here.gate.refuse(operation, *error, times=3)
    refusals = list(here.gate.rules)
    if "ListTags" in operations:
        here.gate.change("GetFunction", Tags=None)
    tags = {"team": "research"}
    assert (
        client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums", timeout=9, tags=tags).version == "2"
    )
    assert [rule.operation for rule in refusals if rule.times] == []
    here.gate.clear()
    assert not client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums", timeout=9, tags=tags).changed


def test_a_role_that_get_role_does_not_know_yet_is_used(here: Here, client: Client) -> None:
    cut_off_at(here, 1, carried_out=True)
    with pytest.raises(APIError):
        client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    here.gate.refuse("GetRole", *NO_ROLE, times=4)
    assert client.rewards.deploy(build_package(), name="sums").version == "1"
    assert here.gate.writes.count("CreateRole") == 4


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("DeleteFunction", UPDATING),
        ("DeleteRolePolicy", CHANGING),
        ("DeleteRole", CHANGING),
        ("DeleteRole", (409, "DeleteConflict", "Cannot delete entity, must delete policies first.")),
    ],
)
def test_a_deletion_is_retried_during_other_changes(
    here: Here, client: Client, operation: str, error: tuple[int, str, str]
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.gate.refuse(operation, *error, times=3)
    assert client.rewards.destroy("sums", force=True).verdict == "3 deleted"
    assert here.service("iam").list_roles()["Roles"] == []


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("GetFunction", "Configuration"),
        ("GetFunctionConfiguration", "FunctionName"),
        ("PublishVersion", "Version"),
    ],
)
def test_a_response_without_an_expected_field_is_an_error_that_names_it(
    here: Here, client: Client, operation: str, field: str
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    without: dict[str, Any] = {field: None}
    here.gate.change(operation, **without)
    with pytest.raises(APIResponseError, match=rf"lambda {operation}: the response has no field '{field}'"):
        client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums")


@pytest.mark.parametrize(
    ("operation", "status", "code", "message", "advice"),
    [
        ("CreateRole", 409, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000", "'Roles per account'"),
        ("PutRolePolicy", 409, "LimitExceeded", "Maximum policy size of 10240 bytes exceeded", "Use fewer models"),
        ("CreateRole", 409, "LimitExceeded", "Cannot exceed quota", "An IAM quota is used up"),
        ("CreateFunction", 400, "CodeStorageExceededException", "Code storage limit", "75 GB by default"),
        ("CreateFunction", 400, "InvalidParameterValueException", "'MemorySize' value failed", "Choose less memory="),
        ("CreateFunction", 400, "InvalidParameterValueException", "Unzipped size must be smaller", "is 250 MB"),
        ("CreateFunction", 413, "RequestEntityTooLargeException", "Request must be smaller", "is 50 MB"),
    ],
)
def test_a_quota_error_names_the_quota_and_the_remedy(
    here: Here, client: Client, operation: str, status: int, code: str, message: str, advice: str
) -> None:
    here.gate.refuse(operation, status, code, message)
    with pytest.raises(APIStatusError, match="quota") as caught:
        client.rewards.deploy(build_package(), name="sums")
    assert advice in str(caught.value)
    assert here.gate.writes.count(operation) == 1


# Conflicts


def after_another(here: Here, operation: str, code: str, message: str) -> None:
    """Let another program do the same shortly before."""
    first: list[bool] = []

    def answer(_: Asked, forward: Forward) -> tuple[str, Any, bytes]:
        if first:
            return forward()
        first.append(True)
        forward()
        return "409 Error", [("x-amzn-errortype", code), ("content-type", "application/json")], message.encode()

    here.gate.rules.append(Rule(operation, answer))


@pytest.mark.parametrize(
    ("operation", "code", "message"),
    [
        ("CreateRole", "EntityAlreadyExists", "<E><Error><Code>EntityAlreadyExists</Code></Error></E>"),
        ("CreateFunction", "ResourceConflictException", '{"message": "Function already exist: sums"}'),
        (
            "PublishVersion",
            "ResourceConflictException",
            '{"message": "An update is in progress"}',
        ),
        ("PublishVersion", "InvalidParameterValueException", '{"message": "CodeSHA256 (a) is different from (b)"}'),
        ("PublishVersion", "PreconditionFailedException", '{"message": "The RevisionId provided does not match"}'),
    ],
)
def test_two_equal_deployments_at_once_both_succeed(
    here: Here, client: Client, operation: str, code: str, message: str
) -> None:
    after_another(here, operation, code, message)
    reward = client.rewards.deploy(build_package(), name="sums")
    assert (reward.arn, list_versions(here)) == (f"{ARN}:1", ["1"])
    assert not client.rewards.deploy(build_package(), name="sums").changed


def test_two_different_deployments_at_once_each_get_their_version(here: Here, client: Client) -> None:
    other = build_package(SOURCE + "# the other's\n")

    def answer(_: Asked, forward: Forward) -> tuple[str, Any, bytes]:
        here.service("lambda").update_function_code(FunctionName="sums", ZipFile=other.content)
        return forward()

    here.gate.rules.append(Rule("PublishVersion", answer, times=1))
    reward = client.rewards.deploy(build_package(), name="sums")
    assert read_settings(here, "1")["CodeSha256"] == other.code_sha256
    assert (reward.version, read_settings(here, "2")["CodeSha256"]) == ("2", build_package().code_sha256)


def test_an_update_in_progress_is_retried(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    busy = "The operation cannot be performed at this time. An update is in progress for resource"
    for operation in ("UpdateFunctionCode", "UpdateFunctionConfiguration"):
        here.gate.refuse(operation, 409, "ResourceConflictException", busy, times=3)
    assert client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums", timeout=9).version == "2"


def test_an_update_that_never_ends_is_an_error(here: Here, client: Client) -> None:
    here.gate.refuse("PublishVersion", 409, "ResourceConflictException", "The function is being updated.")
    with pytest.raises(ConflictError, match="being updated"):
        client.rewards.deploy(build_package(), name="sums")
    assert here.gate.writes.count("PublishVersion") == 8


def test_the_published_code_is_the_code_that_was_sent(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    assert b'"CodeSha256": "%b"' % build_package().code_sha256.encode() in next(
        asked.body for asked in here.gate.asked if asked.operation == "PublishVersion"
    )


def test_lists_are_read_to_their_end(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    here.gate.change("ListVersionsByFunction", times=1, NextMarker="more", Versions=[])
    assert not client.rewards.deploy(build_package(), name="sums").changed
    listed = [asked.query for asked in here.gate.asked if asked.operation == "ListVersionsByFunction"]
    assert listed == ["", "Marker=more"]


# Denials


def denied(action: str, resource: str, why: str = "no identity-based policy allows the {0} action") -> str:
    return (
        f"User: arn:aws:iam::{ACCOUNT}:user/moto is not authorized to perform: {action} on resource: {resource} "
        f"because {why.format(action)}"
    )


@pytest.mark.parametrize(
    ("operation", "action", "resource"),
    [
        ("GetFunction", "lambda:GetFunction", ARN),
        ("GetRole", "iam:GetRole", f"role sums-{REGION}"),
        ("CreateRole", "iam:CreateRole", ROLE),
        ("CreateRole", "iam:TagRole", ROLE),
        ("PutRolePolicy", "iam:PutRolePolicy", f"role sums-{REGION}"),
        ("CreateFunction", "lambda:CreateFunction", ARN),
        ("CreateFunction", "iam:PassRole", ROLE),
        ("GetFunctionConfiguration", "lambda:GetFunctionConfiguration", ARN),
        ("PublishVersion", "lambda:PublishVersion", ARN),
    ],
)
def test_a_denial_names_the_action_and_the_policy_that_allows_it(
    here: Here, client: Client, operation: str, action: str, resource: str
) -> None:
    code = "AccessDeniedException" if action.startswith("lambda") else "AccessDenied"
    here.gate.refuse(operation, 403, code, denied(action, resource))
    with pytest.raises(PermissionDeniedError) as caught:
        client.rewards.deploy(build_package(), name="sums")
    error = caught.value
    assert (error.action, error.status, error.code) == (action, 403, code)
    assert error.request_id == "11111111-2222-3333-4444-555555555555"
    said = str(error)
    assert f"Allow {action} on " in said
    assert "the identity from credentials=." in said
    assert f"'bedrock-rft policy deployer --reward {ARN} --role {ROLE}' prints a policy" in said
    assert "\n" not in said
    assert pickle.loads(pickle.dumps(error)).action == action  # noqa: S301 - ours


def test_the_command_that_a_denial_names_prints_that_policy(capsys: pytest.CaptureFixture[str]) -> None:
    from bedrock_rft._cli.app import run as main

    assert main(["policy", "deployer", "--reward", ARN, "--role", ROLE]) == 0
    assert '"iam:PutRolePolicy"' in capsys.readouterr().out


def test_a_denial_without_a_deployment_names_no_policy_of_the_deployer(here: Here, client: Client) -> None:
    here.gate.refuse("GetFunction", 403, "AccessDeniedException", "no")
    account = Account(client._async._session.config)
    with pytest.raises(PermissionDeniedError, match=r"Allow lambda:GetFunction to the identity from .*\.$") as caught:
        newest_version(account, "sums")
    assert "bedrock-rft policy" not in str(caught.value)


def test_an_explicit_deny_names_no_policy(here: Here, client: Client) -> None:
    why = "with an explicit deny in a service control policy"
    here.gate.refuse("CreateRole", 403, "AccessDenied", denied("iam:CreateRole", ROLE, why))
    with pytest.raises(PermissionDeniedError, match=r"A policy denies iam:CreateRole .* no other policy can allow it"):
        client.rewards.deploy(build_package(), name="sums")


def test_tags_that_cannot_be_read_are_a_denial(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.gate.change("GetFunction", Tags=None)
    here.gate.refuse("ListTags", 403, "AccessDeniedException", denied("lambda:ListTags", ARN))
    with pytest.raises(PermissionDeniedError, match="Allow lambda:ListTags"):
        client.rewards.deploy(build_package(), name="sums")


@pytest.mark.parametrize(("status", "code"), [(403, "ExpiredToken"), (403, "InvalidClientTokenId")])
def test_invalid_credentials_are_an_authentication_error(here: Here, client: Client, status: int, code: str) -> None:
    here.gate.refuse("GetCallerIdentity", status, code, "The security token included in the request is expired")
    with pytest.raises(AuthenticationError, match=r"sts GetCallerIdentity: \w+: .*credentials=\. Renew them"):
        client.rewards.deploy(build_package(), name="sums")


# Throttling and lost connections


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses of botocore take no time."""
    monkeypatch.setattr(botocore.endpoint, "time", Clock())


@pytest.mark.usefixtures("at_once")
def test_throttling_is_retried(here: Here, client: Client) -> None:
    here.gate.refuse("CreateFunction", 429, "TooManyRequestsException", "Rate exceeded", times=2)
    here.gate.refuse("CreateRole", 400, "Throttling", "Rate exceeded", times=2)
    assert client.rewards.deploy(build_package(), name="sums").version == "1"
    assert here.gate.writes == [*["CreateRole"] * 3, "PutRolePolicy", *["CreateFunction"] * 3, "PublishVersion"]


@pytest.mark.usefixtures("at_once")
def test_lasting_throttling_is_a_rate_limit_error(here: Here, client: Client) -> None:
    here.gate.refuse("CreateRole", 400, "Throttling", "Rate exceeded")
    with pytest.raises(RateLimitError, match="Run it again; finished steps are not repeated"):
        client.rewards.deploy(build_package(), name="sums")
    assert here.gate.writes.count("CreateRole") == 5


@pytest.mark.usefixtures("at_once")
def test_a_refused_connection_is_a_connection_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so connections are refused
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(APIConnectionError, match=r"lambda GetFunction: .*AWS_ENDPOINT_URL_LAMBDA") as caught:
            client.rewards.deploy(build_package(), name="sums")
    assert find_leaks(caught.value) == []


PARTS = ("fake9Echoed8Token7",)
ECHO = f"bad token: IQoJ{PARTS[0]}aaaaaaaaaaaaaaaa"


@pytest.mark.usefixtures("at_once")
def test_no_error_and_no_log_shows_a_secret(here: Here, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for operation in ("GetFunction", "CreateRole", "CreateFunction", "PublishVersion"):
            here.gate.clear()
            here.gate.refuse(operation, 403, "AccessDeniedException", ECHO)
            with pytest.raises(APIError) as caught:
                client.rewards.deploy(build_package(), name="sums")
            shown = find_leaks(caught.value, PARTS)  # separate, because an assertion keeps its operands in the frame
            assert shown == []
        here.gate.clear()
        client.rewards.deploy(build_package(), name="sums", dataset=DATA)
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}
    assert find_secrets(logged, PARTS) == []


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("page", [b"<html>log in <br> here</html>", b"\x00\xff", b'{"message": "no XML"}'])
def test_a_response_of_a_proxy_is_a_response_error(here: Here, client: Client, page: bytes) -> None:
    def answer(_: Asked, __: Forward) -> tuple[str, Any, bytes]:
        return "200 OK", [("content-type", "text/html")], page

    here.gate.rules.append(Rule("GetRole", answer))
    with pytest.raises(APIError, match=r"iam GetRole") as caught:
        client.rewards.deploy(build_package(), name="sums")
    assert isinstance(caught.value, APIResponseError)
    assert here.gate.writes == []


def test_a_parameter_that_botocore_refuses_is_a_configuration_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tags(*_: object) -> dict[str, int]:
        return {"x": 7}

    monkeypatch.setattr(_deploy, "check_tags", tags)
    with pytest.raises(ConfigurationError, match="iam CreateRole was not sent"):
        client.rewards.deploy(build_package(), name="sums")
