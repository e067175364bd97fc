"""Rewards, their combinations, and the handler that returns one result for each rollout."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import math
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_rft
from bedrock_rft import RewardError
from bedrock_rft.rewards import Handler, Numeric, Reward, Rollout, Score, reward
from bedrock_rft.rewards._runtime.deadline import run_until
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._targets.handler_response import parse_response

FOUR = Rollout.of("2 + 2?", "The answer is 4.", reference="4")


@reward
def correct(rollout: Rollout) -> bool:
    """Return whether the answer contains 4."""
    return "4" in rollout.answer


@reward
def tidy(rollout: Rollout) -> float:
    return 0.5 if rollout.answer.endswith(".") else 0.0


def entry(number: Any = "r-1", answer: str = "4", **extra: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": answer}]
    return {"id": number, "messages": messages, "metadata": {"reference_answer": "4", **extra}}


@pytest.mark.parametrize(
    "shape",
    [
        {"metadata": {"reference_answer": "4", "level": 3}},
        {"metadata": {"reference_answer": {"text": "4"}, "level": 3}},
        {"reference_answer": "4", "level": 3},
        {"reference_answer": {"text": "4"}, "metadata": {"level": 3}},
    ],
)
def test_rollout_read_accepts_every_payload_shape(shape: dict[str, Any]) -> None:
    answers = ["4", [{"type": "text", "text": "4"}], [{"type": "text", "text": ""}, {"type": "text", "text": "4"}]]
    for content in answers:
        turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": content}]
        rollout = Rollout.read({"id": "r", "messages": turns, **shape})
        assert (rollout.id, rollout.prompt, rollout.answer) == ("r", "2 + 2?", "4")
        assert (rollout.reference, rollout.extra) == ("4", {"level": 3})


def test_rollout_read_keeps_references_that_are_objects() -> None:
    for reference in ({"text": "4", "unit": "m"}, {"text": 4}, ["4"], None, 4):
        assert Rollout.read({"messages": [], "reference_answer": reference}).reference == reference


def test_answer_is_the_last_message_of_the_assistant() -> None:
    assert Rollout.read({"messages": []}).answer == ""
    assert (
        Rollout.read({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}).answer
        == ""
    )
    assert Rollout.read({"messages": [{"role": "assistant", "content": None}]}).answer == ""


@pytest.mark.parametrize("broken", [7, None, "text", {}, {"messages": "x"}, {"messages": [7]}, {"messages": None}])
def test_rollout_read_rejects_invalid_entries(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"rollout|messages"):
        Rollout.read(broken)


def test_rewards_can_be_weighted_and_added() -> None:
    total = 0.9 * correct + 0.1 * tidy
    assert total(FOUR).parts == {"correct": 1.0, "tidy": 0.5}
    assert float(total(FOUR)) == pytest.approx(0.95)
    assert float((correct - tidy)(FOUR)) == 0.5
    assert float((-correct)(FOUR)) == -1.0
    assert float(sum([correct, tidy])(FOUR)) == 1.5  # type: ignore[operator] # sum begins with 0
    assert float((correct + tidy).clip()(FOUR)) == 1.0
    assert repr(total) == "0.9 * correct + 0.1 * tidy"
    assert total.leaves == (correct, tidy)
    assert correct.__doc__ == "Return whether the answer contains 4."


def test_gate() -> None:
    wrong = Rollout.of("2 + 2?", "5.", reference="4")
    gated = tidy.gate(correct, otherwise=-0.25)
    assert gated(FOUR) == Score(0.5, {"correct": 1.0, "tidy": 0.5})
    assert gated(wrong) == Score(-0.25, {"correct": 0.0, "tidy": 0.5})
    lazy = tidy.gate(correct, lazy=True)
    assert lazy(wrong) == Score(0.0, {"correct": 0.0}), "a lazy gate does not compute a reward that costs money"


def test_a_reward_that_occurs_twice_is_computed_once() -> None:
    asked: list[str] = []

    @reward
    def costly(rollout: Rollout) -> float:
        asked.append(rollout.id)
        return 1.0

    assert float((costly + 0.5 * costly.clip(0, 1) + costly)(FOUR)) == 2.5
    assert len(asked) == 1


def test_parts_need_different_names() -> None:
    with pytest.raises(ValueError, match="two parts are named 'correct'"):
        _ = correct + Numeric(name="correct")
    renamed = correct + Numeric(name="correct").named("number")
    assert set(renamed(FOUR).parts) == {"correct", "number"}
    assert (correct + tidy).named("total")(FOUR).parts == {"correct": 1.0, "tidy": 0.5, "total": 1.5}
    with pytest.raises(ValueError, match="must be printable text"):
        correct.named("a\nb")


def test_a_function_may_return_parts() -> None:
    def parts(rollout: Rollout) -> Mapping[str, float]:
        return {"right": True, "short": len(rollout.answer) < 100, "style": 0.25}

    assert reward(parts)(FOUR) == Score(
        0.75, {"parts/right": 1.0, "parts/short": 1.0, "parts/style": 0.25, "parts": 0.75}
    )
    weighed = reward(name="all", weights={"right": 0.9, "style": 0.4})(parts)
    assert weighed(FOUR).value == 1.0
    assert weighed(FOUR).parts["all"] == 1.0
    with pytest.raises(KeyError):
        reward(weights={"missing": 1.0})(parts)(FOUR)


def test_a_function_may_return_a_score_or_another_reward() -> None:
    @reward
    def scored(rollout: Rollout) -> Score:
        return Score(0.5, {"a": 1.0}, {"tokens": float(len(rollout.answer))})

    assert scored(FOUR) == Score(0.5, {"scored/a": 1.0, "scored": 0.5}, {"tokens": 16.0})

    @reward
    def by_kind(rollout: Rollout) -> Reward:
        return correct if rollout.reference == "4" else tidy

    assert by_kind(FOUR) == Score(1.0, {"correct": 1.0, "by_kind": 1.0})


@pytest.mark.parametrize("value", [True, 1, 0.5, Decimal("0.5"), -0.0])
def test_a_reward_may_return_any_number_type(value: Any) -> None:
    assert reward(lambda _: value)(FOUR).value == float(value)


@pytest.mark.parametrize(
    "value", [None, "1", math.nan, math.inf, -math.inf, [1.0], 1j, b"1", {"a": math.nan}, {"a": "1"}]
)
def test_a_reward_must_return_a_finite_number(value: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        reward(lambda _: value)(FOUR)
    (result,) = Handler(reward(lambda _: value), floor=-1.0)([entry()])
    assert result["aggregate_reward_score"] == -1.0
    assert {"name": "reward_error", "value": 1.0, "type": "Metric"} in result["metrics_list"]


@pytest.mark.parametrize("make", [lambda: reward(7), lambda: correct * math.nan, lambda: correct.clip(1, 0)])  # type: ignore[call-overload]
def test_invalid_rewards_are_rejected(make: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


def test_invalid_combinations_raise_type_error() -> None:
    score: Any = correct
    wrong: list[Callable[[], object]] = [lambda: score * "2", lambda: score + 1, lambda: "x" + score, lambda: score - 1]
    for combine in wrong:
        with pytest.raises(TypeError):
            combine()


def test_handler_returns_results_in_order_with_their_ids() -> None:
    handler = (0.9 * correct + 0.1 * tidy).handler
    ids: list[Any] = ["b", "a", 7, None, {"x": 1}]
    results = handler([*(entry(name) for name in ids), {"messages": []}, 7])
    assert [result["id"] for result in results] == [*ids, "", ""]
    assert results[0] == {
        "id": "b",
        "aggregate_reward_score": 0.9,
        "metrics_list": [
            {"name": "correct", "value": 1.0, "type": "Reward"},
            {"name": "tidy", "value": 0.0, "type": "Reward"},
            {"name": "reward_error", "value": 0.0, "type": "Metric"},
        ],
    }
    assert handler(entry("one")) == handler([entry("one")])
    assert handler([]) == []
    with pytest.raises(ValueError, match=r"the event must be a list of rollouts.*not str"):
        handler("[]")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "messages": JSON | st.lists(st.fixed_dictionaries({"role": st.just("assistant"), "content": JSON}), max_size=2),
        "metadata": JSON | st.fixed_dictionaries({"reference_answer": JSON}),
        "reference_answer": JSON,
    },
)


@given(st.lists(FIELDS | JSON, max_size=5))
def test_handler_returns_a_result_for_any_event(event: list[Any]) -> None:
    kept = json.dumps(event)
    results = (0.5 * correct + Numeric()).handler(event)
    assert len(results) == len(event)
    for given_entry, result in zip(event, results, strict=True):
        wanted: Any = given_entry.get("id", "") if hasattr(given_entry, "get") else ""
        assert result["id"] is wanted or result["id"] == wanted
        assert math.isfinite(result["aggregate_reward_score"])
        assert all(math.isfinite(metric["value"]) for metric in result["metrics_list"])
    json.dumps([{**result, "id": "x"} for result in results], allow_nan=False)
    assert json.dumps(event) == kept, "the event is not changed"


def test_handler_logs_the_type_of_an_error_but_not_its_text(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    @reward
    def brittle(rollout: Rollout) -> float:
        if "bad" in rollout.answer:
            raise KeyError(rollout.answer)
        if "exit" in rollout.answer:
            sys.exit(rollout.answer)
        return 1.0

    handler = Handler(correct + brittle, floor=-0.5)
    with caplog.at_level(logging.DEBUG):
        results = handler([entry("1", "4"), entry("2", "4 bad private text"), entry("3", "4 exit"), entry("4", "4")])
    assert [result["aggregate_reward_score"] for result in results] == [2.0, -0.5, -0.5, 2.0]
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "2 of 4 rollouts got the floor; first error: KeyError in test_rewards_core.py, line "
    )
    assert "private" not in caplog.text + "".join(capfd.readouterr())
    assert {metric["name"] for metric in results[1]["metrics_list"]} == {"correct", "reward_error"}


class Context:
    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - time.monotonic()) * 1000))


def values(results: list[dict[str, Any]]) -> list[float]:
    return [result["aggregate_reward_score"] for result in results]


def test_rollouts_get_the_floor_if_no_time_is_left() -> None:
    begun: list[str] = []

    @reward
    def slow(rollout: Rollout) -> float:
        begun.append(rollout.id)
        time.sleep({"0": 0.1, "1": 30.0}.get(rollout.id, 0.0))
        return 1.0

    results = Handler(slow)([entry(str(number)) for number in range(3)], Context(1.0))
    assert (values(results), begun) == ([1.0, 0.0, 0.0], ["0", "1"])
    assert (results[1]["metrics_list"][-1]["name"], results[1]["metrics_list"][-1]["value"]) == ("reward_error", 1.0)


def test_no_rollout_begins_that_would_take_longer_than_the_time_left() -> None:
    @reward
    def slow(rollout: Rollout) -> float:
        time.sleep(1.0 if rollout.id == "0" else 0.0)
        return 1.0

    assert values(Handler(slow)([entry("0"), entry("1")], Context(1.6))) == [1.0, 0.0]

    @dataclass(frozen=True, eq=False)
    class Limited(Leaf):
        seconds: float = 60.0
        name: str = "limited"

        def grade(self, rollout: Rollout) -> float:  # noqa: ARG002 - as in Leaf
            time.sleep(0.2)
            return 1.0

    results = Handler(Limited(), floor=-1.0)([entry(str(number)) for number in range(6)], Context(1.0))
    assert values(results) == [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], "it begins in the first half only"


LATEST = {"ended": threading.Event()}


def hang(kind: str) -> float:
    """Do work that takes longer than a test waits, and does not slow down the tests after it."""
    until, ended = time.monotonic() + 4, LATEST["ended"]
    if kind == "sleep":
        time.sleep(30)
    if kind == "process":
        subprocess.run([sys.executable, "-c", "import time; time.sleep(30)"], check=True)
    if kind == "future":
        with ThreadPoolExecutor() as threads:
            threads.submit(time.sleep, 4).result()
    while kind == "stubborn" and time.monotonic() < until:
        with contextlib.suppress(Exception):
            time.sleep(1)
    while kind == "loop" and time.monotonic() < until and not ended.is_set():
        pass
    return 1.0


@reward
def hanging(rollout: Rollout) -> float:
    return hang(rollout.answer)


@reward
async def hanging_async(rollout: Rollout) -> float:
    if rollout.answer == "to_thread":
        return await asyncio.to_thread(hang, "sleep")
    until = time.monotonic() + 4
    if rollout.answer == "uncancellable":
        while time.monotonic() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
    return hang(rollout.answer)


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize(
    ("total", "kind"),
    [
        *((hanging, kind) for kind in ("sleep", "loop", "stubborn", "process", "future")),
        *((hanging_async, kind) for kind in ("sleep", "loop", "to_thread", "uncancellable")),
    ],
    ids=str,
)
def test_work_that_cannot_be_cancelled_costs_one_rollout(total: Reward, kind: str, thread: str) -> None:
    handler, event = Handler(total, floor=-1.0), [entry("1", "fine"), entry("2", kind)]
    seconds = 0.4 if kind == "loop" else 0.7  # a loop uses the processor
    ended = LATEST["ended"] = threading.Event()
    began = time.monotonic()
    try:
        if thread == "main":
            results = handler(event, Context(seconds))
        else:
            with ThreadPoolExecutor(1) as threads:
                results = threads.submit(handler, event, Context(seconds)).result()
        assert values(results) == [1.0, -1.0]
        assert time.monotonic() - began < 3.0
    finally:
        ended.set()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert values(handler(event[:1], Context(5.0))) == [1.0], "the next invocation is not affected"


def test_a_timer_and_a_handler_of_the_caller_are_restored() -> None:
    def on_alarm(*_: object) -> None:
        raise AssertionError

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert values(hanging.handler([entry("1", "fine"), entry("2", "sleep")], Context(0.5))) == [1.0, 0.0]
        assert signal.getsignal(signal.SIGALRM) is on_alarm
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_of_nested_deadlines_the_earliest_counts() -> None:
    @reward
    def limited(rollout: Rollout) -> float:
        run_until(functools.partial(time.sleep, 30), time.monotonic() + float(rollout.answer))
        return 1.0

    began = time.monotonic()
    assert values(limited.handler([entry("1", "0.1"), entry("2", "20")], Context(1.0))) == [1.0, 0.0]
    assert time.monotonic() - began < 3


def test_a_deadline_that_passes_before_the_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    start_timer, begun = signal.setitimer, list[int]()

    def start_late(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        before = start_timer(which, seconds, interval)
        if seconds:
            signal.raise_signal(signal.SIGALRM)  # as on a machine that is busy for a millisecond
        return before

    handler = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(signal, "setitimer", start_late)
    run_until(lambda: begun.append(1), time.monotonic() - 1)
    assert begun == []
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_an_alarm_of_the_caller_reaches_the_caller() -> None:
    class CallerError(Exception):
        pass

    def on_alarm(*_: object) -> None:
        raise CallerError

    def limited_and_a_little_more() -> None:
        run_until(functools.partial(time.sleep, 30), time.monotonic() + 20)
        time.sleep(5)

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(CallerError):
            limited_and_a_little_more()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_reward_may_use_an_alarm_of_its_own() -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    @reward
    def alarmed(_: Rollout) -> float:
        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            time.sleep(30)
        except TimeoutError:
            return 0.5
        return 1.0

    assert values(alarmed.handler([entry("1"), entry("2")], Context(5.0))) == [0.5, 0.5]
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


class OddError(Exception):
    loggable = True

    def __str__(self) -> str:
        return "\ud800"


EXITS: list[type[BaseException]] = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    BaseException,
    OddError,
]


@pytest.mark.parametrize("error", EXITS)
@pytest.mark.parametrize("way", ["sync", "async", "task", "thread"])
def test_any_exception_of_a_reward_costs_one_rollout(
    error: type[BaseException], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(rollout: Rollout) -> float:
        if rollout.id == "2":
            raise error
        return 1.0

    async def leave_async(rollout: Rollout) -> float:
        await asyncio.sleep(0.01)
        return leave(rollout)

    async def leave_task(rollout: Rollout) -> float:
        return await asyncio.ensure_future(leave_async(rollout))

    async def leave_thread(rollout: Rollout) -> float:
        return await asyncio.to_thread(leave, rollout)

    ways: dict[str, Any] = {"sync": leave, "async": leave_async, "task": leave_task, "thread": leave_thread}
    results = Handler(reward(ways[way]), floor=-1.0)([entry("1"), entry("2"), entry("3")], Context(30.0))
    assert values(results) == [1.0, -1.0, 1.0]
    caplog.text.encode()  # a lone surrogate in the log would end the process


def test_ctrl_c_ends_a_call_without_a_deadline() -> None:
    @reward
    def interrupted(_: Rollout) -> float:
        signal.raise_signal(signal.SIGINT)
        return 1.0

    @reward
    async def interrupted_async(rollout: Rollout) -> float:
        return interrupted(rollout).value

    for total in (interrupted, interrupted_async):
        with pytest.raises(KeyboardInterrupt):
            total.handler([entry("1")])


def test_a_reward_that_stops_its_event_loop_or_cancels_every_task_costs_no_other_score() -> None:
    @reward
    async def meddles(rollout: Rollout) -> float:
        if rollout.id == "2":
            asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return 1.0

    assert values(meddles.handler([entry("1"), entry("2")], Context(5.0))) == [1.0, 1.0]


def test_lone_surrogates_are_replaced_in_ids_and_names() -> None:
    @reward
    def named(_: Rollout) -> Score:
        return Score(1.0, {"part \ud800": 1.0}, {"metric \udfff": 1.0})

    results = named.handler([entry({"deep": ["\ud800"]}), entry("\ud800"), entry(7)])
    json.dumps(results, ensure_ascii=False).encode()
    assert [result["id"] for result in results] == [{"deep": ["?"]}, "?", 7]
    assert "named/part ?" in str(results[0])


def test_the_check_refuses_a_response_that_lambda_cannot_send() -> None:
    with pytest.raises(RewardError, match="cannot be sent as JSON") as caught:
        parse_response([{"id": "1", "aggregate_reward_score": 1.0, "note": "\ud800"}])
    assert caught.value.code == "not_json"
    with pytest.raises(RewardError, match="at most 6 MB"):
        parse_response([{"id": "x" * 6_300_000, "aggregate_reward_score": 1.0}])


def test_metrics_are_left_out_of_a_response_that_lambda_would_reject(caplog: pytest.LogCaptureFixture) -> None:
    @reward
    def verbose(rollout: Rollout) -> Score:
        many = {f"{number} {'é' * 100}": 0.5 for number in range(100)}
        return Score(1.0, many if rollout.id.endswith("parts") else {"a": 1.0}, many)

    limit = 6 * 1024 * 1024
    small = verbose.handler([entry("1")])
    assert len(small[0]["metrics_list"]) == 103
    results = verbose.handler([entry(str(number)) for number in range(110)])
    assert len(json.dumps(results)) < limit
    assert {metric["name"] for metric in results[0]["metrics_list"]} == {"verbose/a", "verbose", "reward_error"}
    results = verbose.handler([entry(f"{number} parts") for number in range(110)])
    assert len(json.dumps(results)) < limit
    assert [metric["name"] for metric in results[109]["metrics_list"]] == ["reward_error"]
    results = correct.handler([entry("x" * 50_250)] * 125)
    assert len(json.dumps(results)) < limit
    assert (len(results), results[0]["metrics_list"]) == (125, [])
    assert "Lambda sends at most 6 MB; kept: Reward, reward_error" in caplog.text


def test_async_rewards_run_concurrently_and_late_ones_are_cancelled() -> None:
    under_way, most = 0, 0

    @reward
    async def judged(rollout: Rollout) -> float:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(30 if rollout.id == "3" else 0.01)
        finally:
            under_way -= 1
        return 1.0

    began = time.monotonic()
    handler = Handler(0.5 * judged + 0.5 * correct, concurrency=4)
    results = handler([entry(str(number)) for number in range(8)], Context(2.0))
    assert [result["aggregate_reward_score"] for result in results] == [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert (most, under_way) == (4, 0)
    assert time.monotonic() - began < 10


def test_an_async_reward_can_be_scored_inside_an_event_loop() -> None:
    class Judge:
        async def __call__(self, rollout: Rollout) -> float:
            await asyncio.sleep(0)
            return 1.0 if rollout.answer else 0.0

    judged = reward(name="judged")(Judge())

    async def cell() -> Score:
        return judged(FOUR)

    assert judged.asynchronous
    assert asyncio.run(cell()) == judged(FOUR) == Score(1.0, {"judged": 1.0})
    assert reward(name="partial")(functools.partial(Judge.__call__, Judge())).asynchronous


def test_a_function_that_waits_must_be_async() -> None:
    async def wait() -> float:
        await asyncio.sleep(0)
        return 1.0

    hidden = reward(name="hidden")(lambda _: wait())
    with pytest.raises(RuntimeError, match="make its function async"):
        hidden(FOUR)
    (result,) = hidden.handler([entry()])
    assert result["aggregate_reward_score"] == 0.0


@pytest.mark.parametrize(("settings", "said"), [({"floor": math.nan}, "floor"), ({"concurrency": 0}, "concurrency")])
def test_invalid_handler_settings_are_rejected(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Handler(correct, **settings)


def test_the_runtime_needs_the_standard_library_only(tmp_path: Path) -> None:
    source = Path(bedrock_rft.__file__).parent / "rewards"
    target = tmp_path / "bedrock_rft" / "rewards"
    shutil.copytree(source / "_runtime", target / "_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", target)
    (tmp_path / "bedrock_rft" / "__init__.py").touch()
    script = tmp_path / "function.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from bedrock_rft.rewards import Exact, Format, Numeric, Rollout, reward\n"
        "print(sum(name.startswith('bedrock_rft') for name in sys.modules))\n"
        "@reward\n"
        "def short(rollout): return len(rollout.answer) < 10\n"
        "total = 0.5 * Numeric() + 0.2 * Exact() + 0.1 * short + 0.2 * Format(boxed=True)\n"
        f"print(total.handler([{entry()!r}])[0]['aggregate_reward_score'])\n"
        "unwanted = {'pydantic', 'subprocess', 'botocore', 'sympy', 'bedrock_rft.rewards._runtime.rollout_log'}\n"
        "print(sorted(unwanted & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", script], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stderr == ""
    modules, value, unwanted = done.stdout.splitlines()
    assert int(modules) < 25
    assert (value, unwanted) == ("0.8", "[]")
