"""A packaged reward that runs under AWS's runtime interface client, records in moto's S3, and is read again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import rollouts
from bedrock_rft.rewards import Length, Numeric, RolloutLog, package

if sys.platform != "linux":
    pytest.skip("awslambdaric needs Linux", allow_module_level=True)
pytest.importorskip("awslambdaric", reason="awslambdaric is not installed")

from support.lambda_runtime import LambdaRuntime, find_interpreter
from support.moto_server import Aws

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
if find_interpreter(RUNTIME) is None:
    pytest.skip("this interpreter has no awslambdaric with botocore", allow_module_level=True)

BATCHES, SIZE = 6, 63
LOG = RolloutLog("s3://recorded/run-1", include=("prompt", "answer", "reference"), redact=[r"\b[\w.]+@[\w.]+\b"])


@pytest.fixture
def function(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaRuntime]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
    packed = package(0.9 * Numeric() + 0.1 * Length(200), record=LOG, runtime=RUNTIME)
    with LambdaRuntime(packed, tmp_path, RUNTIME, variables={"AWS_ENDPOINT_URL_S3": aws.url}) as running:
        yield running


def rollout(number: int) -> dict[str, Any]:
    answer = f"I ask ada@example.com. The answer is {number if number % 3 else 0}."
    messages = [{"role": "user", "content": f"Add {number} and 0."}, {"role": "assistant", "content": answer}]
    return {"id": f"r-{number}", "messages": messages, "metadata": {"reference_answer": str(number)}}


def recording_errors(response: Any) -> set[float]:
    assert response.kind == "response", response
    metrics = [metric for one in response.body for metric in one["metrics_list"]]
    return {metric["value"] for metric in metrics if metric["name"] == "rollout_log_error"}


def test_batches_of_rollouts_are_recorded_and_read(aws: Aws, function: LambdaRuntime) -> None:
    missing = function.invoke([rollout(0)])
    assert recording_errors(missing) == {1.0}
    assert "the rollouts were not recorded: NoSuchBucket" in function.log
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="recorded", CreateBucketConfiguration={"LocationConstraint": aws.region})
    scores: dict[str, float] = {}
    for batch in range(BATCHES):
        response = function.invoke([rollout(batch * SIZE + place) for place in range(SIZE)])
        assert recording_errors(response) == {0.0}
        scores |= {one["id"]: one["aggregate_reward_score"] for one in response.body}
    found = list(rollouts.read("s3://recorded/run-1", client=s3))
    assert {one.rollout_id: one.score for one in found} == scores
    assert (found[1].prompt, found[1].reference, found[1].source) == ("Add 1 and 0.", "1", "lambda")
    assert {one.answer.partition(". ")[0] for one in found if one.answer} == {"I ask [redacted]"}
    assert all(one.duration is not None and one.duration >= 0 for one in found)
    assert len({one.prompt_hash for one in found}) == BATCHES * SIZE
    day = f"run-1/function=reward/date={found[0].time[:10]}/hour={found[0].time[11:13]}/"
    assert {entry["Key"].startswith(day) for entry in s3.list_objects_v2(Bucket="recorded")["Contents"]} == {True}
