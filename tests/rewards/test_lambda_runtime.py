"""Packages run under AWS's own runtime interface client, in an environment that has nothing else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft.rewards import Handler, Judge, Length, Numeric, Package, PassesTests, package
from bedrock_rft.rewards._packaging.package import RUNTIMES

if sys.platform != "linux":
    pytest.skip("awslambdaric needs Linux", allow_module_level=True)
pytest.importorskip("awslambdaric", reason="awslambdaric is not installed")

from support.lambda_runtime import LambdaRuntime, find_interpreter

SOURCE = r"""
import asyncio, os, re, sys, threading, time
from bedrock_rft.rewards import Handler, Score, reward

EXITS = {error.__name__: error for error in (
    ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, BaseException)}

def hang(how):
    if how == "pattern":
        re.fullmatch("(a|aa)+", "a" * 200 + "b")
    if how == "stubborn":
        while True:
            try:
                time.sleep(3600)
            except Exception:
                pass
    while how == "loop":
        pass
    if how == "lock":
        threading.Event().wait()
    if how == "sleep":
        time.sleep(3600)

@reward
async def slept(rollout):
    if rollout.answer in EXITS:
        await asyncio.ensure_future(leave(rollout))
    if rollout.answer == "to_thread":
        await asyncio.to_thread(hang, "sleep")
    hang(rollout.answer)
    await asyncio.sleep(3600 if rollout.answer == "wait" else 0.3)
    return 1.0

async def leave(rollout):
    raise EXITS[rollout.answer](rollout.answer * 3)

@reward
def behaves(rollout):
    if rollout.answer in EXITS:
        raise EXITS[rollout.answer](rollout.answer * 3)
    if rollout.answer == "os._exit":
        os._exit(3)
    if rollout.answer == "metrics":
        return Score(1.0, {"\ud800": 1.0}, {f"{number} \u00e9 \ud800 {'x' * 2000}": 0.5 for number in range(100)})
    hang(rollout.answer)
    return 1.0

async_handler = Handler(slept, floor=-1.0)
lambda_handler = Handler(behaves, floor=-1.0)

def raises(event, context):
    raise KeyError("reference_answer")

def large(event, context):
    return ["x" * 6_300_000]
"""
EXITS = ("ValueError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "BaseException")


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
def start(
    behaviours: Package, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], LambdaRuntime]]:
    """Return a function that starts a process for a handler of SOURCE, once."""
    with ExitStack() as stack:

        @cache
        def start(handler: str) -> LambdaRuntime:
            folder = tmp_path_factory.mktemp(handler)
            return stack.enter_context(LambdaRuntime(behaviours, folder, runtime, handler=f"lambda_function.{handler}"))

        yield start


@pytest.fixture(scope="module")
def started(
    graders: Package, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LambdaRuntime, float]]:
    """Return a process with the graders, and the seconds until it had scored one rollout."""
    began = time.monotonic()
    with LambdaRuntime(graders, tmp_path_factory.mktemp("graders"), runtime) as running:
        response = running.invoke([rollout("one", "41", reference_answer=42)])
        assert response.kind == "response", running.log
        yield running, time.monotonic() - began


@pytest.fixture
def process(started: tuple[LambdaRuntime, float]) -> LambdaRuntime:
    return started[0]


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


def test_a_cold_start_is_quick(started: tuple[LambdaRuntime, float]) -> None:
    assert started[1] < 10  # Lambda allows ten seconds


@pytest.mark.parametrize("handler", ["lambda_handler", "async_handler"])
def test_any_exception_costs_one_rollout(start: Callable[[str], LambdaRuntime], handler: str) -> None:
    running = start(handler)
    response = running.invoke([rollout(name, name) for name in ("fine", *EXITS)])
    assert scores(response.body) == {"fine": 1.0, **dict.fromkeys(EXITS, -1.0)}
    assert errors(response.body) == [0.0] + [1.0] * len(EXITS)
    assert "ValueErrorValueError" not in running.log  # the text of an exception may quote the answer


@pytest.mark.parametrize(
    ("handler", "kinds"),
    [
        # Pairwise: work that uses the processor is tried with one handler; test_rewards_core.py tries a loop with both.
        ("lambda_handler", ("sleep", "pattern", "lock", "stubborn")),
        ("async_handler", ("sleep", "loop", "wait", "to_thread")),
    ],
)
def test_work_that_does_not_end_costs_one_rollout(
    behaviours: Package, runtime: str, tmp_path: Path, handler: str, kinds: tuple[str, ...]
) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, handler=f"lambda_function.{handler}") as running:
        assert scores(running.invoke([rollout("warm", "")]).body) == {"warm": 1.0}
        for kind in kinds:
            response = running.invoke([rollout("one", ""), rollout("two", kind)], timeout=1.0)
            assert response.kind == "response", (kind, response)
            assert scores(response.body) == {"one": 1.0, "two": -1.0}, kind


def test_the_floor_is_kept_at_a_deadline_of_six_seconds(runtime: str, tmp_path: Path) -> None:
    tests = package(Handler(PassesTests(seconds=4.0), floor=-1.0), runtime=runtime)
    with LambdaRuntime(tests, tmp_path, runtime) as running:
        event = [
            rollout(name, code, reference_answer="assert x == 1")
            for name, code in [("right", "x = 1"), ("endless", "import time\ntime.sleep(60)"), ("last", "x = 1")]
        ]
        assert scores(running.invoke(event[:1]).body) == {"right": 1.0}
        response = running.invoke(event, timeout=6.0)
        assert response.kind == "response", response
        assert scores(response.body) == {"right": 1.0, "endless": 0.0, "last": -1.0}, "4 s is the limit of the grader"


def test_a_response_above_six_megabytes(start: Callable[[str], LambdaRuntime]) -> None:
    running = start("lambda_handler")
    response = running.invoke([rollout(str(number), "metrics") for number in range(40)])
    assert response.kind == "response"
    names = [metric["name"] for metric in response.body[-1]["metrics_list"]]
    assert names == ["behaves/?", "behaves", "reward_error"]
    assert "metrics were left out" in running.log
    assert start("large").invoke([])[0] == "too_large"


def test_ending_the_process_ends_the_invocation(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime) as running:
        assert running.invoke([rollout("one", "os._exit")]) == ("exited", 3)


def test_async_rewards_run_at_once(start: Callable[[str], LambdaRuntime]) -> None:
    began = time.monotonic()
    response = start("async_handler").invoke([rollout(str(number), "") for number in range(16)])
    assert set(scores(response.body).values()) == {1.0}
    assert time.monotonic() - began < 16 * 0.3


def test_a_function_that_raises_reports_its_exception(start: Callable[[str], LambdaRuntime]) -> None:
    response = start("raises").invoke([])
    assert (response.kind, response.body["errorType"]) == ("error", "KeyError")
    assert "lambda_function.py" in response.body["stackTrace"][-1]


def test_a_missing_handler_is_an_error_of_the_start(behaviours: Package, runtime: str, tmp_path: Path) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, handler="lambda_function.missing") as running:
        response = running.wait(20)
        assert (response.kind, response.body["errorType"]) == ("init_error", "Runtime.HandlerNotFound")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("import missing", "Runtime.ImportModuleError"),
        ("raise ValueError('at the start')", "ValueError"),
        ("def broken(:", "Runtime.UserCodeSyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_an_error_of_the_start(
    behaviours: Package, runtime: str, tmp_path: Path, line: str, kind: str
) -> None:
    with LambdaRuntime(behaviours, tmp_path, runtime, source=line) as running:
        response = running.wait(20)
        assert (response.kind, response.body["errorType"]) == ("init_error", kind)
