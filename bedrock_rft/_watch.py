"""A wait as durable as the job: it ends for the job's end, its own time limit, or a refusal that persists."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import tenacity

from bedrock_rft._create import JOBS
from bedrock_rft._resource import PAGE, AsyncResource, segment
from bedrock_rft._transport import Call
from bedrock_rft.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    WaitTimeoutError,
    plain,
    warn_once,
)
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job
from bedrock_rft.types.pages import Page

__all__ = ["Look", "watch"]

log = logging.getLogger("bedrock_rft")

_SLOWEST = 6.0  # times the first interval: 5 s becomes 30 s
_GROWTH = 1.3
_LONGEST = 60.0  # seconds between two tries while the service cannot be reached
_PATIENCE = 60.0  # seconds that a refusal, or a new job that is not found, is given
_CONFIRMATIONS = 3
_KNOWN = frozenset({"", "validating_files", "queued", "running", "succeeded", "failed", "cancelled"})
_Outlived = (APIConnectionError, APIResponseError, InternalServerError, RateLimitError)
_Refused = (AuthenticationError, PermissionDeniedError, ConfigurationError)


@dataclass(frozen=True)
class Look:
    """What one look at a job brought."""

    job: Job
    events: tuple[Event, ...] = ()


@dataclass
class _Trouble:
    """Failures since the last look that worked."""

    count: int = 0
    since: float = field(default_factory=time.monotonic)
    told: float = 0.0

    def again(self, error: BaseException, age: float | None) -> bool:
        """Whether to look again after an error. A connection or the service may be gone for long: the job goes on."""
        if self.count == 0:
            self.since = time.monotonic()
        self.count += 1
        lasted = time.monotonic() - self.since
        if isinstance(error, _Outlived):
            if self.count == 1 or time.monotonic() - self.told > _LONGEST:
                self.told = time.monotonic()
                log.warning("waiting goes on in spite of: %s", error)
            return True
        if isinstance(error, _Refused):
            return self.count < _CONFIRMATIONS and lasted < _PATIENCE
        if isinstance(error, NotFoundError):
            young = age is not None and age < _PATIENCE
            return young or self.count < _CONFIRMATIONS
        return False


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
    """
    _check(interval, timeout)
    path = f"{JOBS}/{segment(job, 'job')}"
    clock, trouble, pace = _Clock(timeout), _Trouble(), _Pace(interval)
    known = job if isinstance(job, Job) else None
    reader = _Reader(jobs, path, after)

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
            found = await jobs._send(Call("GET", path), Job)
            look = Look(found, await reader.fresh(last=found.is_terminal) if events else ())
        if look is None:
            if late and known is not None:
                raise _overdue(known, timeout)
            continue
        trouble.count, known = 0, look.job
        if look.job.status not in _KNOWN:
            warn_once(f"'{plain(look.job.status, 80)}' is a status this version does not know; waiting goes on.")
        yield look
        if look.job.is_terminal:
            return
        if late:
            raise _overdue(look.job, timeout)
        attempt.retry_state.set_result(None)


class _Reader:
    """Reads what is new in a job's log: each event once, oldest first, whatever order the service lists them in."""

    def __init__(self, jobs: AsyncResource, path: str, after: str | None) -> None:
        self._jobs = jobs
        self._path = f"{path}/events"
        self._seen: set[object] = set()
        self._after = after

    async def fresh(self, *, last: bool) -> tuple[Event, ...]:
        """The events that were not seen before.

        Pages are read until one brings nothing new. The last time all of them are, so that an event that appeared late
        among older ones is not lost.
        """
        found: list[tuple[Event, object]] = []
        cursor, asked = None, set[str]()
        while True:
            call = Call("GET", self._path, query={"limit": PAGE, "after": cursor})
            page = await self._jobs._send(call, Page[Event])
            keyed = [(event, event.id or event.model_dump_json()) for event in page.data]
            new = [(event, key) for event, key in keyed if key not in self._seen and key not in {k for _, k in found}]
            found += new
            cursor = next((event.id for event in reversed(page.data) if event.id), None)
            oldest_first = _ascending(page.data)
            if not page.has_more or cursor is None or cursor in asked:
                break
            if not new and not last and not oldest_first:
                break
            asked.add(cursor)
        events = _in_order([event for event, _ in found])
        self._seen.update(key for _, key in found)
        return self._resumed(events)

    def _resumed(self, events: list[Event]) -> tuple[Event, ...]:
        if self._after is None:
            return tuple(events)
        place = next((number for number, event in enumerate(events) if event.id == self._after), None)
        if place is None and events:
            log.warning("event %s is not in the log any more: following from its beginning", plain(self._after, 80))
        if events:
            self._after = None
        return tuple(events[place + 1 :] if place is not None else events)


def _ascending(events: tuple[Event, ...]) -> bool:
    times = [event.created_at for event in events if event.created_at is not None]
    return len(times) > 1 and times[0] < times[-1]


def _in_order(events: list[Event]) -> list[Event]:
    """Oldest first. Within a second, the order of the list decides, turned round where the list is newest first."""
    listed = events if _ascending(tuple(events)) else events[::-1]
    return sorted(listed, key=lambda event: event.created_at or 0)


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

    def age(self, job: Job | None) -> float | None:
        """Seconds since the job was created, where that is known."""
        return time.time() - job.created_at if job is not None and job.created_at is not None else None


class _Pace:
    """Seconds between looks."""

    def __init__(self, interval: float) -> None:
        self._next = self._interval = interval

    def after(self, error: BaseException | None, failures: int) -> float:
        if isinstance(error, APIError):
            asked: float = getattr(error, "retry_after", None) or 0.0
            backoff = min(_LONGEST, self._interval * 2.0**failures)
            if isinstance(error, (AuthenticationError, PermissionDeniedError, NotFoundError)):
                backoff = min(backoff, _PATIENCE / _CONFIRMATIONS)
            return max(asked, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = self._next * random.uniform(0.75, 1.0)  # noqa: S311 - jitter
        self._next = min(self._next * _GROWTH, self._interval * _SLOWEST)
        return pause


def _overdue(job: Job, timeout: float | None) -> WaitTimeoutError:
    return WaitTimeoutError(
        f"Job {job.id} is still {plain(job.status, 80) or 'running'} after {timeout:g} s. It goes on: wait again with "
        f"client.jobs.wait({job.id!r}), or stop it with client.jobs.cancel({job.id!r}).",
        job=job,
    )


def _check(interval: float, timeout: float | None) -> None:
    for name, value in (("poll_interval", interval), ("timeout", timeout)):
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigurationError(f"{name} must be a positive number of seconds.")
