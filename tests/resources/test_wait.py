"""Waiting continues during outages, ends when it should, and returns each event once, oldest first."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.fault_client import KEY, MODEL, WAYS, Caller, ctrl_c
from support.fault_server import Exchange, Fault, Faults, always, answer, close, edited, html, reset, slow, status

from bedrock_rft import AsyncClient, Client
from bedrock_rft._resources import wait as _watch
from bedrock_rft._transport import http
from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTWarning,
    ConfigurationError,
    InternalServerError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    WaitTimeoutError,
)
from bedrock_rft.types.events import Event
from bedrock_rft.types.jobs import Job

JOB = "/fine_tuning/jobs/ftjob-1"
EVENTS = f"{JOB}/events"
# The client and the other parameters are tried in pairs: they do not depend on each other above the transport.
pytestmark = pytest.mark.pairwise(identity=True)
row = pytest.mark.row
LONG = 10.0  # seconds: the interrupted waits would take a minute, and a busy machine is slow
LONG_AGO = 1_700_000_000
DENIED = {"error": {"code": "access_denied", "message": "No.", "type": "permission_denied_error"}}


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        faults.add_job(model=MODEL, created_at=LONG_AGO)
        yield faults


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, *request.param)
    yield caller
    caller.check_identity()


@pytest.fixture(params=["api_key", "aws"])
def sync_caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, request.param, "sync")
    yield caller
    caller.check_identity()


def wait(**settings: Any) -> Callable[[Any], Any]:
    given: dict[str, Any] = {"poll_interval": 0.01, **settings}
    return lambda client: client.jobs.wait("ftjob-1", **given)


def retrieve() -> Callable[[Any], Any]:
    return lambda client: client.jobs.retrieve("ftjob-1")


def follow(**settings: Any) -> Callable[[Any], Any]:
    given: dict[str, Any] = {"poll_interval": 0.01, **settings}
    return lambda client: client.jobs.follow("ftjob-1", **given)


def set_statuses(server: Faults, *statuses: str) -> None:
    server.jobs[0].statuses = list(statuses)


def event_ids(events: Iterable[Event]) -> list[str]:
    return [event.id for event in events]


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "object": "fine_tuning.job.event",
        "created_at": LONG_AGO + number,
        "level": "info",
        "message": f"Step {number}",
        "type": "metrics",
        "data": {"step": number, "total_steps": 9, "critic_rewards_mean": number / 10},
        **fields,
    }


def events(*numbers: int, **fields: Any) -> list[dict[str, Any]]:
    return [event(number, **fields) for number in numbers]


def page(data: Any, **fields: Any) -> Fault:
    return status(200, {"object": "list", "data": data, **fields})


# Outages.


@row("W02")
@pytest.mark.parametrize(("mode", "client_kind"), WAYS)
def test_a_wait_continues_while_the_service_is_down(mode: str, client_kind: str) -> None:
    """Keep the port closed for longer than a request is retried."""
    with Faults(up=False) as late:
        late.add_job()
        timer = threading.Timer(0.3, late.start_listening)
        timer.start()
        try:
            assert Caller(late, mode, client_kind)(wait(poll_interval=0.001)).status == "succeeded"
        finally:
            timer.join()


@row("W06")
def test_a_wait_continues_if_the_status_goes_back(caller: Caller) -> None:
    set_statuses(caller.server, "running", "queued", "validating_files", "running", "succeeded")
    assert caller(wait()).status == "succeeded"


@row("W10")
def test_time_asleep_counts_towards_the_timeout(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """During sleep only the wall clock advances, so the timeout passes; a last poll follows."""
    slept = SimpleNamespace(**{name: getattr(time, name) for name in ("monotonic", "time", "sleep")})
    monkeypatch.setattr(_watch, "time", slept)
    set_statuses(caller.server, "running", "succeeded")

    def sleeps(exchange: Exchange) -> None:
        answer(exchange)
        slept.time = lambda: time.time() + 7200

    caller.server.script("GET", JOB, [sleeps])
    assert caller(wait(timeout=3600, poll_interval=0.01)).status == "succeeded"
    assert len(caller.server.requests) == 2

    set_statuses(caller.server, "running")
    slept.time = time.time
    caller.server.script("GET", JOB, [sleeps])
    assert "3600 s" in str(caller.fails(WaitTimeoutError, wait(timeout=3600, poll_interval=0.01)))


@row("W01")
@pytest.mark.parametrize(
    "fault", [status(503), status(500), status(408), status(429), close, reset, html(200), html(302)]
)
def test_a_wait_survives_twelve_errors_in_a_row(caller: Caller, fault: Fault) -> None:
    caller.server.script("GET", JOB, [fault] * 12)
    assert caller(wait(poll_interval=0.00002)).status == "succeeded"


@row("W03")
def test_follow_returns_all_events_if_every_second_response_is_lost(caller: Caller) -> None:
    set_statuses(caller.server, *["running"] * 6, "succeeded")
    caller.server.log = events(3, 2, 1)
    caller.server.script("GET", JOB, [answer, reset] * 10)
    caller.server.script("GET", EVENTS, [reset, answer] * 10)
    assert event_ids(caller(follow())) == ["e1", "e2", "e3"]


def test_two_rejections_do_not_end_a_wait(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", JOB, [status(403, DENIED), status(401, DENIED)])
    assert sync_caller(wait()).status == "succeeded"


def test_an_outage_resets_the_count_of_rejections(sync_caller: Caller) -> None:
    sync_caller.server.script(
        "GET", JOB, [close] * 12 + [status(403, DENIED)] * 2 + [close] * 3 + [status(403, DENIED)] * 2
    )
    assert sync_caller(wait(poll_interval=0.00002)).status == "succeeded"


@row("W13")
def test_a_new_job_that_is_not_found_at_first_is_waited_for(caller: Caller) -> None:
    new = Job(id="ftjob-1", created_at=int(time.time()))
    caller.server.script("GET", JOB, [status(404)] * 5)
    assert caller(lambda client: client.jobs.wait(new, poll_interval=0.001)).status == "succeeded"


@row("W05")
@pytest.mark.filterwarnings("default::bedrock_rft.errors.BedrockRFTWarning")
def test_an_unknown_status_warns_once_and_the_wait_continues(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "pausing", "pausing", "pausing", "succeeded")
    with pytest.warns(BedrockRFTWarning, match="pausing") as caught:
        assert sync_caller(wait()).status == "succeeded"
    assert len(caught) == 1


@row("W12")
def test_a_wait_respects_retry_after(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running", "succeeded")
    sync_caller.server.script("GET", JOB, [answer, status(429, b"", {"Retry-After": "1"})])
    assert sync_caller(wait()).status == "succeeded"
    _, asked, then = sync_caller.server.sent("GET", JOB)
    assert 1 <= then.at - asked.at < 1.9


def test_an_outage_during_a_wait_leaves_retries_for_other_calls(
    sync_caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retry.RetryBudget.__init__, "__defaults__", (15,))
    sync_caller.server.script("GET", JOB, [status(503)] * 12)
    sync_caller.server.script("GET", "/models", [status(503)] * 2)
    sync_caller(wait(poll_interval=0.00001), lambda client: client.models.list())
    assert len(sync_caller.server.sent("GET", "/models")) == 3


def test_temporarily_unavailable_credentials_do_not_end_a_wait(server: Faults) -> None:
    asked: list[int] = []

    def key() -> str:
        asked.append(1)
        if len(asked) in {2, 3}:
            raise ConfigurationError("The key store is locked.")
        return KEY

    set_statuses(server, "running", "running", "succeeded")
    with Client("us-west-2", base_url=server.base_url, api_key=key) as client:
        assert wait()(client).status == "succeeded"


def test_a_repeated_failure_warns_once(sync_caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    sync_caller.server.script("GET", JOB, [status(503)] * 12)
    with pytest.warns(BedrockRFTWarning, match=r"Job ftjob-1 could not be polled since \d\d:\d\d:\d\d") as caught:
        sync_caller(wait())
    assert len(caught) == 1
    assert sum("polling job ftjob-1 has failed since" in record.getMessage() for record in caplog.records) == 1


def test_a_long_outage_warns_once_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = SimpleNamespace(now=1000.0)
    fake = SimpleNamespace(**{name: getattr(time, name) for name in ("time", "strftime", "localtime")})
    fake.monotonic = lambda: clock.now
    monkeypatch.setattr(_watch, "time", fake)
    trouble = _watch.FailureTracker("ftjob-1")
    with pytest.warns(BedrockRFTWarning) as caught:  # noqa: PT031 - the loop causes the warnings
        for _ in range(60):  # ten minutes
            assert trouble.poll_again(InternalServerError("x", status=503), None)
            clock.now += 10.0
    assert 8 <= len(caught) <= 10
    assert 8 <= len(caplog.messages) <= 10


@pytest.mark.parametrize("failures", [1, 50, 5000])
def test_the_poll_interval_is_bounded_during_an_outage(failures: int) -> None:
    pace = _watch._Intervals(5.0)
    assert 0 < pace.next_pause(InternalServerError("x", status=503), failures) <= 60
    assert 0 < pace.next_pause(NotFoundError("x", status=404), failures) <= 20
    assert 0 < pace.next_pause(NotFoundError("x", status=404), failures, exists=False) <= 3, "a mistyped id"
    assert pace.next_pause(RateLimitError("x", status=429, retry_after=90.0), failures) == 90
    assert pace.next_pause(RateLimitError("x", status=429, retry_after=1e30), failures) <= 3600


def test_the_poll_interval_grows_and_has_jitter() -> None:
    pauses = [_watch._Intervals(5.0).next_pause(None, 0) for _ in range(50)]
    assert len(set(pauses)) > 1
    pace = _watch._Intervals(5.0)
    pauses = [pace.next_pause(None, 0) for _ in range(50)]
    assert 3.75 <= pauses[0] <= 5
    assert min(pauses[10:]) >= 22.5
    assert max(pauses) <= 30


# Ends of a wait.


@pytest.mark.parametrize(
    ("fault", "kind", "polls"),
    [
        pytest.param(status(404), NotFoundError, 3, marks=row("W04")),
        (status(403, DENIED), PermissionDeniedError, 3),
        (status(401), AuthenticationError, 3),
        (status(400), BadRequestError, 3),
    ],
)
def test_a_persistent_rejection_ends_a_wait(
    caller: Caller, fault: Fault, kind: type[APIStatusError], polls: int
) -> None:
    caller.server.script("GET", JOB, always(fault))
    error = caller.fails(kind, wait())
    assert "ftjob-1" in str(error)
    assert len(caller.server.requests) == polls


@row("W04")
def test_a_job_that_disappears_ends_a_wait(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running")
    sync_caller.server.script("GET", JOB, [answer, answer, *[status(404)] * 3])
    assert "ftjob-1" in str(sync_caller.fails(NotFoundError, wait()))


def test_a_new_job_that_is_never_found_ends_a_wait(sync_caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "_REJECTION_PERIOD", 0.3)
    sync_caller.server.script("GET", JOB, always(status(404)))

    new = Job(id="ftjob-1", created_at=int(time.time()) + 1)  # the service's clock is ahead
    began = time.monotonic()
    sync_caller.fails(NotFoundError, lambda client: client.jobs.wait(new, poll_interval=0.01))
    assert time.monotonic() - began < 5


@row("W07")
def test_a_failed_job_raises_with_its_reason(caller: Caller) -> None:
    set_statuses(caller.server, "running", "failed")
    problem = {"code": "invalid_training_file", "message": "Line 7\x1b[31m is bad.", "param": "training_file"}
    caller.server.jobs[0].fields["error"] = problem
    error = caller.fails(JobFailedError, wait())
    for part in ("ftjob-1", "invalid_training_file", "Line 7\\x1b[31m is bad.", "param: training_file"):
        assert part in str(error)
    assert error.job.error is not None
    assert error.job.error.code == "invalid_training_file"
    assert (error.job_id, error.status, error.error) == ("ftjob-1", "failed", error.job.error)


@row("W08")
def test_a_cancelled_job_raises(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running", "cancelled")
    error = sync_caller.fails(JobCancelledError, wait())
    assert "cancelled" in str(error)
    assert (error.job_id, error.status, error.error) == ("ftjob-1", "cancelled", None)


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_raise_on_failure_false_returns_failed_and_cancelled_jobs(sync_caller: Caller, ending: str) -> None:
    set_statuses(sync_caller.server, "running", ending)
    assert sync_caller(wait(raise_on_failure=False)).status == ending


def test_a_failed_job_without_a_reason_raises(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "failed")
    assert "gave no reason" in str(sync_caller.fails(JobFailedError, wait()))


# Timeouts.


@row("W09")
def test_a_wait_times_out_without_cancelling_the_job(caller: Caller) -> None:
    set_statuses(caller.server, "running")
    began = time.monotonic()
    error = caller.fails(WaitTimeoutError, wait(timeout=0.3))
    assert 0.3 <= time.monotonic() - began < 2
    assert isinstance(error, TimeoutError)
    assert error.job.status == "running"
    for part in ("ftjob-1", "running", "0.3 s", "client.jobs.wait(", "client.jobs.cancel("):
        assert part in str(error)
    assert not caller.server.sent("POST")


def test_a_last_poll_is_made_at_the_time_limit(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running", "succeeded")
    assert sync_caller(wait(timeout=0.3, poll_interval=60)).status == "succeeded"
    assert len(sync_caller.server.requests) == 2


@row("W11")
def test_a_wait_for_a_job_without_a_status_times_out(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", JOB, always(edited(lambda job: {"id": job["id"]})))
    assert sync_caller.fails(WaitTimeoutError, wait(timeout=0.2)).job.status == ""


@pytest.mark.parametrize(
    "fault",
    [
        close,
        status(503),
        status(404),
        pytest.param(status(503, b"", {"Retry-After": "60"}), marks=row("W14")),
        pytest.param(status(429, b"", {"Retry-After": "9999"}), marks=row("W14")),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_a_wait_times_out_during_an_outage(sync_caller: Caller, fault: Fault, seen: bool) -> None:
    set_statuses(sync_caller.server, "running")
    sync_caller.server.script("GET", JOB, [answer] if seen else [])
    sync_caller.server.script("GET", JOB, always(fault))
    began = time.monotonic()
    error = sync_caller.fails(WaitTimeoutError, wait(timeout=0.1, poll_interval=0.05))
    assert time.monotonic() - began < 2
    assert "last poll failed" in str(error)
    assert error.job.id == "ftjob-1"
    assert isinstance(error.__cause__, Exception)
    assert len(sync_caller.server.requests) < 20


@pytest.mark.parametrize("bad", [0, -1, math.nan, "5"])
@pytest.mark.parametrize("name", ["timeout", "poll_interval"])
def test_invalid_wait_options_are_refused_before_sending(sync_caller: Caller, name: str, bad: Any) -> None:
    sync_caller.fails(ConfigurationError, wait(**{name: bad}))
    assert sync_caller.server.requests == []


# Interruption.


@row("I02")
@pytest.mark.parametrize("operation", [wait, follow])
def test_ctrl_c_does_not_cancel_the_job(caller: Caller, operation: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bedrock_rft")
    set_statuses(caller.server, "running")
    caller.server.script("GET", JOB, [ctrl_c(answer, after=0.1)])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        caller(operation(poll_interval=60))
    assert time.monotonic() - began < LONG
    assert not caller.server.sent("POST")
    assert "client.jobs.wait('ftjob-1')" in caplog.text
    assert "client.jobs.cancel('ftjob-1')" in caplog.text


def test_ctrl_c_during_the_last_poll_raises_keyboard_interrupt(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running")
    sync_caller.server.script("GET", JOB, [answer, ctrl_c(slow(1.0), after=0.1)])
    with pytest.raises(KeyboardInterrupt):
        sync_caller(wait(timeout=0.2, poll_interval=60))


@row("I03")
def test_ctrl_c_ends_the_delay_before_a_retry(caller: Caller) -> None:
    caller.server.script("GET", "/models", [ctrl_c(status(429, b"", {"Retry-After": "60"}), after=0.1)])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        caller(lambda client: client.models.list())
    assert time.monotonic() - began < LONG


@pytest.mark.parametrize("late", [False, True])
def test_cancelling_the_task_does_not_cancel_the_job(server: Faults, late: bool) -> None:
    set_statuses(server, "running")
    server.script("GET", JOB, [answer, *[slow(1.0)] * 9] if late else [])

    async def main() -> None:
        async with AsyncClient("us-west-2", base_url=server.base_url, api_key=KEY) as client:
            timeout = 0.2 if late else None
            task = asyncio.create_task(client.jobs.wait("ftjob-1", timeout=timeout, poll_interval=60))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert not server.sent("POST")


def test_an_exception_of_on_event_is_raised_unchanged(caller: Caller) -> None:
    caller.server.log = events(2, 1)

    def broken(_: Event) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        caller(wait(on_event=broken))


# Events.


def test_events_are_returned_once_oldest_first_while_the_job_runs(caller: Caller) -> None:
    set_statuses(caller.server, *["running"] * 4, "succeeded")
    logs = [[], events(1), events(2, 1), events(2, 1), events(5, 4, 3, 2, 1)]
    caller.server.script("GET", EVENTS, [page(log) for log in logs])
    assert event_ids(caller(follow())) == ["e1", "e2", "e3", "e4", "e5"]
    assert len(caller.server.sent("GET", EVENTS)) == 5


def test_on_event_receives_every_event(caller: Caller) -> None:
    caller.server.log = events(3, 2, 1)
    got: list[Event] = []
    job = caller(wait(on_event=got.append))
    assert job.status == "succeeded"
    assert event_ids(got) == ["e1", "e2", "e3"]


def test_events_are_not_requested_without_on_event(sync_caller: Caller) -> None:
    sync_caller(wait())
    assert not sync_caller.server.sent("GET", EVENTS)


def cursor_of(data: list[dict[str, Any]]) -> str | None:
    return data[-1].get("id") if data else None


def pages(*listing: list[dict[str, Any]]) -> Iterator[Fault]:
    """Return a fault that serves these pages, each selected by the last id of the page before."""

    def fault(exchange: Exchange) -> None:
        after = exchange.request.query.get("after")
        index = next((i + 1 for i, data in enumerate(listing) if after and cursor_of(data) == after), 0)
        page(listing[index], has_more=index + 1 < len(listing))(exchange)

    return always(fault)


SHAPES = [
    pytest.param([events(5, 4), events(4, 3), events(3, 2, 1)], id="repeat", marks=row("E01")),
    pytest.param([events(5, 5, 4, 4), events(3, 3, 2, 2, 1, 1)], id="all twice", marks=row("E02")),
    pytest.param([events(2, 5, 1), events(4, 3)], id="shuffled", marks=row("E03")),
    pytest.param([events(1, 2), events(3, 4), events(5)], id="oldest first", marks=row("E04")),
    pytest.param([events(5, 4, created_at=7), events(3, 2, 1, created_at=7)], id="same second", marks=row("E11")),
    pytest.param(
        [events(1, 2, created_at=7), events(3, 4, 5, created_at=7)], id="same second, oldest first", marks=row("E11")
    ),
    pytest.param([events(5, 4, created_at=None), events(3, 2, 1, created_at=None)], id="no times", marks=row("E12")),
    pytest.param([[event(5), event(4, created_at=None), *events(3, 2, 1)]], id="one without a time"),
]


@pytest.mark.parametrize("listing", SHAPES)
@pytest.mark.parametrize("polls", [1, 3])
def test_each_event_is_returned_once_in_order_from_any_pages(
    caller: Caller, listing: list[list[dict[str, Any]]], polls: int
) -> None:
    set_statuses(caller.server, *["running"] * polls, "succeeded")
    caller.server.script("GET", EVENTS, pages(*listing))
    assert event_ids(caller(follow())) == ["e1", "e2", "e3", "e4", "e5"]


@pytest.mark.parametrize("listing", SHAPES)
def test_metrics_are_returned_by_step_from_any_pages(caller: Caller, listing: list[list[dict[str, Any]]]) -> None:
    caller.server.script("GET", EVENTS, pages(*listing))
    found = caller(lambda client: client.jobs.metrics("ftjob-1"))
    assert [metrics.step for metrics in found] == [1, 2, 3, 4, 5]
    assert [metrics.critic_rewards_mean for metrics in found] == [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize("missing", [pytest.param({}, marks=row("E05")), pytest.param({"id": None}, marks=row("E06"))])
@pytest.mark.parametrize("polls", [1, 3])
def test_events_without_an_id_are_returned_once(sync_caller: Caller, missing: dict[str, None], polls: int) -> None:
    nameless = [{**{key: value for key, value in event(n).items() if key != "id"}, **missing} for n in (4, 2)]
    set_statuses(sync_caller.server, *["running"] * polls, "succeeded")
    sync_caller.server.script("GET", EVENTS, pages([event(5), nameless[0], event(3)], [nameless[1], event(1)]))
    found = sync_caller(follow())
    assert [one.message for one in found] == [f"Step {number}" for number in range(1, 6)]
    assert event_ids(found) == ["e1", "", "e3", "", "e5"]


@row("E07")
@pytest.mark.parametrize("data", [events(3, 2, 1), events(1, 2, 3)])
def test_a_stuck_cursor_ends_the_listing(sync_caller: Caller, data: list[dict[str, Any]]) -> None:
    sync_caller.server.script("GET", EVENTS, always(page(data, has_more=True)))
    set_statuses(sync_caller.server, "running", "succeeded")
    assert event_ids(sync_caller(follow())) == ["e1", "e2", "e3"]
    assert len(sync_caller.server.sent("GET", EVENTS)) <= 6
    assert len(sync_caller(lambda client: client.jobs.metrics("ftjob-1"))) == 3


@row("E08")
def test_circular_pages_end(sync_caller: Caller) -> None:
    def circle(exchange: Exchange) -> None:
        page(events(3, 2) if exchange.request.query.get("after") == "e1" else events(2, 1), has_more=True)(exchange)

    set_statuses(sync_caller.server, "succeeded")
    sync_caller.server.script("GET", EVENTS, always(circle))
    assert event_ids(sync_caller(follow())) == ["e1", "e2", "e3"]


@row("E09")
def test_a_page_without_has_more_is_the_last(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", EVENTS, always(page(events(2, 1))))
    assert event_ids(sync_caller(follow())) == ["e1", "e2"]


@row("E10")
def test_a_late_event_is_returned_once(caller: Caller) -> None:
    set_statuses(caller.server, "running", "running", "succeeded")
    logs = [events(4, 3, 1), events(4, 3, 2, 1), events(5, 4, 3, 2, 1)]
    caller.server.script("GET", EVENTS, [page(log) for log in logs])
    assert event_ids(caller(follow())) == ["e1", "e3", "e4", "e2", "e5"]


def test_a_late_event_on_an_old_page_is_found(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running", "succeeded")
    first, then = events(*range(300, 100, -1), *range(99, 0, -1)), events(*range(300, 0, -1))

    def log(exchange: Exchange) -> None:
        exchange.faults.log = then if len(exchange.faults.sent("GET", JOB)) > 1 else first
        answer(exchange)

    sync_caller.server.script("GET", EVENTS, always(log))
    found = event_ids(sync_caller(follow()))
    assert len(found) == len(set(found)) == 300
    assert found[-1] == "e100"


@row("E13", "E14", "E15", "E17", "E18")
def test_unusual_event_data_is_parsed(caller: Caller) -> None:
    odd = json.dumps(
        {
            "data": [
                event(4, data={"step": "four", "critic_rewards_mean": "high", "actor_entropy": None}),
                event(3, data={"step": 3, "critic_rewards_mean": math.nan, "actor_grad_norm": math.inf, "new": [1]}),
                {key: value for key, value in event(2).items() if key != "data"},
                event(1, type="system", data={"anything": {"goes": True}}),
                event(0, type="message", data=None, message="\x1b[31mred\x00\u2028"),
            ],
            "has_more": False,
        }
    )
    caller.server.script("GET", EVENTS, always(status(200, odd.encode())))
    none, other, bare, nan, text = caller(follow())
    assert none.message == "\x1b[31mred\x00\u2028"
    for shown in (f"{none}", f"{none!r}"):  # the text is unchanged, but printing it is safe
        assert "red" in shown
        assert not {"\x1b", "\x00", "\u2028"} & set(shown)
    assert other.type == "system"
    assert other.data.model_extra == {"anything": {"goes": True}}
    assert other.metrics is None
    assert bare.metrics is None
    assert math.isnan(nan.metrics.critic_rewards_mean)
    assert nan.metrics.actor_grad_norm == math.inf
    assert json.loads(nan.model_dump_json())["data"]["critic_rewards_mean"] is None
    assert nan.metrics.model_extra == {"new": [1]}
    assert text.metrics.step is None
    assert text.metrics.critic_rewards_mean is None
    assert len(caller(lambda client: client.jobs.metrics("ftjob-1"))) == 2


@row("E19")
def test_events_are_requested_in_pages_of_a_hundred(caller: Caller) -> None:
    caller.server.log = events(*range(500, 0, -1))
    set_statuses(caller.server, "succeeded")
    assert event_ids(caller(follow())) == [f"e{number}" for number in range(1, 501)]
    assert len(caller.server.requests) == 1 + 5
    assert {request.query["limit"] for request in caller.server.sent("GET", EVENTS)} == {"100"}


@row("E16")
@pytest.mark.parametrize("fault", [close, status(503), html(200), status(404)])
def test_a_lost_page_loses_no_event(sync_caller: Caller, fault: Fault) -> None:
    set_statuses(sync_caller.server, "running", "succeeded")
    sync_caller.server.log = events(*range(250, 0, -1))
    sync_caller.server.script("GET", EVENTS, [answer, fault, answer, answer, fault])
    assert event_ids(sync_caller(follow())) == [f"e{number}" for number in range(1, 251)]


# Resuming.


@row("E20")
@pytest.mark.parametrize("seconds", [None, 7])
@pytest.mark.parametrize("seen", [0, 1, 3, 5])
def test_following_resumes_after_a_given_event(caller: Caller, seen: int, seconds: int | None) -> None:
    log = events(5, 4, 3, 2, 1)
    caller.server.log = log if seconds is None else [{**one, "created_at": seconds} for one in log]
    after = f"e{seen}" if seen else None
    assert event_ids(caller(follow(after=after))) == [f"e{number}" for number in range(seen + 1, 6)]


def test_following_waits_for_events_after_a_given_event(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running", "running", "succeeded")
    sync_caller.server.script("GET", EVENTS, [page(log) for log in ([], events(2, 1), events(4, 3, 2, 1))])
    assert event_ids(sync_caller(follow(after="e2"))) == ["e3", "e4"]


def test_resuming_after_a_missing_event_returns_all_events_with_a_warning(
    sync_caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    sync_caller.server.log = events(2, 1)
    assert event_ids(sync_caller(follow(after="lost"))) == ["e1", "e2"]
    assert "lost is no longer in the log" in caplog.text


def test_leaving_follow_early_does_not_cancel_the_job(server: Faults) -> None:
    set_statuses(server, "running")
    server.log = events(2, 1)
    with Client("us-west-2", base_url=server.base_url, api_key=KEY) as client:
        for one in client.jobs.follow("ftjob-1", poll_interval=0.01):
            assert one.id == "e1"
            break
    assert not server.sent("POST")


def test_following_times_out(sync_caller: Caller) -> None:
    set_statuses(sync_caller.server, "running")
    sync_caller.server.log = events(1)
    sync_caller.fails(WaitTimeoutError, follow(timeout=0.2))


# Permanent errors and unknown states


def test_the_timeout_error_reports_an_unknown_state_if_no_poll_succeeded(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", JOB, [status(503)] * 200)
    error = sync_caller.fails(WaitTimeoutError, wait(timeout=0.1))
    assert "could not be polled within 0.1 s, so its state is unknown" in str(error)
    assert "still running" not in str(error)


@pytest.mark.parametrize("operation", [wait, follow, retrieve])
def test_a_header_that_cannot_be_sent_raises_at_once(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, operation: Callable[[], Any]
) -> None:
    monkeypatch.setattr(http, "USER_AGENT", "bedrock-rft\nhidden-value")
    error = caller.fails(APIConnectionError, operation())
    assert (error.reason, error.sent, error.attempts) == ("header", False, 1)
    assert "a header of the request cannot be sent" in str(error)
    assert "hidden-value" not in "".join(traceback.format_exception(error))
    assert caller.server.requests == []


@pytest.mark.parametrize("reason", ["certificate", "header", "dns"])
def test_permanent_errors_end_the_first_poll(reason: str) -> None:
    failures = _watch.FailureTracker("ftjob-1")
    assert not failures.poll_again(APIConnectionError("x", reason=reason, sent=False), None)
    assert not _watch.FailureTracker("ftjob-1").poll_again(ConfigurationError("x"), None)


def test_an_unknown_host_is_temporary_after_a_successful_poll() -> None:
    failures = _watch.FailureTracker("ftjob-1")
    failures.reset()
    assert failures.poll_again(APIConnectionError("x", reason="dns", sent=False), None)
    assert not failures.poll_again(APIConnectionError("x", reason="certificate", sent=False), None)
    assert not failures.poll_again(APIConnectionError("x", reason="header", sent=False), None)


def test_warnings_turned_into_errors_do_not_end_a_wait() -> None:
    failures = _watch.FailureTracker("ftjob-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(failures.poll_again(InternalServerError("x", status=503), None) for _ in range(5))
