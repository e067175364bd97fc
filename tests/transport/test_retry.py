"""Retries on real sockets; a creation makes at most one job, or raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from support.fault_client import ARN, MODEL, WAYS, Caller, create
from support.fault_server import (
    Exchange,
    Fault,
    Faults,
    always,
    answer,
    bad_chunks,
    carried_out,
    close,
    html,
    raw,
    reset,
    reset_midway,
    slow,
    status,
    truncated,
)

from bedrock_rft._resources import create_job as _create
from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import (
    AmbiguousCreateError,
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTError,
    BedrockRFTWarning,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
)

JOBS = "/fine_tuning/jobs"
# Each value is tried with both identities, and with the sync and the async client in turn, which share their code.
pytestmark = pytest.mark.pairwise()
row = pytest.mark.row
SAID = {"error": {"code": "some_code", "message": "The service's own words.", "param": "model", "type": None}}


def models(client: Any) -> Any:
    return client.models.list()


def retrieve(client: Any) -> Any:
    return client.jobs.retrieve("ftjob-1")


def upload(client: Any) -> Any:
    return client.files.upload(b'{"messages": []}\n' * 5000, validate=False)


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)
    monkeypatch.setattr(_create, "_SEARCH_DELAYS", (0.0, 0.02, 0.02, 0.02))


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


@pytest.fixture
def elsewhere() -> Iterator[Faults]:
    """Another origin, which must receive no request."""
    with Faults() as faults:
        yield faults
        assert faults.requests == []


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    mode, client_kind = request.param
    caller = Caller(server, mode, client_kind)
    yield caller
    caller.check_identity()


@pytest.fixture(params=["api_key", "aws"])
def sync_caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    """Both identities with a sync client, for code that all transports share."""
    caller = Caller(server, request.param, "sync")
    yield caller
    caller.check_identity()


# Connection.


@row("N01")
@pytest.mark.parametrize("operation", [models, create])
@pytest.mark.parametrize(("mode", "client_kind"), WAYS)
def test_a_refused_connection_is_tried_three_times_and_named_in_the_error(
    mode: str, client_kind: str, operation: Any
) -> None:
    with Faults(up=False) as down:
        error = Caller(down, mode, client_kind).fails(APIConnectionError, operation)
        assert error.attempts == 3
        assert error.reason == "refused"
        assert not error.sent
        for word in (f"127.0.0.1:{down.port}", "refused", "base_url", "region", "proxy"):
            assert word in str(error)


@pytest.mark.parametrize("operation", [pytest.param(models, marks=row("N02")), pytest.param(create, marks=row("N03"))])
@pytest.mark.parametrize(("mode", "client_kind"), WAYS)
def test_a_connection_refused_for_a_while_succeeds(
    mode: str, client_kind: str, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.2)
    monkeypatch.setattr(_retry, "random", SimpleNamespace(uniform=max))  # the longest delay that jitter allows
    with Faults(up=False) as late:
        timer = threading.Timer(0.3, late.start_listening)
        timer.start()
        try:
            Caller(late, mode, client_kind)(operation)
        finally:
            timer.join()
        assert len(late.requests) == 1
        assert len(late.jobs) == (operation is create)


@pytest.mark.parametrize("chosen", [min, max])
def test_three_attempts_cover_a_restart_of_0_7_seconds(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # use the package's delays
    monkeypatch.setattr(_retry, "random", SimpleNamespace(uniform=chosen))
    pauses = [
        _retry.backoff_seconds(APIConnectionError("x", reason="refused", sent=False), attempt) for attempt in (1, 2)
    ]
    assert 0.7 < sum(pauses) <= 1.5
    assert _retry.backoff_seconds(APIConnectionError("x", sent=True), 1) in {
        0,
        0.5,
    }  # spread over time, because many clients may retry at once


@row("N04")
@pytest.mark.parametrize("operation", [models, create])
def test_a_host_without_an_address_is_named_in_the_error(
    caller: Caller, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replace the resolver, because the system's is slow and its message differs between systems."""
    import socket

    def fail_to_resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail_to_resolve)
    error = caller.fails(APIConnectionError, operation, base_url="https://no-such-host.example/v1")
    assert (error.reason, error.sent, error.attempts) == ("dns", False, 3)
    for word in ("no-such-host.example:443", "DNS", "base_url", "region"):
        assert word in str(error)


# Responses.

ONCE = [
    pytest.param(close, id="closed", marks=row("P01")),
    pytest.param(reset, id="reset"),
    pytest.param(reset_midway, id="reset midway", marks=row("P02")),
    pytest.param(truncated, id="truncated", marks=row("P03")),
    pytest.param(html(502), id="502 page", marks=row("P09")),
    pytest.param(bad_chunks, id="chunks", marks=row("P17")),
    pytest.param(raw(b"HTTP/1.1 two hundred\r\n\r\n"), id="status line", marks=row("P18")),
]


@pytest.mark.parametrize("fault", ONCE)
def test_a_request_with_a_broken_response_is_sent_again(caller: Caller, fault: Fault) -> None:
    caller.server.script("GET", "/models", [fault])
    assert [model.id for model in caller(models)] == [MODEL]
    assert len(caller.server.requests) == 2


@pytest.mark.parametrize("fault", [close, reset, truncated, reset_midway, bad_chunks])
def test_repeated_broken_responses_raise_a_connection_error(sync_caller: Caller, fault: Fault) -> None:
    sync_caller.server.script("GET", "/models", always(fault))
    error = sync_caller.fails(APIConnectionError, models)
    assert error.attempts == len(sync_caller.server.requests) == 3
    assert error.reason == "closed"
    assert "base_url" in str(error)
    assert ".." not in str(error)


FOREIGN = [
    pytest.param(status(200, b'{"id": "ftjob-1", "sta'), id="truncated", marks=row("P04")),
    pytest.param(status(200, b"OK"), id="no JSON", marks=row("P05")),
    pytest.param(html(200), id="page", marks=row("P06")),
    pytest.param(status(200), id="empty", marks=row("P13")),
    pytest.param(status(204), id="no content", marks=row("P14")),
    pytest.param(status(200, None), id="null", marks=row("P15a")),
    pytest.param(status(200, []), id="list", marks=row("P15b")),
    pytest.param(status(200, "text"), id="text", marks=row("P15c")),
    pytest.param(status(200, 7), id="number", marks=row("P15d")),
    pytest.param(status(200, {"status": "running"}), id="no id"),
    pytest.param(status(200, '{"id": "ftjob-1"}'.encode("utf-16")), id="UTF-16", marks=row("P22")),
]


@pytest.mark.parametrize("fault", FOREIGN)
def test_a_response_that_is_not_the_services_raises_a_response_error(caller: Caller, fault: Fault) -> None:
    caller.server.script("GET", f"{JOBS}/ftjob-1", always(fault))
    error = caller.fails(APIResponseError, retrieve)
    assert error.status in {200, 204}
    assert error.request_id == "req-1"
    for part in (f"GET {JOBS}/ftjob-1", f"HTTP {error.status}", "req-1", f"127.0.0.1:{caller.server.port}"):
        assert part in str(error)
    assert len(caller.server.requests) == 1


@row("P04")
def test_the_error_shows_the_first_bytes_of_an_invalid_response(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", f"{JOBS}/ftjob-1", [status(200, b'{"id": "ftjob-1", "sta')])
    error = sync_caller.fails(APIResponseError, retrieve)
    assert '{"id": "ftjob-1", "sta' in str(error)
    assert "is JSON that ends too early, after 22 bytes" in str(error)
    assert "truncated" in str(error)


@row("P06")
def test_the_error_for_an_html_page_quotes_only_its_title(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", [html(200, title="Hotel <b>Wi-Fi</b>")])
    message = str(sync_caller.fails(APIResponseError, models))
    assert " is an HTML page titled 'Hotel <b>Wi-Fi</b>', not a response of the service" in message
    for word in ("proxy", "base_url"):
        assert word in message
    assert "xxx" not in message


@row("P10")
def test_a_server_error_with_an_html_page_quotes_only_its_title(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(html(502, title="Bad Gateway")))
    error = sync_caller.fails(InternalServerError, models)
    assert error.status == 502
    assert error.attempts == 3
    assert "Bad Gateway" in str(error)
    assert "xxx" not in str(error)


@row("P16")
def test_a_false_content_encoding_raises_a_response_error(caller: Caller) -> None:
    caller.server.script("GET", "/models", always(status(200, b"no gzip at all", {"Content-Encoding": "gzip"})))
    assert "compressed" in str(caller.fails(APIResponseError, models))


@row("P21")
def test_json_with_a_byte_order_mark_is_parsed(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", f"{JOBS}/ftjob-1", [status(200, b'\xef\xbb\xbf{"id": "ftjob-1"}')])
    assert sync_caller(retrieve).id == "ftjob-1"


@pytest.mark.parametrize("ending", [pytest.param(close, marks=row("P25")), pytest.param(reset, marks=row("P26"))])
@pytest.mark.parametrize("second", [models, create])
def test_a_closed_keep_alive_connection_is_not_reused(caller: Caller, ending: Any, second: Any) -> None:
    def ended(exchange: Exchange) -> None:
        answer(exchange)
        ending(exchange)

    def pause(_client: Any) -> None:
        time.sleep(0.1)  # until the client can see the closed connection

    caller.server.script("GET", "/models", [ended])
    caller(models, pause, second)
    assert len(caller.server.requests) == 2


@row("L01")
def test_a_missing_response_raises_an_error_that_is_also_a_timeout_error(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(slow(0.3)))
    error = sync_caller.fails(APITimeoutError, models, timeout=0.1)
    assert isinstance(error, TimeoutError)
    assert error.attempts == 3
    assert "0.1 s" in str(error)
    assert "timeout=" in str(error)


# Status.


@pytest.mark.parametrize(
    "code", [pytest.param(code, marks=row(f"S{code}a")) for code in (408, 429, 500, 502, 503, 504)]
)
def test_a_temporary_error_is_retried(caller: Caller, code: int) -> None:
    caller.server.script("GET", "/models", [status(code, SAID)])
    caller(models)
    assert len(caller.server.requests) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(408, APIStatusError, marks=row("S408b")),
        pytest.param(429, RateLimitError, marks=row("S429b")),
        pytest.param(500, InternalServerError, marks=row("S500b")),
        pytest.param(502, InternalServerError, marks=row("S502b")),
        pytest.param(503, InternalServerError, marks=row("S503b")),
        pytest.param(504, InternalServerError, marks=row("S504b")),
    ],
)
def test_a_lasting_error_raises_after_three_attempts(
    sync_caller: Caller, code: int, kind: type[APIStatusError]
) -> None:
    sync_caller.server.script("GET", "/models", always(status(code, SAID)))
    error = sync_caller.fails(kind, models)
    assert error.attempts == len(sync_caller.server.requests) == 3
    assert (error.status, error.code, error.request_id) == (code, "some_code", "req-1")
    for part in ("GET /models", f"HTTP {code}", "some_code", "The service's own words.", "req-1"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(400, BadRequestError, marks=row("S400c")),
        pytest.param(401, AuthenticationError, marks=row("S401c")),
        pytest.param(403, PermissionDeniedError, marks=row("S403c")),
        pytest.param(404, NotFoundError, marks=row("S404c")),
        pytest.param(405, BadRequestError, marks=row("S405c")),
        pytest.param(410, NotFoundError, marks=row("S410c")),
        pytest.param(413, BadRequestError, marks=row("S413c")),
        pytest.param(422, BadRequestError, marks=row("S422c")),
        pytest.param(501, InternalServerError, marks=row("S501c")),
    ],
)
def test_a_client_error_is_not_retried(caller: Caller, code: int, kind: type[APIStatusError]) -> None:
    caller.server.script("GET", "/models", always(status(code, SAID)))
    error = caller.fails(kind, models)
    assert error.attempts == len(caller.server.requests) == 1
    assert (error.status, error.code, error.param, error.request_id) == (code, "some_code", "model", "req-1")
    assert "The service's own words." in str(error)


@row("S409")
def test_a_conflict_is_retried_once(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", [status(409, SAID)])
    sync_caller(models)
    sync_caller.server.script("GET", "/models", always(status(409, SAID)))
    assert sync_caller.fails(ConflictError, models).attempts == 2


@row("S503w")
def test_throttling_is_retried_with_any_status(sync_caller: Caller) -> None:
    aws = {"__type": "com.amazon.coral.service#ThrottlingException", "message": "Slow down."}
    sync_caller.server.script("GET", "/models", [status(503, aws), status(400, aws)])
    sync_caller(models)
    assert len(sync_caller.server.requests) == 3


def test_max_retries_0_makes_one_attempt(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(status(503)))
    assert sync_caller.fails(InternalServerError, models, max_retries=0).attempts == 1


def test_retries_decrease_during_an_outage(sync_caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry.RetryBudget.__init__, "__defaults__", (15,))
    sync_caller.server.script("GET", "/models", always(status(503)))

    def fails(client: Any) -> None:
        with pytest.raises(InternalServerError):
            list(client.models.list())

    sync_caller(fails, fails, fails)
    assert len(sync_caller.server.requests) == 3 + 2 + 1


def test_a_failed_upload_is_sent_again_byte_for_byte(caller: Caller) -> None:
    caller.server.script("POST", "/files", [status(503), carried_out(close)])
    caller(upload)
    bodies = {request.body for request in caller.server.requests}
    assert len(caller.server.requests) == 3
    assert len(bodies) == 1


# Retry-After.


def seconds_between_requests(server: Faults) -> float:
    first, second = server.requests
    return second.at - first.at


@row("R01")
def test_retry_after_in_seconds_is_respected(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", [status(429, SAID, {"Retry-After": "1"})])
    sync_caller(models)
    assert 1.0 <= seconds_between_requests(sync_caller.server) < 1.9


@row("R02")
def test_retry_after_as_a_date_is_respected(sync_caller: Caller) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=2)

    def busy(exchange: Exchange) -> None:
        exchange.send(503, b"", {"Retry-After": format_datetime(moment, usegmt=True)})

    sync_caller.server.script("GET", "/models", [busy])
    sync_caller(models)
    assert 0.5 < seconds_between_requests(sync_caller.server) < 2.5
    assert datetime.now(timezone.utc) >= moment


@row("R03")
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_of_an_hour_raises_at_once(sync_caller: Caller, code: int) -> None:
    sync_caller.server.script("GET", "/models", always(status(code, SAID, {"Retry-After": "3600"})))
    error = sync_caller.fails(APIStatusError, models)
    assert error.attempts == len(sync_caller.server.requests) == 1
    assert error.retry_after == 3600
    assert "3600 s" in str(error)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("-5", marks=row("R04b")),
        pytest.param("garbage", marks=row("R04c")),
        pytest.param("NaN", marks=row("R04d")),
        pytest.param("", marks=row("R04f")),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", marks=row("R04g")),
        pytest.param("0", marks=row("R04a")),
        pytest.param("inf", marks=row("R04e")),
        "1e3",
        "9" * 400,
    ],
)
def test_an_invalid_retry_after_is_ignored(sync_caller: Caller, value: str) -> None:
    sync_caller.server.script("GET", "/models", [status(429, SAID, {"Retry-After": value})])
    sync_caller(models)
    assert seconds_between_requests(sync_caller.server) < 1


@row("R04h")
@pytest.mark.parametrize("value", ["99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_enormous_retry_after_raises_at_once(sync_caller: Caller, value: str) -> None:
    sync_caller.server.script("GET", "/models", [status(429, SAID, {"Retry-After": value})])
    assert sync_caller.fails(RateLimitError, models).attempts == 1


# Redirects.


@pytest.mark.parametrize("code", [*(pytest.param(code, marks=row(f"D{code}")) for code in (301, 302, 303, 307, 308))])
def test_a_redirect_is_not_followed(caller: Caller, elsewhere: Faults, code: int) -> None:
    target = {"Location": f"http://user:password@127.0.0.1:{elsewhere.port}/v1/models?token=x"}
    caller.server.script("GET", "/models", always(status(code, b"", target)))
    error = caller.fails(RedirectRefusedError, models)
    assert error.status == code
    assert error.attempts == len(caller.server.requests) == 1
    assert f"127.0.0.1:{elsewhere.port}" in str(error)
    assert "password" not in str(error)
    assert "token" not in str(error)


@pytest.mark.parametrize(
    ("operation", "path"),
    [pytest.param(upload, "/files", marks=row("D10")), pytest.param(create, JOBS, marks=row("D11"))],
)
@pytest.mark.parametrize("code", [307, 308])
def test_uploads_and_creations_do_not_follow_redirects(
    caller: Caller, elsewhere: Faults, operation: Any, path: str, code: int
) -> None:
    caller.server.script("POST", path, always(status(code, b"", {"Location": elsewhere.base_url + path})))
    error = caller.fails(RedirectRefusedError, operation)
    assert f"127.0.0.1:{elsewhere.port}" in str(error)
    assert len(caller.server.requests) == 1


@pytest.mark.parametrize(
    ("target", "named"),
    [
        pytest.param("/v1/models", "another path", marks=row("D13")),
        pytest.param("file:///etc/passwd", "file:", marks=row("D14")),
        pytest.param("http://[::1", "an invalid address", marks=row("D15")),
        pytest.param("https://x:port/", "x:port", marks=row("D15")),
        pytest.param("", "another path", marks=row("D16")),
    ],
)
def test_redirects_to_unusual_targets_are_not_followed(sync_caller: Caller, target: str, named: str) -> None:
    sync_caller.server.script("GET", "/models", always(status(302, b"", {"Location": target})))
    assert named in str(sync_caller.fails(RedirectRefusedError, models))
    assert len(sync_caller.server.requests) == 1


# Creation.


def cut_json(exchange: Exchange) -> None:
    """Carry out the request, and send truncated JSON with a correct length."""
    code, body = exchange.carry_out()
    exchange.send(code, body[:-10])


def late(exchange: Exchange) -> None:
    exchange.carry_out()
    time.sleep(0.6)


LOST = [
    pytest.param(carried_out(close), id="closed", marks=row("C01")),
    pytest.param(carried_out(reset), id="reset"),
    pytest.param(late, id="timeout", marks=row("C06")),
    pytest.param(carried_out(status(500)), id="500", marks=row("C07_500")),
    pytest.param(carried_out(html(502)), id="502 page", marks=row("C07_502")),
    pytest.param(carried_out(status(503, SAID)), id="503", marks=row("C07_503")),
    pytest.param(carried_out(status(504)), id="504", marks=row("C07_504")),
    pytest.param(carried_out(status(408)), id="408", marks=row("C07_408")),
    pytest.param(carried_out(status(408, {"message": "metadata"})), id="408 naming metadata"),
    pytest.param(carried_out(status(409)), id="409", marks=row("C07_409")),
    pytest.param(
        carried_out(status(500, {"code": "ValidationException", "message": "metadata"})), id="500 naming validation"
    ),
    pytest.param(reset_midway, id="reset midway", marks=row("C09")),
    pytest.param(truncated, id="cut"),
    pytest.param(cut_json, id="cut JSON", marks=row("C10")),
    pytest.param(carried_out(html(200)), id="page", marks=row("P08")),
    pytest.param(carried_out(status(200, {"status": "queued"})), id="no id"),
]


def get_creation_body(server: Faults) -> Any:
    """Return the body of the only creation."""
    [post] = server.sent("POST", JOBS)
    return post.json()


@pytest.mark.parametrize("fault", LOST)
def test_a_job_with_a_lost_response_is_found(caller: Caller, fault: Fault) -> None:
    caller.server.script("POST", JOBS, always(fault))
    job = caller(create, timeout=0.3)
    assert len(caller.server.jobs) == 1
    assert job.id == "ftjob-1"
    marker = get_creation_body(caller.server)["metadata"]["bedrock_rft_marker"]
    assert job.metadata["bedrock_rft_marker"] == marker
    assert caller.server.sent("POST", JOBS)[0].headers["idempotency-key"] == marker


@row("C01")
@pytest.mark.parametrize("fault", [close, reset, status(500), status(503), status(408), status(409), html(200)])
def test_an_ambiguous_creation_is_not_repeated(sync_caller: Caller, fault: Fault) -> None:
    sync_caller.server.script("POST", JOBS, always(fault))
    error = sync_caller.fails(AmbiguousCreateError, create)
    assert get_creation_body(sync_caller.server)["metadata"]["bedrock_rft_marker"] == error.marker
    assert error.training_file == "file-1"
    assert abs(error.since - time.time()) < 60
    for word in (error.marker, "no job id", "client.jobs.find(", "file-1", MODEL, f"POST {JOBS}"):
        assert word in str(error)
    assert isinstance(error.__cause__, BedrockRFTError)


@row("C02")
def test_a_lagging_list_is_searched_again(caller: Caller) -> None:
    caller.server.list_lag = 2
    caller.server.script("POST", JOBS, [carried_out(close)])
    assert caller(create).id == "ftjob-1"
    get_creation_body(caller.server)


@row("C03")
def test_jobs_are_retrieved_if_the_list_lacks_metadata(caller: Caller) -> None:
    caller.server.list_metadata = False
    caller.server.add_job(model=MODEL, training_file="file-1", metadata={"bedrock_rft_marker": "theirs"})
    caller.server.add_job(model="another", training_file="file-1")
    caller.server.script("POST", JOBS, [carried_out(close)])
    assert caller(create).id == "ftjob-3"
    get_creation_body(caller.server)
    assert not caller.server.sent("GET", f"{JOBS}/ftjob-2")


@row("C05")
@pytest.mark.parametrize("listed", [True, False])
def test_a_job_with_another_marker_is_not_adopted(sync_caller: Caller, listed: bool) -> None:
    def create_other_jobs(exchange: Exchange) -> None:
        body: dict[str, Any] = exchange.request.json()
        exchange.faults.add_job(**{**body, "metadata": {"bedrock_rft_marker": "theirs"}})
        exchange.faults.add_job(**{**body, "metadata": None})
        exchange.close()

    sync_caller.server.list_metadata = listed
    sync_caller.server.script("POST", JOBS, [create_other_jobs])
    sync_caller.fails(AmbiguousCreateError, create)
    get_creation_body(sync_caller.server)

    sync_caller.server.requests.clear()
    sync_caller.server.script("POST", JOBS, [carried_out(create_other_jobs)])
    marker = sync_caller(create).metadata["bedrock_rft_marker"]
    assert marker == get_creation_body(sync_caller.server)["metadata"]["bedrock_rft_marker"]


@row("C14")
def test_the_search_for_a_job_covers_all_pages(sync_caller: Caller) -> None:
    def create_many_jobs(exchange: Exchange) -> None:
        exchange.carry_out()
        for _ in range(300):
            exchange.faults.add_job(model=MODEL, training_file="theirs", metadata={"a": "b"})
        exchange.close()

    sync_caller.server.script("POST", JOBS, [create_many_jobs])
    assert sync_caller(create).id == "ftjob-1"
    get_creation_body(sync_caller.server)
    assert len(sync_caller.server.sent("GET", JOBS)) == 4


def test_the_search_for_a_job_stops_at_older_jobs(sync_caller: Caller) -> None:
    for _ in range(500):
        sync_caller.server.add_job(created_at=int(time.time()) - 3600, model=MODEL, training_file="file-1")
    sync_caller.server.script("POST", JOBS, [close])
    sync_caller.fails(AmbiguousCreateError, create)
    assert len(sync_caller.server.sent("GET", JOBS)) == 4 * 2
    assert len(sync_caller.server.requests) == 1 + 4 * 2


@row("C04")
@pytest.mark.parametrize("fault", [status(503), status(403, SAID), close, html(200)])
def test_a_failed_search_leaves_the_creation_ambiguous(sync_caller: Caller, fault: Fault) -> None:
    sync_caller.server.script("POST", JOBS, [carried_out(close)])
    sync_caller.server.script("GET", JOBS, always(fault))
    sync_caller.fails(AmbiguousCreateError, create)
    get_creation_body(sync_caller.server)


@row("C04")
def test_a_search_that_fails_once_is_repeated(sync_caller: Caller) -> None:
    sync_caller.server.script("POST", JOBS, [carried_out(close)])
    sync_caller.server.script("GET", JOBS, [status(403, SAID)])
    assert sync_caller(create).id == "ftjob-1"


@row("C08")
@pytest.mark.parametrize(
    "refusal", [status(429), status(503, {"error": {"code": "ThrottlingException", "message": "Slow."}})]
)
def test_a_throttled_creation_is_sent_again(caller: Caller, refusal: Fault) -> None:
    caller.server.script("POST", JOBS, [refusal])
    assert caller(create).id == "ftjob-1"
    posts = caller.server.sent("POST", JOBS)
    assert len(posts) == 2
    assert posts[0].body == posts[1].body
    assert len(caller.server.jobs) == 1


def test_lasting_throttling_does_not_make_a_creation_ambiguous(sync_caller: Caller) -> None:
    sync_caller.server.script("POST", JOBS, always(status(429, SAID)))
    assert sync_caller.fails(RateLimitError, create).attempts == 3
    assert not sync_caller.server.sent("GET")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_a_refused_creation_raises_at_once(sync_caller: Caller, code: int) -> None:
    sync_caller.server.script("POST", JOBS, always(status(code, SAID)))
    error = sync_caller.fails(APIStatusError, create)
    assert error.attempts == len(sync_caller.server.requests) == 1


@row("C15")
def test_a_rejected_marker_is_omitted_with_a_warning(sync_caller: Caller) -> None:
    refusal = {"error": {"code": "validation_error", "message": "unknown field `metadata`", "param": "metadata"}}
    sync_caller.server.script("POST", JOBS, [status(400, refusal)])
    with pytest.warns(BedrockRFTWarning, match="rejected the metadata"):
        assert sync_caller(create).id == "ftjob-1"
    assert "metadata" not in sync_caller.server.sent("POST", JOBS)[1].json()
    assert len(sync_caller.server.jobs) == 1


@row("C15")
def test_without_a_marker_no_job_is_adopted(sync_caller: Caller) -> None:
    refusal = {"error": {"code": "validation_error", "message": "unknown field", "param": "metadata"}}
    sync_caller.server.script("POST", JOBS, [status(400, refusal), carried_out(close)])
    with pytest.warns(BedrockRFTWarning, match="rejected the metadata"):
        sync_caller.fails(AmbiguousCreateError, create)
    assert len(sync_caller.server.sent("POST", JOBS)) == 2
    assert len(sync_caller.server.jobs) == 1


@row("C11")
def test_a_name_finds_the_job_of_an_earlier_run(caller: Caller) -> None:
    def named(client: Any) -> Any:
        return client.jobs.create(MODEL, training_file="file-1", reward=ARN, name="run-1")

    caller.server.script("POST", JOBS, [carried_out(close)])
    first, second = caller(named), caller(named)
    assert first.id == second.id == "ftjob-1"
    assert get_creation_body(caller.server)["metadata"]["bedrock_rft_marker"] == "run-1"


def test_the_marker_is_logged_before_anything_is_sent(sync_caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bedrock_rft")
    sync_caller.server.script("POST", JOBS, [carried_out(close)])
    marker = sync_caller(create).metadata["bedrock_rft_marker"]
    messages = [record for record in caplog.records if record.name == "bedrock_rft"]
    assert marker in messages[0].getMessage()
    assert "found by the marker in its metadata" in messages[-1].getMessage()


# Cancelling and deleting.


@row("C12")
@pytest.mark.parametrize("lost", [close, reset, status(500), status(503), status(504)])
def test_a_cancellation_with_a_lost_response_succeeds(caller: Caller, lost: Fault) -> None:
    caller.server.add_job(statuses=["running"])
    caller.server.script("POST", f"{JOBS}/ftjob-1/cancel", [carried_out(lost)])
    assert caller(lambda client: client.jobs.cancel("ftjob-1")).status == "cancelled"


def test_cancelling_a_finished_job_raises_a_conflict(sync_caller: Caller) -> None:
    sync_caller.server.add_job(statuses=["succeeded"])
    sync_caller.server.script("POST", f"{JOBS}/ftjob-1/cancel", always(status(409, SAID)))
    assert "own words" in str(sync_caller.fails(ConflictError, lambda client: client.jobs.cancel("ftjob-1")))


@row("C13")
@pytest.mark.parametrize("lost", [close, reset, status(500), status(503), status(504)])
def test_a_deletion_with_a_lost_response_succeeds(caller: Caller, lost: Fault) -> None:
    caller.server.files["file-1"] = b"x"
    caller.server.script("DELETE", "/files/file-1", [carried_out(lost)])
    assert caller(lambda client: client.files.delete("file-1")).id == "file-1"
    assert caller.server.files == {}


def test_deleting_an_unknown_file_raises(sync_caller: Caller) -> None:
    assert "file-9" in str(sync_caller.fails(NotFoundError, lambda client: client.files.delete("file-9")))


def test_an_exception_being_handled_does_not_affect_a_creation(sync_caller: Caller) -> None:
    sync_caller.server.script("POST", JOBS, [carried_out(close)])
    kept: list[object] = []
    try:
        httpx.get("http://127.0.0.1:1/")
    except httpx.ConnectError as mine:
        kept += [sync_caller(create).id, mine.__traceback__]
    assert kept[0] == "ftjob-1"
    assert kept[1] is not None
    get_creation_body(sync_caller.server)
