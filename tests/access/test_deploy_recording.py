"""Deployments of rewards that record rollouts: the plan, the bucket, the role and the environment."""

from __future__ import annotations

from typing import Any

import pytest
from support.aws_gate import Here
from support.deploy_setup import build_package, list_versions, read_role_policy
from support.moto_server import REGION

from bedrock_rft import Client, ConfigurationError
from bedrock_rft.access import execution_policy
from bedrock_rft.access._deployment.recording import inspect_bucket
from bedrock_rft.rewards import Package, RolloutLog

KEY = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd"
LOCATION = "s3://rollouts/team/run"


def recording(source: str = "def lambda_handler(event, context):\n    return []\n", **settings: Any) -> Package:
    return build_package(source, record=RolloutLog(LOCATION, **settings))


def create_bucket(here: Here, region: str = REGION) -> None:
    here.service("s3", region).create_bucket(
        Bucket="rollouts", CreateBucketConfiguration={"LocationConstraint": region}
    )
    here.gate.clear()


def variables(here: Here, qualifier: str = "$LATEST") -> dict[str, str]:
    found = here.service("lambda").get_function_configuration(FunctionName="sums", Qualifier=qualifier)
    shown: dict[str, str] = found.get("Environment", {}).get("Variables", {})
    return shown


def test_the_plan_says_that_prompts_and_answers_are_stored_and_changes_nothing(here: Here, aws_client: Client) -> None:
    create_bucket(here)
    plan = aws_client.rewards.plan(recording(kms_key=KEY), name="sums")
    text = " ".join(str(plan).split())
    assert "prompt and answer of all rollouts will be stored in s3://rollouts/team/run/function=sums/" in text
    assert f"encrypted with {KEY}" in text
    assert f"the bucket: in {REGION}, of account 123456789012" in text
    rollouts, key = dict(plan.policies)["Permissions of the role"].document()["Statement"][1:]
    assert (rollouts["Action"], rollouts["Resource"]) == (
        ["s3:PutObject"],
        ["arn:aws:s3:::rollouts/team/run/function=sums/*"],
    )
    assert (key["Action"], key["Resource"]) == (["kms:GenerateDataKey"], [KEY])
    assert plan.template is not None
    assert plan.template["Resources"]["Function"]["Properties"]["Environment"]["Variables"] == {
        "BEDROCK_RFT_ROLLOUT_LOG": LOCATION,
        "BEDROCK_RFT_PACKAGE_HASH": recording().code_sha256,
    }
    assert here.gate.writes == []


def test_deploy_gives_the_role_and_the_version_what_recording_needs(here: Here, aws_client: Client) -> None:
    create_bucket(here)
    aws_client.rewards.deploy(recording(), name="sums", check=False)
    assert ["arn:aws:s3:::rollouts/team/run/function=sums/*"] in [one["Resource"] for one in read_role_policy(here)]
    first = recording().code_sha256
    assert variables(here, "1") == {"BEDROCK_RFT_ROLLOUT_LOG": LOCATION, "BEDROCK_RFT_PACKAGE_HASH": first}
    assert not aws_client.rewards.deploy(recording(), name="sums", check=False).changed
    assert list_versions(here) == ["1"]


def test_variables_of_the_user_stay_and_are_not_shown(here: Here, aws_client: Client) -> None:
    create_bucket(here)
    aws_client.rewards.deploy(build_package(), name="sums", check=False)
    here.service("lambda").update_function_configuration(
        FunctionName="sums", Environment={"Variables": {"TOKEN": "hunter2"}}
    )
    changed = recording("def lambda_handler(event, context):\n    return event\n")
    plan = aws_client.rewards.plan(changed, name="sums")
    assert "hunter2" not in f"{plan}{plan.to_json()}"
    assert "environment variables of the recording" in str(plan)
    aws_client.rewards.deploy(changed, name="sums", check=False)
    assert variables(here, "2") == {
        "TOKEN": "hunter2",
        "BEDROCK_RFT_ROLLOUT_LOG": LOCATION,
        "BEDROCK_RFT_PACKAGE_HASH": changed.code_sha256,
    }
    aws_client.rewards.deploy(build_package(), name="sums", check=False)
    assert variables(here, "3") == {"TOKEN": "hunter2"}
    assert [one["Sid"] for one in read_role_policy(here)] == ["OwnLog"]


def test_a_bucket_that_does_not_exist_is_found_before_anything_is_created(here: Here, aws_client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be used: it does not exist\. Nothing was created"):
        aws_client.rewards.deploy(recording(), name="sums", check=False)
    assert here.gate.writes == []


def test_a_bucket_in_another_region_is_found_before_anything_is_created(here: Here, aws_client: Client) -> None:
    create_bucket(here, "eu-west-1")
    with pytest.raises(ConfigurationError, match="its region is eu-west-1, and the function's is us-west-2"):
        aws_client.rewards.deploy(recording(), name="sums", check=False)
    assert here.gate.writes == []


def test_a_bucket_of_another_account_is_found_before_anything_is_created(here: Here, aws_client: Client) -> None:
    create_bucket(here)
    here.gate.refuse("HeadBucket", 403, "AccessDenied", "Access Denied", times=1)  # as S3 answers to another owner
    with pytest.raises(ConfigurationError, match="does not belong to the function's account, 123456789012"):
        aws_client.rewards.deploy(recording(), name="sums", check=False)
    assert here.gate.writes == []


def test_a_bucket_that_the_deployer_may_not_see_stays_unknown(here: Here, aws_client: Client) -> None:
    here.gate.refuse("HeadBucket", 403, "AccessDenied", "Access Denied")
    plan = aws_client.rewards.plan(recording(sample=0.25), name="sums")
    text = " ".join(str(plan).split())
    assert "could not be checked: s3:ListBucket on it is denied, or it belongs to another account" in text
    assert "25.00% of the rollouts" in text


def test_a_folder_is_refused(aws_client: Client) -> None:
    with pytest.raises(ConfigurationError, match="files of a function in Lambda are lost"):
        aws_client.rewards.plan(build_package(record=RolloutLog("folder")), name="sums")


def test_a_package_takes_no_further_recording(aws_client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"Pass it to rewards\.package"):
        aws_client.rewards.plan(build_package(), name="sums", record=LOCATION)


def test_a_role_of_the_user_gets_advice(here: Here, aws_client: Client) -> None:
    create_bucket(here)
    plan = aws_client.rewards.plan(recording(), name="sums", role_arn="arn:aws:iam::123456789012:role/own")
    assert "it needs s3:PutObject on s3://rollouts/team/run/function=sums/*" in " ".join(str(plan).split())


@pytest.mark.parametrize("record", ["folder", "s3://B/x"])
def test_a_policy_needs_a_location_in_s3(record: str) -> None:
    with pytest.raises(ConfigurationError, match="record"):
        execution_policy("arn:aws:lambda:us-west-2:123456789012:function:sums", record=record)


def test_an_unreachable_s3_leaves_the_bucket_unknown() -> None:
    def head_bucket(**_: str) -> str:
        return "no network"

    assert inspect_bucket(head_bucket, "rollouts", "1", REGION) == ("unknown", "no network")
