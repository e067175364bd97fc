"""Tests of the doctor on the recording of a deployed reward function."""

from __future__ import annotations

from typing import Any

import pytest
from support.doctor_setup import REWARD, VERSION, create_caller, create_function, find_one, run_doctor
from support.iam_simulator import Iam
from support.moto_server import Aws

from bedrock_rft.access import Report, caller_policy, execution_policy
from bedrock_rft.access._doctor.aws_queries import QueryFailure
from bedrock_rft.access._doctor.function_checks import check_recording
from bedrock_rft.local import LocalService
from bedrock_rft.types import LambdaArn

RECORD = "s3://rollouts/run"
RECORDS = {"Environment": {"Variables": {"BEDROCK_RFT_ROLLOUT_LOG": RECORD}}}


@pytest.fixture
def s3(aws: Aws, iam: Iam, monkeypatch: pytest.MonkeyPatch) -> Any:
    assert iam.asked is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
    return aws.client("s3")


def look(aws: Aws, service: LocalService) -> Report:
    return run_doctor(service, create_caller(aws, caller_policy("us-west-2", reward=VERSION).json()), reward=VERSION)


def test_a_function_that_can_record_is_ok(aws: Aws, s3: Any, doctor_service: LocalService) -> None:
    create_function(aws, settings=RECORDS, policy=execution_policy(REWARD, record=RECORD).json())
    s3.create_bucket(Bucket="rollouts", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    report = look(aws, doctor_service)
    finding = find_one(report, "reward_recording")
    assert (finding.level, finding.summary) == ("ok", f"The function records rollouts in {RECORD}")
    assert find_one(report, "role_rollouts").level == "ok"


def test_a_missing_bucket_and_a_missing_permission_are_found(aws: Aws, s3: Any, doctor_service: LocalService) -> None:
    assert not s3.list_buckets()["Buckets"]
    create_function(aws, settings=RECORDS, policy=execution_policy(REWARD).json())
    report = look(aws, doctor_service)
    finding, role = find_one(report, "reward_recording"), find_one(report, "role_rollouts")
    assert (finding.level, finding.reason) == ("warning", "it does not exist")
    assert (role.level, role.summary) == ("warning", "The function cannot record rollouts")
    assert "arn:aws:s3:::rollouts/run/function=my-reward/*" in role.remedy
    assert report.ok, "scores do not depend on it"


@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        (QueryFailure("403", "Forbidden"), '`{"Effect": "Allow", "Action": ["s3:ListBucket"]'),
        (QueryFailure("ConnectTimeoutError", "no route"), ""),
    ],
)
def test_a_bucket_that_the_caller_may_not_see_stays_unknown(failure: QueryFailure, remedy: str) -> None:
    finding = check_recording(lambda *_, **__: failure, LambdaArn(VERSION), RECORD)
    assert finding.level == "unknown"
    assert remedy in finding.remedy


def test_a_function_without_a_recording_has_no_such_finding(aws: Aws, s3: Any, doctor_service: LocalService) -> None:
    assert s3 is not None
    create_function(aws, policy=execution_policy(REWARD).json())
    found = {finding.code for finding in look(aws, doctor_service).findings}
    assert not found & {"reward_recording", "role_rollouts"}
