"""Events, metrics and checkpoints of a job; wait for it and watch it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, cast

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn
from bedrock_rft._resources.base import (
    AsyncResource,
    Resource,
    blocking,
    blocking_iter,
    identifier,
    page_query,
    segment,
)
from bedrock_rft._resources.create_job import JOBS
from bedrock_rft._resources.event_log import oldest_first
from bedrock_rft._resources.wait import log_job_continues, poll_until_done
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import BedrockRFTError, JobCancelledError, JobFailedError
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job

if TYPE_CHECKING:
    from bedrock_rft.costs import Prices
    from bedrock_rft.costs._limits import CostLimits
    from bedrock_rft.metrics import Comparison, Metrics, RankedCheckpoint, Thresholds
    from bedrock_rft.metrics._live import Style
    from bedrock_rft.metrics._live.state import Change, State
    from bedrock_rft.trackers import Tracker


class Evaluated(Protocol):
    """The result of `client.evaluate`."""

    @property
    def models(self) -> Sequence[Any]:
        """Return the result of each model."""
        ...


class LatestRollouts(Protocol):
    """Return the latest rollouts of a location, and the reason in `problem` if they cannot be read."""

    problem: str

    def __call__(self) -> Sequence[Any]: ...


class AsyncMonitoring(AsyncResource):
    """Read-only operations of `client.jobs`."""

    latest_rollouts: Callable[[str | os.PathLike[str]], LatestRollouts]
    """The function that returns the latest rollouts. The client sets it, because rollouts belong to a higher layer."""

    def events(self, job: Job | str, *, after: str | None = None, limit: int | None = None) -> AsyncIterator[Event]:
        """Iterate over all events of a job, newest first. `follow` yields them oldest first.

        Args:
            job: the job or its id.
            after: the id of an event after which to start, in the order of the service.
            limit: items per page, 1 to 100. All items are returned in any case.
        """
        path = f"{JOBS}/{segment(job, 'job')}/events"
        return self._pages(path, Event, page_query(limit), after=after)

    async def follow(
        self, job: Job | str, *, after: str | None = None, timeout: float | None = None, poll_interval: float = 5.0
    ) -> AsyncIterator[Event]:
        """Yield each event of a job once, oldest first, until the job ends.

        Outages are tolerated. If you stop iterating, the job continues.

        Args:
            job: the job or its id.
            after: the id of the last event that you have seen; the first event is the next one.
            timeout: seconds until `WaitTimeoutError`; None waits until the job ends.
            poll_interval: initial seconds between polls; the interval grows to six times this value.
        """
        polls = poll_until_done(self, job, interval=poll_interval, timeout=timeout, events=True, after=after)
        with log_job_continues(job):
            async for poll in polls:
                for event in poll.events:
                    yield event

    async def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = None,
        poll_interval: float = 5.0,
        on_event: Callable[[Event], object] | None = None,
        raise_on_failure: bool = True,
    ) -> Job:
        """Wait until a job ends. Waiting never cancels a job: Ctrl-C leaves it running.

        Outages, renewed credentials and a suspended machine are tolerated, with a warning if the job cannot be polled.
        Problems that time does not solve, such as an untrusted certificate, raise at once.

        Args:
            job: the job or its id.
            timeout: seconds until `WaitTimeoutError`; None waits until the job ends.
            poll_interval: initial seconds between polls; the interval grows to six times this value.
            on_event: called once with each event, oldest first.
            raise_on_failure: True raises if the job failed or was cancelled; False returns the job.

        Raises:
            JobFailedError, JobCancelledError: the job ended without success; `.job` of the error is the job.
            WaitTimeoutError: the timeout expired; the job was not cancelled.
        """
        last: Job | None = None
        with log_job_continues(job):
            polls = poll_until_done(self, job, interval=poll_interval, timeout=timeout, events=on_event is not None)
            async for poll in polls:
                last = poll.job
                for event in poll.events:
                    if on_event is not None:
                        on_event(event)
        if last is None:
            raise RuntimeError("Polling ended without a result.")
        if raise_on_failure:
            _raise_unless_succeeded(last)
        return last

    async def watch(
        self,
        job: Job | str,
        *,
        style: Style = "auto",
        timeout: float | None = None,
        poll_interval: float = 5.0,
        on_event: Callable[[Event], object] | None = None,
        trackers: Sequence[Tracker] = (),
        thresholds: Thresholds | None = None,
        reward_range: tuple[float, float] | None = (0.0, 1.0),
        raise_on_failure: bool = True,
        file: TextIO | None = None,
        max_cost: float | None = None,
        max_hours: float | None = None,
        on_limit: Literal["warn", "cancel"] = "warn",
        prices: Prices | None = None,
        rollouts: str | os.PathLike[str] | None = None,
        advice: bool = True,
    ) -> Job:
        """Wait until a job ends, and show its progress: a panel in a notebook or a terminal, or lines of text.

        The view has the status, steps, elapsed and remaining time, cost so far and at the end as ranges, curves, the
        last messages, and alarms if the metrics indicate a problem. As with `wait`, Ctrl-C leaves the job running, and
        prints how to resume. If you watch a job again, the view has the messages so far; panels and JSON have
        all steps, and lines of text have the current step.

        Args:
            job: the job or its id.
            style: the kind of view; `auto` depends on the output. See `bedrock_rft.metrics.Style`.
            timeout: seconds until `WaitTimeoutError`; None waits until the job ends.
            poll_interval: initial seconds between polls; the interval grows to six times this value.
            on_event: called once with each event, oldest first.
            trackers: record the job elsewhere; see `bedrock_rft.trackers`.
            thresholds: limits for alarms; see `bedrock_rft.metrics.Thresholds`.
            reward_range: lowest and highest value of the reward, the scale of the alarms; None if unknown.
            raise_on_failure: True raises if the job failed or was cancelled; False returns the job.
            file: stream to write to, instead of standard output.
            max_cost: a cost limit in the currency of the prices. It is compared with the published price for the
                time since the job was created, without rounding, at each poll.
            max_hours: a limit of hours since the job was created.
            on_limit: `warn` warns at 80 % of a limit and when it is reached. `cancel` also cancels the job when the
                limit is reached: a cancelled job cannot be resumed, and it is not known whether it is billed.
            prices: prices to use; by default `bedrock_rft.costs.Prices.load()`.
            rollouts: `s3://bucket/prefix` or a folder, to which the reward function records rollouts: panels and
                lines of text show three rollouts of the newest file, with the lowest, a middle and the highest reward.
            advice: if Ctrl-C interrupts the call, print how to resume.

        Raises:
            JobFailedError, JobCancelledError: the job ended without success; `.job` of the error is the job.
            WaitTimeoutError: the timeout expired; the job was not cancelled.
            ConfigurationError: `style`, `reward_range`, a limit or the prices are not valid.
            MissingExtraError: the view or a tracker needs a library that is not installed.
        """
        import asyncio

        from bedrock_rft.costs import Prices
        from bedrock_rft.costs._limits import CostLimits
        from bedrock_rft.metrics import Thresholds
        from bedrock_rft.metrics._live.state import State
        from bedrock_rft.metrics._live.view import view
        from bedrock_rft.metrics._reward_health import check_range
        from bedrock_rft.trackers._delivery import Delivery

        check_range(reward_range)
        live_view, delivery = view(style, file), Delivery(trackers)
        latest = None if rollouts is None else self.latest_rollouts(rollouts)
        budget = CostLimits(max_cost, max_hours, on_limit)
        state, limits, work = (
            State(prices=prices or Prices.load()),
            thresholds or Thresholds(),
            self._session.transport.run,
        )
        seen = isinstance(job, Job)
        try:
            async for poll in poll_until_done(self, job, interval=poll_interval, timeout=timeout, events=True):
                seen = True
                saved = await self._checkpoints_or_none(poll.job) if poll.events or poll.job.is_terminal else ()
                state, change = state.with_poll(poll.job, poll.events, saved, limits, reward_range)
                state, change = await self._check_limits(budget, state, change)
                if latest is not None:
                    state = replace(state, rollouts=await work(latest), rollouts_problem=latest.problem)
                live_view.show(state, change)
                await work(partial(delivery.take, change))
                for event in poll.events:
                    if on_event is not None:
                        on_event(event)
        except (KeyboardInterrupt, asyncio.CancelledError):
            if advice:
                live_view.leave(identifier(job, "job"), seen=seen)
            raise
        finally:
            live_view.close()
            await work(delivery.close)
        if raise_on_failure:
            _raise_unless_succeeded(state.job)
        return state.job

    async def _check_limits(self, budget: CostLimits, state: State, change: Change) -> tuple[State, Change]:
        """Return the state with the limits that are near or reached. Cancel the job if `budget` requires that."""
        if not budget.any or state.job.is_terminal or (cost := state.cost(time.time())) is None:
            return state, change
        found = [*budget.check(cost)]
        if budget.reached and budget.cancels:
            try:
                await cast("Any", self).cancel(state.job)
            except BedrockRFTError as error:  # the next poll tries again
                from bedrock_rft._core.findings import Finding  # slow to import

                remedy = "The next poll tries again"
                found.append(Finding("error", "not_cancelled", "The job was not cancelled", str(error), remedy))
        for finding in found:
            warn(f"Job {state.job.id}: {finding}")
        alarms = (*change.alarms, *found)
        return replace(state, limits=(*state.limits, *found)), replace(change, alarms=alarms)

    async def metrics(self, job: Job | str) -> Metrics:
        """Return the metrics of every training step so far, in order, with the checkpoints.

        The metrics are read from the events. Metrics without a step come last, in the order of the log.
        """
        from bedrock_rft.metrics import Metrics

        path = f"{JOBS}/{segment(job, 'job')}"
        events = [event async for event in self._pages(f"{path}/events", Event, page_query(None))]
        job_now = await self._send(Request("GET", path), Job)
        return Metrics.of(oldest_first(events), job_now, await self._checkpoints_or_none(job_now))

    async def best_checkpoint(
        self, job: Job | str, *, by: Literal["validation", "reward"] | Evaluated = "validation"
    ) -> Checkpoint:
        """Return the checkpoint of a job with the highest score; of equal scores, the earliest checkpoint.

        The best of several noisy scores is biased upwards, so evaluate the checkpoint on other prompts.
        `rank_checkpoints` has all scores and how they were obtained.

        Args:
            job: the job or its id.
            by: `validation` for the validation reward at the checkpoint, `reward` for the mean training reward of the
                ten steps up to the checkpoint, or an `Evaluation` of the job's checkpoints.

        Raises:
            ConfigurationError: the job has no checkpoints, or no checkpoint has a score.
        """
        return (await self.rank_checkpoints(job, by=by))[0].checkpoint

    async def rank_checkpoints(
        self, job: Job | str, *, by: Literal["validation", "reward"] | Evaluated = "validation"
    ) -> tuple[RankedCheckpoint, ...]:
        """Return the checkpoints of a job with their scores, the best first; see `best_checkpoint`."""
        from bedrock_rft.metrics._selection import rank_checkpoints

        return rank_checkpoints(await self.metrics(job), by)

    async def _checkpoints_or_none(self, job: Job) -> tuple[Checkpoint, ...]:
        """Return the checkpoints; no checkpoints if they cannot be read, because metrics are useful without them."""
        try:
            return tuple([one async for one in self.checkpoints(job)])
        except BedrockRFTError as error:
            log.warning("the checkpoints of job %s could not be read: %s", job.id, error)
            return ()

    async def compare(self, *jobs: Job | str | Metrics, labels: Sequence[str] | None = None) -> Comparison:
        """Compare the metrics of several jobs.

        Args:
            jobs: jobs, ids of jobs, or metrics that were read earlier.
            labels: names of the jobs. Default: their ids, with the hyperparameters that differ.
        """
        from bedrock_rft.metrics import Metrics, compare

        return compare(*[job if isinstance(job, Metrics) else await self.metrics(job) for job in jobs], labels=labels)

    def checkpoints(self, job: Job | str, *, limit: int | None = None) -> AsyncIterator[Checkpoint]:
        """Iterate over the checkpoints of a job, in the order of the service.

        Args:
            job: the job or its id.
            limit: items per page, 1 to 100. All items are returned in any case.
        """
        path = f"{JOBS}/{segment(job, 'job')}/checkpoints"
        return self._pages(path, Checkpoint, page_query(limit))


class Monitoring(Resource):
    """Read-only operations of `client.jobs`."""

    events = blocking_iter(AsyncMonitoring.events)
    follow = blocking_iter(AsyncMonitoring.follow)
    wait = blocking(AsyncMonitoring.wait)
    watch = blocking(AsyncMonitoring.watch)
    metrics = blocking(AsyncMonitoring.metrics)
    best_checkpoint = blocking(AsyncMonitoring.best_checkpoint)
    rank_checkpoints = blocking(AsyncMonitoring.rank_checkpoints)
    compare = blocking(AsyncMonitoring.compare)
    checkpoints = blocking_iter(AsyncMonitoring.checkpoints)


def _raise_unless_succeeded(job: Job) -> None:
    if job.status == "failed":
        problem = job.error
        code = f"{sanitize_line(problem.code, 100)}: " if problem and problem.code else ""
        why = sanitize_line((problem.message if problem else None) or "the service gave no reason", 1000)
        param = f" (param: {sanitize_line(problem.param, 100)})" if problem and problem.param else ""
        raise JobFailedError(f"Job {job.id} failed: {code}{why}{param} See client.jobs.events({job.id!r}).", job=job)
    if job.status == "cancelled":
        raise JobCancelledError(f"Job {job.id} was cancelled. It cannot be resumed. Create another job.", job=job)
