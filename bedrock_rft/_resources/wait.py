"""Poll a job until it ends; tolerate outages."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn, warn_once
from bedrock_rft._resources.base import AsyncResource, identifier, segment
from bedrock_rft._resources.create_job import JOBS
from bedrock_rft._resources.event_log import EventLog
from bedrock_rft._transport.retry import RetryBudget, send_with_retries
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    BedrockRFTError,
    BedrockRFTWarning,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    WaitTimeoutError,
)
from bedrock_rft.types._payload import Payload
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job

P = TypeVar("P", bound=Payload)

_MAX_INTERVAL_FACTOR = 6.0  # by default, the interval grows from 5 s to 30 s
_GROWTH = 1.3
_MAX_BACKOFF = 60.0  # seconds between polls while the service cannot be reached
_REJECTION_PERIOD = 60.0  # seconds after which a rejection, or a new job that is not found, is final
_CONFIRMATIONS = 3
_UNKNOWN_JOB_PAUSE = 3.0  # seconds between polls of an id that was never found, because it may be mistyped
_KNOWN_STATUS = frozenset({"", "validating_files", "queued", "running", "succeeded", "failed", "cancelled"})
_REQUEST_TIMEOUT = 408
_MAX_DOUBLINGS = 20
_MAX_RETRY_AFTER = 3600.0  # seconds; a larger Retry-After is ignored
# Reasons of connection errors that time does not cure. An unknown host may be an outage once it was reached before.
_PERMANENT = frozenset({"certificate", "header"})
_PERMANENT_AT_FIRST = frozenset({"certificate", "header", "dns"})


class Poll(NamedTuple):
    """Result of one poll: the job and its new events."""

    job: Job
    events: tuple[Event, ...] = ()


@dataclass
class FailureTracker:
    """Failures since the last successful poll, and the decision to poll again."""

    job_id: str
    seen: bool = False
    """True after a successful poll."""
    count: int = 0
    since: float = 0.0
    """Unix time in seconds of the first failure."""
    rejections: int = 0
    rejected_since: float = 0.0
    warned_at: float = 0.0

    def poll_again(self, error: BaseException, age: float | None) -> bool:
        """Return whether to poll again after an error. The service may be unreachable for long while the job runs."""
        now = time.monotonic()
        self.count += 1
        if self.count == 1:
            self.since = time.time()
        if self._is_permanent(error):
            return False
        if _is_outage(error):
            self.rejections = 0  # a rejection after an outage is the first one
            self._warn(error, now)
            return True
        if not isinstance(error, (APIStatusError, ConfigurationError)):
            return False
        self.rejections += 1
        if self.rejections == 1:
            self.rejected_since = now
        # A new job may not be readable yet. Its age depends on the clock of the service, so this machine's clock is
        # checked too.
        young = age is not None and age < _REJECTION_PERIOD and now - self.rejected_since < _REJECTION_PERIOD
        log.info("polling job %s was rejected: %s", self.job_id, error)
        return self.rejections < _CONFIRMATIONS or (isinstance(error, NotFoundError) and young)

    def reset(self) -> None:
        """Record a successful poll."""
        if self.warned_at:
            log.warning("polling job %s works again", self.job_id)
        self.seen = True
        self.count = self.rejections = 0
        self.warned_at = 0.0

    def _is_permanent(self, error: BaseException) -> bool:
        if isinstance(error, APIConnectionError):
            return error.reason in (_PERMANENT if self.seen else _PERMANENT_AT_FIRST)
        return isinstance(error, ConfigurationError) and not self.seen

    def _warn(self, error: BaseException, now: float) -> None:
        """Log the first failure. Warn visibly at the second one, then at most once a minute."""
        if self.count == 1:
            log.info("polling job %s failed: %s", self.job_id, error)
            return
        if self.warned_at and now - self.warned_at <= _MAX_BACKOFF:
            return
        self.warned_at = now
        state = (
            "its last known state may be outdated" if self.seen else "no poll has succeeded, so its state is unknown"
        )
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        # If warnings are configured to be errors, waiting continues anyway; the log has the text.
        with contextlib.suppress(BedrockRFTWarning):
            warn(
                f"Job {self.job_id} could not be polled since {since} ({self.count} attempts); {state}. Polling "
                f"continues. The last error: {sanitize_line(str(error), 600)}"
            )
        log.warning("polling job %s has failed since %s: %s", self.job_id, since, error)


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, APIStatusError):
        return isinstance(error, (InternalServerError, RateLimitError)) or error.status == _REQUEST_TIMEOUT
    return isinstance(error, (APIConnectionError, APIResponseError))


async def poll_until_done(
    jobs: AsyncResource,
    job: Job | str,
    *,
    interval: float,
    timeout: float | None,
    events: bool,
    after: str | None = None,
) -> AsyncIterator[Poll]:
    """Yield each successful poll of a job, with its new events after `after` if `events`, until the job ends."""
    # After the timeout, one more poll is made. A problem that time does not solve is raised at once, a rejected or
    # unsent request at the third failure in a row, and a new job that is not found after a minute.
    _check_seconds(interval, timeout)
    path = f"{JOBS}/{segment(job, 'job')}"
    known = job if isinstance(job, Job) else Job(id=identifier(job, "job"))
    clock, failures, intervals = _Clock(timeout), FailureTracker(known.id), _Intervals(interval)
    session, budget = jobs._session, RetryBudget()

    async def sleep(seconds: float) -> None:
        await session.transport.sleep(clock.limit(seconds))

    async def fetch(request: Request, model: type[P]) -> P:
        response = await send_with_retries(session.transport, request, session.config, budget, sleep=sleep)
        return parse_response(model, response, request, session.config)

    event_log = EventLog(fetch, path, after)

    while True:
        late = clock.is_over()
        problem: BedrockRFTError | None = None
        try:
            known = await fetch(Request("GET", path), Job)
            poll = Poll(known, await event_log.new_events(final=known.is_terminal) if events else ())
        except BedrockRFTError as error:
            if late:
                raise _timeout_error(known, timeout, seen=failures.seen, error=error) from error
            if not failures.poll_again(error, clock.age(known)):
                raise
            problem = error
        else:
            failures.reset()
            _warn_if_unknown(known.status)
            yield poll
            if known.is_terminal:
                return
            if late:
                raise _timeout_error(known, timeout, seen=True)
        await sleep(intervals.next_pause(problem, failures.count, exists=known.created_at is not None))


def _warn_if_unknown(status: str) -> None:
    if status not in _KNOWN_STATUS:
        warn_once(f"Unknown job status '{sanitize_line(status, 80)}'. Polling continues until a final status.")


@contextlib.contextmanager
def log_job_continues(job: Job | str) -> Generator[None, None, None]:
    """Log that a job is not cancelled if waiting is interrupted by Ctrl-C or by cancelling the task."""
    try:
        yield
    except BaseException as error:
        # An event loop turns Ctrl-C into a cancellation, but programs cancel tasks for other reasons too.
        level = {"KeyboardInterrupt": logging.WARNING, "CancelledError": logging.INFO}.get(type(error).__name__)
        if level is not None:
            log.log(
                level,
                "stopped waiting, but job %s is not cancelled: resume with client.jobs.wait(%r), or cancel the job "
                "with client.jobs.cancel(%r)",
                *[identifier(job, "job")] * 3,
            )
        raise


class _Clock:
    """A timeout by two clocks, because the monotonic clock may stop while the machine is suspended."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._monotonic, self._wall = time.monotonic(), time.time()

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)

    def is_over(self) -> bool:
        return self._timeout is not None and self._elapsed() >= self._timeout

    def limit(self, pause: float) -> float:
        return pause if self._timeout is None else max(0.0, min(pause, self._timeout - self._elapsed()))

    def age(self, job: Job) -> float | None:
        """Return seconds since the job was created, if known."""
        return time.time() - job.created_at if job.created_at is not None else None


class _Intervals:
    """Seconds between polls."""

    def __init__(self, interval: float) -> None:
        self._next = self._interval = interval

    def next_pause(self, error: BaseException | None, failures: int, *, exists: bool = True) -> float:
        if error is not None:
            requested: float = getattr(error, "retry_after", None) or 0.0
            backoff = min(_MAX_BACKOFF, self._interval * 2.0 ** min(failures, _MAX_DOUBLINGS))
            if not _is_outage(error):
                mistyped = isinstance(error, NotFoundError) and not exists
                backoff = min(backoff, _UNKNOWN_JOB_PAUSE if mistyped else _REJECTION_PERIOD / _CONFIRMATIONS)
            return max(min(requested, _MAX_RETRY_AFTER), backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = self._next * random.uniform(0.75, 1.0)  # noqa: S311 - jitter
        self._next = min(self._next * _GROWTH, self._interval * _MAX_INTERVAL_FACTOR)
        return pause


def _timeout_error(
    job: Job, timeout: float | None, *, seen: bool, error: BaseException | None = None
) -> WaitTimeoutError:
    cause = f" The last poll failed: {sanitize_line(str(error), 600)}" if error else ""
    state = (
        f"Job {job.id} is still {sanitize_line(job.status, 80) or 'running'} after {timeout:g} s, as far as is known."
        if seen
        else f"Job {job.id} could not be polled within {timeout:g} s, so its state is unknown."
    )
    return WaitTimeoutError(
        f"{state} The job was not cancelled: resume with client.jobs.wait({job.id!r}), or cancel the job with "
        f"client.jobs.cancel({job.id!r}).{cause}",
        job=job,
    )


def _check_seconds(interval: float, timeout: float | None) -> None:
    for name, value in (("poll_interval", interval), ("timeout", timeout)):
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigurationError(f"{name} must be a positive number of seconds.")
