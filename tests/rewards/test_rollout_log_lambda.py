"""Recording in a function that runs under AWS's runtime interface client, with an S3 that fails."""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args
from urllib.parse import unquote

import pytest

from bedrock_rft.rewards import package

if sys.platform != "linux":
    pytest.skip("awslambdaric needs Linux", allow_module_level=True)
pytest.importorskip("awslambdaric", reason="awslambdaric is not installed")

from support.faulty_s3 import Fault, FaultyS3
from support.lambda_runtime import LambdaRuntime, find_interpreter

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
if find_interpreter(RUNTIME) is None:
    pytest.skip("this interpreter has no awslambdaric with botocore", allow_module_level=True)

SOURCE = """
import time
from bedrock_rft.rewards import Handler, RolloutLog, reward

def hide(text):
    if "hang" in text:
        while True:
            time.sleep(0.01)
    if "exit" in text:
        raise SystemExit(text)
    return text.replace("hunter2", "[redacted]")

@reward
def correct(rollout):
    if rollout.answer == "raise":
        raise ValueError(rollout.answer)
    if rollout.answer == "use all time":
        time.sleep(3600)
    return rollout.answer == rollout.reference

EVERYTHING = ("prompt", "answer", "reference", "fields")
lambda_handler = Handler(correct, record=RolloutLog("s3://rollouts/run/1", include=EVERYTHING, redact=hide))
"""
HASH = "Q29kZVNoYTI1Ng=="


class Running(NamedTuple):
    function: LambdaRuntime
    s3: FaultyS3

    def invoke(self, *answers: str, timeout: float = 30.0) -> list[dict[str, Any]]:
        event = [_rollout(str(number), answer) for number, answer in enumerate(answers)]
        response = self.function.invoke(event, timeout=timeout)
        assert response.kind == "response", (response, self.function.log)
        body: list[dict[str, Any]] = response.body
        return body


def _rollout(name: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "My password is hunter2."}, {"role": "assistant", "content": answer}]
    return {"id": name, "messages": messages, "metadata": {"reference_answer": "4", "owner": "hunter2 & co"}}


def _metrics(body: list[dict[str, Any]], name: str) -> list[float]:
    return [metric["value"] for one in body for metric in one["metrics_list"] if metric["name"] == name]


def _scores(body: list[dict[str, Any]]) -> list[float]:
    return [one["aggregate_reward_score"] for one in body]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("function")
    (folder / "math_reward.py").write_text(SOURCE, encoding="utf-8")
    packed = package(f"{folder / 'math_reward.py'}:lambda_handler", runtime=RUNTIME)
    variables = {"AWS_LAMBDA_FUNCTION_VERSION": "7", "BEDROCK_RFT_PACKAGE_HASH": HASH}
    with FaultyS3() as s3:
        variables["AWS_ENDPOINT_URL_S3"] = s3.url
        with LambdaRuntime(packed, folder, RUNTIME, variables=variables) as function:
            yield Running(function, s3)


@pytest.fixture
def running(process: Running) -> Running:
    process.s3.fault = None
    process.s3.objects.clear()
    return process


def test_an_invocation_is_one_object_with_a_record_for_each_rollout(running: Running) -> None:
    body = running.invoke("4", "hunter2", "raise")
    assert (_scores(body), _metrics(body, "rollout_log_error")) == ([1.0, 0.0, 0.0], [0.0] * 3)
    ((path, content),) = running.s3.objects.items()
    day = r"/rollouts/run/1/function=reward/date=\d{4}-\d\d-\d\d/hour=\d\d/"
    assert re.fullmatch(day + r"[0-9a-f-]{36}\.jsonl\.gz", unquote(path))
    assert running.s3.headers["x-amz-expected-bucket-owner"] == "123456789012"
    text = gzip.decompress(content).decode()
    first, second, third = (json.loads(line) for line in text.splitlines())
    assert (first["function"], first["function_version"], first["package_hash"]) == ("reward", "7", HASH)
    assert (first["source"], first["rollout_id"], first["score"]) == ("lambda", "0", 1.0)
    assert (second["prompt"], second["answer"]) == ("My password is [redacted].", "[redacted]")
    assert second["fields"] == {"owner": "[redacted] & co"}
    assert third["error"].startswith("ValueError in math_reward.py")
    assert all(0 <= one["duration"] < 1 for one in (first, second, third))
    for secret in ("hunter2", "ASIATESTTESTTESTTEST", "token"):
        assert secret not in text


@pytest.mark.parametrize("fault", get_args(Fault))
def test_a_failing_s3_changes_no_score_and_delays_little(running: Running, fault: Fault) -> None:
    running.invoke("4")  # creates the client
    running.s3.fault = fault
    began = time.monotonic()
    body = running.invoke("4", "5", timeout=2.0)
    assert time.monotonic() - began < 1.5
    assert (_scores(body), _metrics(body, "rollout_log_error")) == ([1.0, 0.0], [1.0, 1.0])
    running.s3.fault = None
    assert _metrics(running.invoke("4"), "rollout_log_error") == [0.0], "the next invocation is recorded again"
    assert "the rollouts were not recorded: " in running.function.log
    assert "hunter2" not in running.function.log


@pytest.mark.parametrize("answer", ["hang", "exit"])
def test_redact_that_fails_changes_no_score(running: Running, answer: str) -> None:
    body = running.invoke("4", answer, timeout=2.0)
    assert (_scores(body), _metrics(body, "rollout_log_error")) == ([1.0, 0.0], [1.0, 1.0])
    assert not running.s3.objects


def test_scoring_that_uses_all_of_its_time_leaves_time_to_record(running: Running) -> None:
    running.invoke("4")  # creates the client
    running.s3.objects.clear()
    body = running.invoke("4", "use all time", "4", timeout=3.0)
    assert (_scores(body), _metrics(body, "rollout_log_error")) == ([1.0, 0.0, 0.0], [0.0] * 3)
    (content,) = [running.s3.objects[path] for path in running.s3.objects]
    first, second, third = (json.loads(line)["duration"] for line in gzip.decompress(content).splitlines())
    assert (first < 1 < second, third) == (True, None)
