"""Rewards asked: one rollout, or a batch against a deadline, with whatever they wait for done at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from bedrock_rft.rewards._runtime.reward import Reward, Run
from bedrock_rft.rewards._runtime.rollout import Rollout
from bedrock_rft.rewards._runtime.score import Score, number

__all__ = ["OUT_OF_TIME", "Attempt", "batch", "score"]

T = TypeVar("T")

OUT_OF_TIME = "there was no time left to score it"

WAITED = "a reward that is not async waited for something; make its function async"

Attempt = Callable[[], Rollout]
"""Reads one rollout; what it raises is that rollout's own error."""


class _WaitedError(RuntimeError):
    """A coroutine that was to run in one step did not."""


def score(reward: Reward, rollout: Rollout) -> Score:
    """Score one rollout, in a thread of its own where this one runs an event loop already. Raises what it raises."""
    return _finished(_scored(reward, rollout), waits=reward.asynchronous)


async def _scored(reward: Reward, rollout: Rollout) -> Score:
    run = Run(rollout)
    value = number(await reward.value_in(run), "the reward")
    return Score(value, run.parts, run.metrics)


def batch(
    reward: Reward, attempts: Sequence[Attempt], *, floor: float, concurrency: int, seconds: float | None
) -> list[Score]:
    """Score rollouts, in their order. One that raises gets the floor, and so does one that time has run out for.

    Args:
        reward: what scores them.
        attempts: the rollouts, each still to be read.
        floor: the value of one that cannot be scored.
        concurrency: how many are scored at once where the reward waits for something.
        seconds: how long all of it may take; None for as long as it takes. An ordinary function is not interrupted.
    """
    until = None if seconds is None else time.monotonic() + seconds
    if not reward.asynchronous:
        return [_at_once(reward, attempt, floor, until) for attempt in attempts]
    return _finished(_together(reward, attempts, floor, concurrency, until), waits=True)


def _at_once(reward: Reward, attempt: Attempt, floor: float, until: float | None) -> Score:
    try:
        return _finished(_guarded(reward, attempt, floor, until), waits=False)
    except _WaitedError:
        return Score(floor, error=WAITED)


async def _together(
    reward: Reward, attempts: Sequence[Attempt], floor: float, concurrency: int, until: float | None
) -> list[Score]:
    lanes = asyncio.Semaphore(concurrency)

    async def one(attempt: Attempt) -> Score:
        async with lanes:
            return await _guarded(reward, attempt, floor, until)

    tasks = [asyncio.ensure_future(one(attempt)) for attempt in attempts]
    if not tasks:
        return []
    _, late = await asyncio.wait(tasks, timeout=None if until is None else max(0.0, until - time.monotonic()))
    for task in late:
        task.cancel()
    return [Score(floor, error=OUT_OF_TIME) if task in late else task.result() for task in tasks]


async def _guarded(reward: Reward, attempt: Attempt, floor: float, until: float | None) -> Score:
    if until is not None and time.monotonic() >= until:
        return Score(floor, error=OUT_OF_TIME)
    run: Run | None = None
    try:
        run = Run(attempt())
        value = number(await reward.value_in(run), "the reward")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one bad rollout must not cost the whole batch its scores
        return Score(floor, run.parts if run else {}, run.metrics if run else {}, _place(error))
    return Score(value, run.parts, run.metrics)


def _place(error: BaseException) -> str:
    """The kind of an exception and where it was raised; its text may hold what the model said, and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "bedrock_rft" not in frame.filename.replace("\\", "/").split("/")]
    frame = (own or frames)[-1]
    name = frame.filename.replace("\\", "/").rpartition("/")[2]
    told = f"{type(error).__name__}: {error}" if getattr(error, "loggable", False) is True else type(error).__name__
    return f"{told} in {name}, line {frame.lineno}"


def _finished(work: Coroutine[Any, Any, T], *, waits: bool) -> T:
    """The result of a coroutine, from ordinary code."""
    if not waits:
        try:
            work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        work.close()
        raise _WaitedError(WAITED)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _elsewhere(work)


def _elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """The same, in a thread of its own: a notebook's loop cannot be entered twice."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again where it belongs
            failed.append(error)

    thread = threading.Thread(target=run, name="bedrock-rft-reward")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
