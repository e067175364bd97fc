"""A wait as durable as the job: it ends for the job's end, its own time limit, or a refusal that persists."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import AsyncResource, Session, identifier, segment
from bedrock_rft._resources.create_job import JOBS
from bedrock_rft._resources.event_log import Log
from bedrock_rft._transport.retry import RetryBudget, send_with_retries
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    BedrockRFTError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    WaitTimeoutError,
)
from bedrock_rft.types._payload import Payload
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job

if TYPE_CHECKING:
    import tenacity

__all__ = ["Look", "left_alone", "watch"]

P = TypeVar("P", bound=Payload)

_SLOWEST = 6.0  # times the first interval: 5 s becomes 30 s
_GROWTH = 1.3
_LONGEST = 60.0  # seconds between two tries while the service cannot be reached
_PATIENCE = 60.0  # seconds that a refusal, or a new job that is not found, is given
_CONFIRMATIONS = 3
_KNOWN = frozenset({"", "validating_files", "queued", "running", "succeeded", "failed", "cancelled"})
_TIMED_OUT = 408
_DOUBLINGS = 20
_LONGEST_ASKED = 3600.0  # seconds that a Retry-After is believed


@dataclass(frozen=True)
class Look:
    """What one look at a job brought."""

    job: Job
    events: tuple[Event, ...] = ()


@dataclass
class _Trouble:
    """Failures since the last look that worked."""

    count: int = 0
    refusals: int = 0
    refused_since: float = 0.0
    told: float = 0.0

    def again(self, error: BaseException, age: float | None) -> bool:
        """Whether to look again after an error. A connection or the service may be gone for long: the job goes on."""
        now = time.monotonic()
        self.count += 1
        if _outlived(error):
            self.refusals = 0  # a refusal after an outage is a first one
            if self.count == 1 or now - self.told > _LONGEST:
                self.told = now
                log.warning("waiting goes on in spite of: %s", error)
            return True
        if not isinstance(error, (APIStatusError, ConfigurationError)):
            return False
        self.refusals += 1
        if self.refusals == 1:
            self.refused_since = now
        # Read after create may lag. By two clocks, since a job's age is told by the service's.
        young = age is not None and age < _PATIENCE and now - self.refused_since < _PATIENCE
        return self.refusals < _CONFIRMATIONS or (isinstance(error, NotFoundError) and young)

    def over(self) -> None:
        """A look worked."""
        self.count = self.refusals = 0


def _outlived(error: BaseException) -> bool:
    if isinstance(error, APIStatusError):
        return isinstance(error, (InternalServerError, RateLimitError)) or error.status == _TIMED_OUT
    return isinstance(error, (APIConnectionError, APIResponseError))


async def watch(
    jobs: AsyncResource,
    job: Job | str,
    *,
    interval: float,
    timeout: float | None,
    events: bool,
    after: str | None = None,
) -> AsyncIterator[Look]:
    """Look at a job until it ends, yielding each look that worked.

    Args:
        jobs: what asks.
        job: the job or its id.
        interval: seconds between the first looks; it grows to six times that. Jittered, so that many waits spread.
        timeout: seconds until `WaitTimeoutError`, by the wall clock or the monotonic one, whichever is over first, so
            that a machine that slept does not wait on. One more look is taken before giving up.
        events: fetch what is new in the log as well.
        after: the id of an event that was seen already, and with it all before it.

    Raises:
        WaitTimeoutError: time is over; the job is still running.
        AuthenticationError, PermissionDeniedError, ConfigurationError: refused three times in a row within a minute.
        NotFoundError: confirmed three times, and the job is not a new one.
        APIStatusError: any other refusal, confirmed three times.
    """
    import tenacity  # loaded when it is needed: it brings asyncio, which a blocking call can spare

    _check(interval, timeout)
    path = f"{JOBS}/{segment(job, 'job')}"
    clock, trouble, pace = _Clock(timeout), _Trouble(), _Pace(interval)
    known = job if isinstance(job, Job) else Job(id=identifier(job, "job"))
    ask = _Asker(jobs._session, clock)
    reader = Log(ask, path, after)

    def again(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return error is None or trouble.again(error, clock.age(known))

    looks = tenacity.AsyncRetrying(
        # Success is not the end either: only leaving the loop is.
        retry=again,
        wait=lambda state: clock.cut(pace.after(state.outcome.exception() if state.outcome else None, trouble.count)),
        sleep=jobs._session.transport.sleep,
        reraise=True,
    )
    async for attempt in looks:
        late = clock.over()
        look: Look | None = None
        with attempt:
            known = await ask(Request("GET", path), Job)
            look = Look(known, await reader.fresh(last=known.is_terminal) if events else ())
        if look is None:
            error = attempt.retry_state.outcome.exception() if attempt.retry_state.outcome else None
            if late and isinstance(error, BedrockRFTError):  # an interruption is none of a time limit's business
                raise _overdue(known, timeout, error) from error
            continue
        trouble.over()
        if look.job.status not in _KNOWN:
            warn_once(
                f"'{sanitize_line(look.job.status, 80)}' is a status this version does not know; waiting goes on."
            )
        yield look
        if look.job.is_terminal:
            return
        if late:
            raise _overdue(look.job, timeout)
        attempt.retry_state.set_result(None)


@contextlib.contextmanager
def left_alone(job: Job | str) -> Generator[None, None, None]:
    """Say what becomes of a job that somebody stops to wait for, by Ctrl-C or by cancelling the task that waits."""
    try:
        yield
    except BaseException as error:
        # An event loop turns Ctrl-C into a cancellation, which may also be a program's own way of going on.
        level = {"KeyboardInterrupt": logging.WARNING, "CancelledError": logging.INFO}.get(type(error).__name__)
        if level is not None:
            log.log(
                level,
                "job %s goes on: wait again with client.jobs.wait(%r), stop it with client.jobs.cancel(%r)",
                *[identifier(job, "job")] * 3,
            )
        raise


class _Asker:
    """Asks for a wait: its retries cost other calls nothing, and its pauses end with its time."""

    def __init__(self, session: Session, clock: _Clock) -> None:
        self._session = session
        self._clock = clock
        self._budget = RetryBudget()

    async def __call__(self, call: Request, model: type[P]) -> P:
        session = self._session
        reply = await send_with_retries(session.transport, call, session.config, self._budget, sleep=self._sleep)
        return parse_response(model, reply, call, session.config)

    async def _sleep(self, seconds: float) -> None:
        await self._session.transport.sleep(self._clock.cut(seconds))


class _Clock:
    """A time limit by two clocks: the monotonic one may stand still while a machine sleeps."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._monotonic, self._wall = time.monotonic(), time.time()

    def _spent(self) -> float:
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)

    def over(self) -> bool:
        return self._limit is not None and self._spent() >= self._limit

    def cut(self, pause: float) -> float:
        return pause if self._limit is None else max(0.0, min(pause, self._limit - self._spent()))

    def age(self, job: Job) -> float | None:
        """Seconds since the job was created, where that is known."""
        return time.time() - job.created_at if job.created_at is not None else None


class _Pace:
    """Seconds between looks."""

    def __init__(self, interval: float) -> None:
        self._next = self._interval = interval

    def after(self, error: BaseException | None, failures: int) -> float:
        if error is not None:
            asked: float = getattr(error, "retry_after", None) or 0.0
            backoff = min(_LONGEST, self._interval * 2.0 ** min(failures, _DOUBLINGS))
            if not _outlived(error):
                backoff = min(backoff, _PATIENCE / _CONFIRMATIONS)
            return max(min(asked, _LONGEST_ASKED), backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = self._next * random.uniform(0.75, 1.0)  # noqa: S311 - jitter
        self._next = min(self._next * _GROWTH, self._interval * _SLOWEST)
        return pause


def _overdue(job: Job, timeout: float | None, error: BaseException | None = None) -> WaitTimeoutError:
    why = f" The last look failed: {sanitize_line(str(error), 600)}" if error else ""
    return WaitTimeoutError(
        f"Job {job.id} is still {sanitize_line(job.status, 80) or 'running'} after {timeout:g} s, as far as is known. It goes "
        f"on: wait again with client.jobs.wait({job.id!r}), or stop it with client.jobs.cancel({job.id!r}).{why}",
        job=job,
    )


def _check(interval: float, timeout: float | None) -> None:
    for name, value in (("poll_interval", interval), ("timeout", timeout)):
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigurationError(f"{name} must be a positive number of seconds.")
