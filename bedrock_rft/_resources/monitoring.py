"""What a job says while it runs, and once it has ended: its log, its numbers, its models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TextIO

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._resources.base import AsyncResource, Resource, blocking, blocking_iter, identifier, limited, segment
from bedrock_rft._resources.create_job import JOBS
from bedrock_rft._resources.event_log import oldest_first
from bedrock_rft._resources.wait import left_alone, watch
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import BedrockRFTError, JobCancelledError, JobFailedError
from bedrock_rft.metrics import Comparison, Metrics, compare
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job

if TYPE_CHECKING:
    from bedrock_rft.metrics import Thresholds
    from bedrock_rft.metrics._live import Style
    from bedrock_rft.trackers import Tracker

__all__ = ["AsyncRuns", "Runs"]


class AsyncRuns(AsyncResource):
    """The part of `client.jobs` that looks and does not touch."""

    def events(self, job: Job | str, *, after: str | None = None, limit: int | None = None) -> AsyncIterator[Event]:
        """Every event of a job, once, as the service orders them: newest first. `follow` turns them round.

        Args:
            job: the job or its id.
            after: the id of an event to begin behind, in the service's order.
            limit: how many to ask for at once, up to 100. All of them come, whatever it is.
        """
        path = f"{JOBS}/{segment(job, 'job')}/events"
        return self._pages(path, Event, limited(limit), after=after)

    async def follow(
        self, job: Job | str, *, after: str | None = None, timeout: float | None = None, poll_interval: float = 5.0
    ) -> AsyncIterator[Event]:
        """Every event of a job once, oldest first, as they come, until the job has ended.

        Outages do not end it. Stopping to iterate leaves the job alone.

        Args:
            job: the job or its id.
            after: the id of the last event seen earlier: following goes on behind it.
            timeout: seconds until `WaitTimeoutError`; None for as long as the job takes.
            poll_interval: seconds between the first looks; the pause grows to six times that.
        """
        looks = watch(self, job, interval=poll_interval, timeout=timeout, events=True, after=after)
        with left_alone(job):
            async for look in looks:
                for event in look.events:
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
        """Wait until a job has ended. The job is never cancelled by it: Ctrl-C leaves the job running.

        Outages, expired credentials that are renewed, and a machine that slept do not end it.

        Args:
            job: the job or its id.
            timeout: seconds until `WaitTimeoutError`; None for as long as the job takes.
            poll_interval: seconds between the first looks; the pause grows to six times that.
            on_event: called with each event once, oldest first.
            raise_on_failure: raise for a job that failed or was cancelled, rather than return it.

        Raises:
            JobFailedError, JobCancelledError: with the job as `.job`.
            WaitTimeoutError: the job is still running.
        """
        ended: Job | None = None
        with left_alone(job):
            async for look in watch(self, job, interval=poll_interval, timeout=timeout, events=on_event is not None):
                ended = look.job
                for event in look.events:
                    if on_event is not None:
                        on_event(event)
        if ended is None:
            raise RuntimeError("A watch ended without a look.")
        if raise_on_failure:
            _raise_for(ended)
        return ended

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
        raise_on_failure: bool = True,
        file: TextIO | None = None,
    ) -> Job:
        """Wait until a job has ended, and show how it goes: a panel in a notebook or a terminal, or lines of text.

        Status, steps, elapsed time and time left, the curves so far, the last messages, and an alarm where the numbers
        say that something is wrong. As with `wait`, the job is never cancelled by it: Ctrl-C leaves the job running,
        and says how to come back. Watched again, a job is shown from its beginning.

        Args:
            job: the job or its id.
            style: how to show it; `auto` is told from where the output goes. See `bedrock_rft.metrics._live.Style`.
            timeout: seconds until `WaitTimeoutError`; None for as long as the job takes.
            poll_interval: seconds between the first looks; the pause grows to six times that.
            on_event: called with each event once, oldest first.
            trackers: what records the run besides; see `bedrock_rft.trackers`.
            thresholds: from where on something is wrong; see `bedrock_rft.metrics.Thresholds`.
            raise_on_failure: raise for a job that failed or was cancelled, rather than return it.
            file: where to write, instead of standard output.

        Raises:
            JobFailedError, JobCancelledError: with the job as `.job`.
            WaitTimeoutError: the job is still running.
            MissingExtraError: the style or a tracker needs a library that is not installed.
        """
        import asyncio

        from bedrock_rft.metrics import Thresholds
        from bedrock_rft.metrics._live.state import State
        from bedrock_rft.metrics._live.view import view
        from bedrock_rft.trackers._delivery import Delivery

        shown, told = view(style, file), Delivery(trackers)
        state, limits, work = State(), thresholds or Thresholds(), self._session.transport.run
        try:
            async for look in watch(self, job, interval=poll_interval, timeout=timeout, events=True):
                saved = await self._saved(look.job) if look.events or look.job.is_terminal else ()
                state, change = state.after(look.job, look.events, saved, limits)
                shown.show(state, change)
                await work(partial(told.take, change))
                for event in look.events:
                    if on_event is not None:
                        on_event(event)
        except (KeyboardInterrupt, asyncio.CancelledError):
            shown.leave(identifier(job, "job"))
            raise
        finally:
            shown.close()
            await work(told.close)
        if raise_on_failure:
            _raise_for(state.job)
        return state.job

    async def metrics(self, job: Job | str) -> Metrics:
        """The numbers of every training step so far, once each, first step first, with the checkpoints.

        They come from the job's events; numbers without a step come last, in the order of the log.
        """
        path = f"{JOBS}/{segment(job, 'job')}"
        events = [event async for event in self._pages(f"{path}/events", Event, limited(None))]
        now = await self._send(Request("GET", path), Job)
        return Metrics.of(oldest_first(events), now, await self._saved(now))

    async def _saved(self, job: Job) -> tuple[Checkpoint, ...]:
        """The checkpoints, or none where they cannot be had: the numbers are worth having without."""
        try:
            return tuple([one async for one in self.checkpoints(job)])
        except BedrockRFTError as error:
            log.warning("the checkpoints of job %s could not be read: %s", job.id, error)
            return ()

    async def compare(self, *jobs: Job | str | Metrics, labels: Sequence[str] | None = None) -> Comparison:
        """The metrics of several jobs over one another.

        Args:
            jobs: jobs, their ids, or metrics that were read before.
            labels: what to call them; else their ids, with the hyperparameters in which they differ.
        """
        return compare(*[job if isinstance(job, Metrics) else await self.metrics(job) for job in jobs], labels=labels)

    def checkpoints(self, job: Job | str, *, limit: int | None = None) -> AsyncIterator[Checkpoint]:
        """Every model saved on the way, as the service orders them.

        Args:
            job: the job or its id.
            limit: how many to ask for at once, up to 100. All of them come, whatever it is.
        """
        path = f"{JOBS}/{segment(job, 'job')}/checkpoints"
        return self._pages(path, Checkpoint, limited(limit))


class Runs(Resource):
    """The part of `client.jobs` that looks and does not touch."""

    events = blocking_iter(AsyncRuns.events)
    follow = blocking_iter(AsyncRuns.follow)
    wait = blocking(AsyncRuns.wait)
    watch = blocking(AsyncRuns.watch)
    metrics = blocking(AsyncRuns.metrics)
    compare = blocking(AsyncRuns.compare)
    checkpoints = blocking_iter(AsyncRuns.checkpoints)


def _raise_for(job: Job) -> None:
    if job.status == "failed":
        problem = job.error
        code = f"{sanitize_line(problem.code, 100)}: " if problem and problem.code else ""
        why = sanitize_line((problem.message if problem else None) or "the service did not say why", 1000)
        param = f" (param: {sanitize_line(problem.param, 100)})" if problem and problem.param else ""
        raise JobFailedError(f"Job {job.id} failed: {code}{why}{param} See client.jobs.events({job.id!r}).", job=job)
    if job.status == "cancelled":
        raise JobCancelledError(f"Job {job.id} was cancelled. It cannot be resumed: create another.", job=job)
