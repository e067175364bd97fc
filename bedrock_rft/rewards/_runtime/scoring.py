"""Score one rollout, or a batch of rollouts within a deadline. Async rewards run concurrently."""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bedrock_rft.rewards._runtime.deadline import OutOfTimeError, end_interruptions, run_until
from bedrock_rft.rewards._runtime.rollout import Rollout, Score, encodable, finite_float

T = TypeVar("T")

_MARGIN = 2.0
"""Largest safety margin in seconds: scoring ends this long before Lambda's deadline."""

_MIN_THREADS = 32
OUT_OF_TIME = "no time was left to score it"
_MAX_TEXT = 400
"""Characters of the text of an exception."""
_NOT_ASYNC = "a reward that is not async waited for something; make its function async"


class ScoringContext:
    """The rollout that is being scored, with the values so far. Each reward is computed once for a context."""

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
        self.metrics.update({f"{name}": finite_float(value, name) for name, value in metrics.items()})


class Scorable(Protocol):
    """The part of `Reward` that scoring needs. It is a protocol because `Reward` imports this module."""

    @property
    def leaves(self) -> Sequence[object]:
        """Return the rewards that this reward combines. `seconds` of such a reward is its own time limit."""
        ...

    @property
    def asynchronous(self) -> bool:
        """Return whether computing the reward waits for something."""
        ...

    async def compute(self, context: ScoringContext) -> float:
        """Compute the value for one rollout."""
        ...


def score_rollout(reward: Scorable, rollout: Rollout) -> Score:
    """Score one rollout, in a new thread if an event loop runs in this thread. Exceptions of the reward propagate."""
    return _run_coroutine(_score(reward, ScoringContext(rollout)), can_wait=reward.asynchronous)


async def _score(reward: Scorable, context: ScoringContext) -> Score:
    value = finite_float(await reward.compute(context), "the reward")
    return Score(value, context.parts, context.metrics)


def score_batch(
    reward: Scorable,
    entries: Sequence[object],
    *,
    floor: float,
    concurrency: int,
    seconds: float | None,
    on_error: Callable[[int, BaseException], None] | None = None,
) -> list[tuple[Score, float | None]]:
    """Return the score of each entry of an event, in order, with the seconds that it took, or None if it was not begun.

    If the reward raises for an entry, or does not score it by 2 s before the end of `seconds`, the entry gets the
    floor. `on_error` is called with the position of an entry for which the reward raised, and the exception.
    """
    margin = 0.0 if seconds is None else min(_MARGIN, seconds / 10)
    end = None if seconds is None else time.monotonic() + seconds - margin
    batch = _Batch(reward, entries, floor, end, margin / 4 if reward.asynchronous else 0.0)
    batch.on_error = on_error
    if reward.asynchronous:
        late = None if end is None else end + batch.grace
        run_until(lambda: batch.run(concurrency), late, interval=batch.grace, new_thread=_in_event_loop())
    else:
        batch.run_in_turn()
    now = time.monotonic()
    times = [None if began is None else (ended or now) - began for began, ended in batch.times]
    return list(zip(batch.scores, times, strict=True))  # copies, because abandoned work may still end


class _Batch:
    """The entries of an event, the score of each so far, and the times at which its scoring began and ended."""

    def __init__(
        self, reward: Scorable, entries: Sequence[object], floor: float, end: float | None, grace: float
    ) -> None:
        self.reward, self.entries, self.floor, self.end, self.grace = reward, entries, floor, end, grace
        self.scores = [Score(floor, error=OUT_OF_TIME)] * len(entries)
        self.times: list[tuple[float | None, float | None]] = [(None, None)] * len(entries)
        self.on_error: Callable[[int, BaseException], None] | None = None

    def run_in_turn(self) -> None:
        """Score one entry after the other. Begin no entry if less time is left than the longest entry so far took."""
        run_until(self._score_in_turn, self.end)

    def _score_in_turn(self) -> None:
        longest = math.fsum(float(getattr(leaf, "seconds", 0.0)) for leaf in self.reward.leaves)
        began = time.monotonic()
        for position in range(len(self.entries)):
            start = time.monotonic()
            if self.end is not None and start + min(longest, (self.end - began) / 2) >= self.end:
                return
            try:
                self.scores[position] = _run_coroutine(self._score_or_floor(position), can_wait=False)
            except RuntimeError:  # the reward waits, although it is not async
                self.scores[position] = Score(self.floor, error=_NOT_ASYNC)
            longest = max(longest, time.monotonic() - start)

    def run(self, concurrency: int) -> None:
        """Score the entries in a new event loop, and return soon after the end, even if something still runs.

        A task that blocks the loop is interrupted after the grace period, and the loop itself after twice that time.
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        loop = asyncio.new_event_loop()
        # Not the loop's own executor: abandoned work would fill its threads, and closing the loop would wait for them.
        executor = ThreadPoolExecutor(max(_MIN_THREADS, concurrency), thread_name_prefix="reward")
        loop.set_default_executor(executor)
        scoring = loop.create_task(self._score_all(concurrency))
        try:
            while not scoring.done():
                try:
                    loop.run_until_complete(scoring)
                except BaseException as error:  # such as SystemExit in a task that a reward started
                    if self._ends_batch(error):
                        raise
        finally:
            if self.end is not None:
                end_interruptions()
            loop.set_exception_handler(_ignore)  # the default handler would report abandoned tasks
            for task in asyncio.all_tasks(loop):
                task.cancel()
            executor.shutdown(wait=False, cancel_futures=True)
            loop.close()

    async def _score_all(self, concurrency: int) -> None:
        import asyncio

        semaphore = asyncio.Semaphore(concurrency)
        expired = False

        async def score_next(position: int) -> None:
            async with semaphore:
                if self.end is None or time.monotonic() < self.end:
                    score = await self._score_or_floor(position)
                    self.scores[position] = self.scores[position] if expired else score

        tasks = {asyncio.ensure_future(score_next(position)) for position in range(len(self.entries))}
        if tasks:
            seconds = None if self.end is None else max(0.0, self.end - time.monotonic())
            _, tasks = await asyncio.wait(tasks, timeout=seconds)
        if tasks and self.end is not None and time.monotonic() > self.end + self.grace / 2:  # a task blocked the loop
            await asyncio.wait(tasks, timeout=self.grace / 2)
        expired = True
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=None if self.end is None else self.grace / 2)
        await asyncio.get_running_loop().shutdown_asyncgens()

    async def _score_or_floor(self, position: int) -> Score:
        context: ScoringContext | None = None
        began = time.monotonic()
        self.times[position] = began, None
        try:
            context = ScoringContext(Rollout.read(self.entries[position]))
            return await _score(self.reward, context)
        except BaseException as error:
            if self._ends_batch(error):
                raise
            if isinstance(error, OutOfTimeError):
                return Score(self.floor, error=OUT_OF_TIME)
            if self.on_error is not None:
                self.on_error(position, error)
            parts, metrics = (context.parts, context.metrics) if context else ({}, {})
            return Score(self.floor, parts, metrics, describe_error(error))
        finally:
            self.times[position] = began, time.monotonic()

    def _ends_batch(self, error: BaseException) -> bool:
        """Return whether an exception ends the batch: Ctrl-C without a deadline, or the last interruption."""
        if self.end is None:
            return isinstance(error, KeyboardInterrupt)
        return isinstance(error, OutOfTimeError) and time.monotonic() >= self.end + 2 * self.grace


def _ignore(*_: object) -> None:
    """Do nothing."""


def describe_error(error: BaseException, *, with_text: bool = False) -> str:
    """Return the exception's type and location. Its text may contain the model's answer, so it is left out of logs."""
    found = traceback.extract_tb(error.__traceback__)
    frames = [(one.filename.replace("\\", "/").split("/"), one.lineno) for one in found]
    path, line = ([frame for frame in frames if "bedrock_rft" not in frame[0]] or frames)[-1]
    place, description = f"{path[-1]}, line {line}", type(error).__name__
    with contextlib.suppress(Exception):  # the exception's class is the user's code
        if with_text:
            return str(encodable(f"{description}: {error}"[:_MAX_TEXT].rstrip(": ") + f" ({place})"))
        if getattr(error, "loggable", False) is True:
            description = f"{description}: {error}"
    return str(encodable(f"{description} in {place}"))


def _in_event_loop() -> bool:
    import asyncio  # inside functions only: it takes a third of the time of a cold start

    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop() is not None
    return False


def _run_coroutine(coroutine: Coroutine[Any, Any, T], *, can_wait: bool) -> T:
    """Run a coroutine from synchronous code and return its result."""
    if not can_wait:
        try:
            coroutine.send(None)
        except StopIteration as finished:
            result: T = finished.value
            return result
        coroutine.close()
        raise RuntimeError(_NOT_ASYNC)
    import asyncio

    if not _in_event_loop():
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:  # the event loop of a notebook cannot be entered twice
        return threads.submit(asyncio.run, coroutine).result()
