"""Packages run under AWS's own runtime interface client, in an environment that has nothing else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft.rewards import Judge, Length, Numeric, Package, package
from bedrock_rft.rewards._packaging.package import RUNTIMES

if sys.platform != "linux":
    pytest.skip("awslambdaric needs Linux", allow_module_level=True)
pytest.importorskip("awslambdaric", reason="awslambdaric is not installed")

from support.lambda_runtime import LambdaRuntime, find_interpreter

SOURCE = """
import asyncio, os, sys, time
from bedrock_rft.rewards import Handler, reward

@reward
async def slept(rollout):
    await asyncio.sleep(60 if rollout.answer == "wait" else 0.3)
    return 1.0

@reward
def behaves(rollout):
    if rollout.answer == "raise":
        raise ValueError(rollout.answer * 3)
    if rollout.answer == "sys.exit":
        sys.exit(3)
    if rollout.answer == "os._exit":
        os._exit(3)
    if rollout.answer == "hang":
        time.sleep(60)
    return 1.0

async_handler = Handler(slept, floor=-1.0)
lambda_handler = Handler(behaves, floor=-1.0)

def raises(event, context):
    raise KeyError("reference_answer")
"""


@pytest.fixture(scope="module", params=sorted(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if find_interpreter(name) is None:
        pytest.skip(f"{name} with awslambdaric and botocore is not installed")
    return name


@pytest.fixture(scope="module")
def graders(runtime: str) -> Package:
    judge = Judge("openai.gpt-oss-120b-1:0", "Is it right?", attempts=1, seconds=2)
    right = Numeric()
    return package(0.8 * right + 0.1 * Length(10_000_000) + 0.1 * judge.gate(right, lazy=True), runtime=runtime)


@pytest.fixture(scope="module")
def behaviours(runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Package:
    file = tmp_path_factory.mktemp("source") / "lambda_function.py"
    file.write_text(SOURCE, encoding="utf-8")
    return package(f"{file}:lambda_handler", runtime=runtime)


@pytest.fixture(scope="module")
def process(graders: Package, runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LambdaRuntime]:
    with LambdaRuntime(graders, tmp_path_factory.mktemp("graders"), runtime) as running:
        yield running


def rollout(name: str, answer: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}],
        **fields,
    }


def scores(body: list[dict[str, Any]]) -> dict[str, float]:
    return {item["id"]: round(item["aggregate_reward_score"], 6) for item in body}


def errors(body: list[dict[str, Any]]) -> list[float]:
    return [metric["value"] for item in body for metric in item["metrics_list"] if metric["name"] == "reward_error"]


def test_every_payload_shape_is_scored(process: LambdaRuntime) -> None:
    event = [
        rollout("nested", "41", metadata={"reference_answer": "42"}),
        rollout("nested, wrapped", "41", metadata={"reference_answer": {"text": "42"}}),
        rollout("top", "41", reference_answer=42),
        rollout("top, wrapped", "41", reference_answer={"text": "#### 42"}),
    ]
    response = process.invoke(event)
    assert response.kind == "response", process.log
    assert scores(response.body) == {item["id"]: 0.1 for item in event}
    assert errors(response.body) == [0.0] * 4
    single = process.invoke(event[0])
    assert scores(single.body) == {"nested": 0.1}


def test_an_unreachable_judge_gives_the_floor(process: LambdaRuntime) -> None:
    response = process.invoke([rollout("right", "42", reference_answer=42)])
    assert (response.kind, scores(response.body), errors(response.body)) == ("response", {"right": 0.0}, [1.0])
    assert "first error: JudgeError: openai.gpt-oss-120b-1:0: " in process.log


def test_an_event_of_six_megabytes_is_scored(process: LambdaRuntime) -> None:
    event = [rollout(str(number), "word " * 72_000 + "41", reference_answer=42) for number in range(16)]
    assert 5_500_000 < len(json.dumps(event)) < 6 * 1024 * 1024
    response = process.invoke(event)
    assert (response.kind, set(scores(response.body).values())) == ("response", {0.1})


def test_lone_surrogates_in_an_answer_do_not_matter(process: LambdaRuntime) -> None:
    response = process.invoke([rollout("\u00e9\u4e2d\U0001f600", "\ud800 41 \udfff 41", reference_answer="42")])
    assert (response.kind, scores(response.body)) == ("response", {"\u00e9\u4e2d\U0001f600": 0.1})


def test_an_id_that_utf_8_cannot_encode_costs_one_rollout(process: LambdaRuntime) -> None:
    response = process.invoke([rollout("bad \ud800", "41"), rollout("good", "41", reference_answer=42)])
    assert response.kind == "response", process.log
    assert scores(response.body) == {"bad ?": 0.0, "good": 0.1}


def test_bad_entries_and_bad_events(process: LambdaRuntime) -> None:
    good = rollout("good", "41", reference_answer=42)
    response = process.invoke([good, {"id": "bad", "messages": None}, 7])
    assert scores(response.body) == {"good": 0.1, "bad": 0.0, "": 0.0}
    assert errors(response.body) == [0.0, 1.0, 1.0]
    refused = process.invoke({"rollouts": [good]})
    assert (refused.kind, refused.body["errorType"]) == ("error", "ValueError")
    assert "the event must be a list of rollouts" in refused.body["errorMessage"]
    assert scores(process.invoke([good]).body) == {"good": 0.1}


def test_a_cold_start_is_quick(graders: Package, runtime: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with LambdaRuntime(graders, tmp_path, runtime) as cold:
        response = cold.invoke([rollout("one", "41", reference_answer=42)])
        assert response.kind == "response", cold.log
    assert time.monotonic() - began < 10  # Lambda allows ten seconds


def test_a_raise_or_an_exit_costs_one_rollout(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime) as running:
        response = running.invoke([rollout(name, name) for name in ("fine", "raise", "sys.exit")])
        assert scores(response.body) == {"fine": 1.0, "raise": -1.0, "sys.exit": -1.0}
        assert errors(response.body) == [0.0, 1.0, 1.0]
        assert "raiseraise" not in running.log  # the text of an exception may quote the answer
        hung = running.invoke([rollout("hang", "hang")], timeout=1.0)
        assert hung == ("exited", "timeout")


def test_ending_the_process_ends_the_invocation(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime) as running:
        assert running.invoke([rollout("one", "os._exit")]) == ("exited", 3)


def test_async_rewards_run_at_once_and_end_before_the_deadline(
    behaviours: Package, runtime: str, tmp_path: Path
) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, handler="lambda_function.async_handler") as running:
        began = time.monotonic()
        response = running.invoke([rollout(str(number), "") for number in range(16)])
        assert set(scores(response.body).values()) == {1.0}
        assert time.monotonic() - began < 16 * 0.3
        late = running.invoke([rollout("one", ""), rollout("two", "wait")], timeout=3.0)
        assert (late.kind, scores(late.body)) == ("response", {"one": 1.0, "two": -1.0})


def test_a_function_that_raises_reports_its_exception(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, handler="lambda_function.raises") as running:
        response = running.invoke([])
        assert (response.kind, response.body["errorType"]) == ("error", "KeyError")
        assert "lambda_function.py" in response.body["stackTrace"][-1]


def test_a_missing_handler_is_an_error_of_the_start(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, handler="lambda_function.missing") as running:
        response = running.wait(20)
        assert (response.kind, response.body["errorType"]) == ("init_error", "Runtime.HandlerNotFound")
