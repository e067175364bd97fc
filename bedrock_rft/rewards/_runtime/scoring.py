"""Score one rollout, or a batch of rollouts within a deadline. Async rewards run concurrently."""

from __future__ import annotations

import time
import traceback
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bedrock_rft.rewards._runtime.rollout import Rollout, Score, finite_float

__all__ = ["Scorable", "ScoringContext", "score_batch", "score_rollout"]

T = TypeVar("T")

_OUT_OF_TIME = "no time was left to score it"
_NOT_ASYNC = "a reward that is not async waited for something; make its function async"


class ScoringContext:
    """The rollout that is being scored, with the values collected so far. Each reward is computed once in it."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.parts: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.values: dict[int, float] = {}
        """Values of the rewards computed so far, by the id of the reward object."""

    def add_parts(self, prefix: str, parts: Mapping[str, float]) -> None:
        """Store parts of a reward as `prefix/name`."""
        self.parts.update({f"{prefix}/{name}": finite_float(part, f"{prefix}/{name}") for name, part in parts.items()})

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Store metrics that are not part of the reward."""
        self.metrics.update({name: finite_float(value, name) for name, value in metrics.items()})


class Scorable(Protocol):
    """The part of `Reward` that scoring needs. A protocol, because `Reward` imports this module."""

    @property
    def asynchronous(self) -> bool:
        """Return whether computing the reward waits for something."""
        ...

    async def compute(self, context: ScoringContext) -> float:
        """Compute the value for one rollout."""
        ...


class _NotAsyncError(RuntimeError):
    """A reward that is not declared async awaited something that was not ready."""


def score_rollout(reward: Scorable, rollout: Rollout) -> Score:
    """Score one rollout. Uses a new thread if an event loop runs in this one. Exceptions of the reward propagate."""
    return _run_coroutine(_score(reward, ScoringContext(rollout)), can_wait=reward.asynchronous)


async def _score(reward: Scorable, context: ScoringContext) -> Score:
    value = finite_float(await reward.compute(context), "the reward")
    return Score(value, context.parts, context.metrics)


def score_batch(
    reward: Scorable, entries: Sequence[object], *, floor: float, concurrency: int, seconds: float | None
) -> list[Score]:
    """Score the entries of an event, in order. One that raises, or for which no time is left, gets the floor.

    Only async rewards are interrupted when the time, in seconds, is over.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    if not reward.asynchronous:
        return [_score_without_waiting(reward, entry, floor, deadline) for entry in entries]
    return _run_coroutine(_score_concurrently(reward, entries, floor, concurrency, deadline), can_wait=True)


def _score_without_waiting(reward: Scorable, entry: object, floor: float, deadline: float | None) -> Score:
    try:
        return _run_coroutine(_score_or_floor(reward, entry, floor, deadline), can_wait=False)
    except _NotAsyncError:
        return Score(floor, error=_NOT_ASYNC)


async def _score_concurrently(
    reward: Scorable, entries: Sequence[object], floor: float, concurrency: int, deadline: float | None
) -> list[Score]:
    import asyncio

    semaphore = asyncio.Semaphore(concurrency)

    async def score_next(entry: object) -> Score:
        async with semaphore:
            return await _score_or_floor(reward, entry, floor, deadline)

    tasks = [asyncio.ensure_future(score_next(entry)) for entry in entries]
    if not tasks:
        return []
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
    _, unfinished = await asyncio.wait(tasks, timeout=timeout)
    for task in unfinished:
        task.cancel()
    return [Score(floor, error=_OUT_OF_TIME) if task in unfinished else task.result() for task in tasks]


async def _score_or_floor(reward: Scorable, entry: object, floor: float, deadline: float | None) -> Score:
    if deadline is not None and time.monotonic() >= deadline:
        return Score(floor, error=_OUT_OF_TIME)
    context: ScoringContext | None = None
    try:
        context = ScoringContext(Rollout.read(entry))
        return await _score(reward, context)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one bad rollout must not cost the whole batch its scores
        parts, metrics = (context.parts, context.metrics) if context else ({}, {})
        return Score(floor, parts, metrics, _describe_error(error))


def _describe_error(error: BaseException) -> str:
    """Return the exception's type and location. Its text is left out, because it may contain the model's answer."""
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [frame for frame in frames if "bedrock_rft" not in frame.filename.replace("\\", "/").split("/")]
    frame = (user_frames or frames)[-1]
    file = frame.filename.replace("\\", "/").rpartition("/")[2]
    kind = type(error).__name__
    description = f"{kind}: {error}" if getattr(error, "loggable", False) is True else kind
    return f"{description} in {file}, line {frame.lineno}"


def _run_coroutine(coroutine: Coroutine[Any, Any, T], *, can_wait: bool) -> T:
    """Run a coroutine from synchronous code and return its result."""
    if not can_wait:
        try:
            coroutine.send(None)
        except StopIteration as finished:
            result: T = finished.value
            return result
        coroutine.close()
        raise _NotAsyncError(_NOT_ASYNC)
    import asyncio  # here and above only: it takes a third of the time of a cold start

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:  # the event loop of a notebook cannot be entered twice
        return threads.submit(asyncio.run, coroutine).result()
