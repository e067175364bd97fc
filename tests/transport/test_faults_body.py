"""Faults of request and response bodies: interrupted, too slow, too large, or with unusual framing."""

from __future__ import annotations

import functools
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_client import ARN, MODEL, WAYS, Caller, create
from support.fault_server import (
    Exchange,
    Faults,
    always,
    carried_out,
    endless,
    raw,
    reset_early,
    slow,
    stall,
    status,
)

from bedrock_rft._resources import create_job as _create
from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import (
    AmbiguousCreateError,
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTError,
    InternalServerError,
    PermissionDeniedError,
)

# Each value is tried with both identities, and with the sync and the async client in turn, which share their code.
pytestmark = pytest.mark.pairwise()
row = pytest.mark.row
JOBS = "/fine_tuning/jobs"
BODY = b'{"object":"list","data":[{"id":"m"}]}'
MIB = 1 << 20
LARGE = b'{"messages": []}\n' * 1_000_000  # more than the buffers of two sockets hold


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)
    monkeypatch.setattr(_create, "_SEARCH_DELAYS", (0.0, 0.02, 0.02, 0.02))


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
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


def models(client: Any) -> Any:
    return client.models.list()


def retrieve(client: Any) -> Any:
    return client.jobs.retrieve("ftjob-1")


def upload(client: Any) -> Any:
    return client.files.upload(LARGE, filename="train.jsonl", validate=False)


# Request bodies.


@row("Q02")
@pytest.mark.parametrize("read", [0, 1 << 20, 9 << 20])
def test_an_interrupted_upload_is_sent_again_from_its_beginning(caller: Caller, read: int) -> None:
    caller.server.script_early("POST", "/files", [reset_early(read)])
    assert caller(upload).id == "file-1"
    [(_, body)] = caller.server.files.items()
    assert body.count(LARGE) == 1
    assert len(caller.server.begun) == 1


@row("Q03")
def test_an_upload_interrupted_every_time_raises_an_error_with_the_filename(caller: Caller) -> None:
    caller.server.script_early("POST", "/files", always(reset_early(1 << 20)))
    error = caller.fails(APIConnectionError, upload)
    assert len(caller.server.begun) == error.attempts == 3
    assert "The upload of 'train.jsonl' did not complete" in str(error)
    assert caller.server.files == {}


@row("Q04")
def test_an_upload_fails_if_the_server_stops_reading(caller: Caller) -> None:
    caller.server.script_early("POST", "/files", always(stall))
    began = time.monotonic()
    error = caller.fails(APIConnectionError, upload, timeout=0.5)
    assert len(caller.server.begun) == error.attempts == 3
    assert "train.jsonl" in str(error)
    assert time.monotonic() - began < 20
    assert caller.server.files == {}


@row("Q04")
def test_an_upload_succeeds_if_the_server_stops_reading_once(sync_caller: Caller) -> None:
    sync_caller.server.script_early("POST", "/files", [stall])
    assert sync_caller(upload, timeout=1.0).id == "file-1"


@row("Q05")
def test_an_upload_refused_before_it_is_read_raises_the_services_message(caller: Caller) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.send(413, b'{"error": {"code": "too_large", "message": "At most 1 MB."}}', {"Connection": "close"})
        exchange.read(1 << 30)  # closing with unread data would discard the response
        exchange.close()

    caller.server.script_early("POST", "/files", always(refuse))
    error = caller.fails(BadRequestError, upload)
    assert (error.status, error.attempts) == (413, 1)
    assert "At most 1 MB." in str(error)


@row("Q06")
@pytest.mark.parametrize("read", [0, 20])
def test_an_interrupted_creation_is_looked_up_and_not_sent_again(caller: Caller, read: int) -> None:
    caller.server.script_early("POST", JOBS, always(reset_early(read)))
    error = caller.fails(AmbiguousCreateError, create)
    assert len(caller.server.begun) == 1
    assert caller.server.jobs == []
    assert error.marker in str(error)


@row("Q06")
def test_an_interrupted_large_creation_does_not_adopt_a_job_with_another_marker(sync_caller: Caller) -> None:
    """The connection is reset before the body is read, but the service may have created the job."""

    def create_other_job(exchange: Exchange) -> None:
        exchange.faults.add_job(model=MODEL, training_file="file-1", metadata={"bedrock_rft_marker": "mine"})
        exchange.reset()

    sync_caller.server.script_early("POST", JOBS, [create_other_job])
    metadata = {f"k{number}": "v" * 500 for number in range(15)}

    def create_with_metadata(client: Any) -> Any:
        return client.jobs.create(MODEL, training_file="file-1", reward=ARN, metadata=metadata)

    sync_caller.fails(AmbiguousCreateError, create_with_metadata)  # the existing job has another marker
    assert len(sync_caller.server.begun) == 1
    assert not sync_caller.server.sent("POST", JOBS)


# Unusual framing of responses.


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, "")).encode()


@row("P12")
def test_json_is_read_without_a_content_type(caller: Caller) -> None:
    caller.server.script("GET", "/models", [raw(head(f"Content-Length: {len(BODY)}") + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


@row("P11")
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream", "nonsense"])
def test_json_is_read_with_any_content_type(caller: Caller, kind: str) -> None:
    caller.server.script("GET", "/models", [status(200, BODY, {"Content-Type": kind})])
    assert [model.id for model in caller(models)] == ["m"]


@row("P19")
def test_a_response_header_of_a_mebibyte_raises(caller: Caller) -> None:
    caller.server.script("GET", "/models", always(raw(head(f"x-long: {'v' * MIB}", "Content-Length: 0"))))
    error = caller.fails(APIError, models)
    assert isinstance(error, (APIConnectionError, APIResponseError))
    assert len(caller.server.requests) <= 3


@row("P23")
def test_a_response_with_two_different_lengths_is_requested_again(caller: Caller) -> None:
    odd = head(f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY) - 9}") + BODY
    caller.server.script("GET", "/models", [raw(odd)])
    assert [model.id for model in caller(models)] == [MODEL]  # requested again
    assert len(caller.server.requests) == 2


@row("P20")
def test_ten_thousand_response_headers_raise(caller: Caller) -> None:
    flood = head(*(f"x-{number}: {'v' * 40}" for number in range(10_000)), f"Content-Length: {len(BODY)}") + BODY
    caller.server.script("GET", "/models", always(raw(flood)))
    error = caller.fails(APIError, models)
    assert isinstance(error, (APIConnectionError, APIResponseError))
    assert len(caller.server.requests) <= 3


@row("P28")
def test_a_hundred_interim_responses_are_skipped(caller: Caller) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n" * 100
    caller.server.script("GET", "/models", [raw(interim + head(f"Content-Length: {len(BODY)}") + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


@row("P29")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_without_a_length_ends_with_its_connection(caller: Caller, version: str) -> None:
    caller.server.script("GET", "/models", [raw(f"HTTP/{version} 200 OK\r\n\r\n".encode() + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


# Slow responses.


@row("L03")
@pytest.mark.parametrize("code", [200, 401, 500])
def test_a_slow_response_body_times_out(caller: Caller, code: int) -> None:
    drip = endless(b" ", head=f"HTTP/1.1 {code} X\r\nContent-Length: 1000\r\n\r\n".encode(), pause=0.02, most=1000)
    caller.server.script("GET", "/models", always(drip))
    began = time.monotonic()
    error = caller.fails(APITimeoutError, models, timeout=0.3, max_retries=1)
    assert error.attempts == len(caller.server.requests) == 2
    assert time.monotonic() - began < 10


@row("L03")
def test_a_creation_with_a_slow_response_body_is_looked_up(caller: Caller) -> None:
    drip = endless(b" ", head=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", pause=0.02, most=1000)
    caller.server.script("POST", JOBS, [carried_out(drip)])
    assert caller(create, timeout=0.3).id == "ftjob-1"
    assert len(caller.server.sent("POST", JOBS)) == 1


@row("L08")
def test_a_slow_response_within_the_timeout_is_accepted(caller: Caller) -> None:
    caller.server.script("GET", "/models", [slow(0.3)] * 2)
    caller(models, models, timeout=3.0)
    assert len(caller.server.requests) == 2


# Large responses.


@functools.cache
def make_bomb(encoding: str) -> bytes:
    """Compress 300 MiB of spaces, without an end marker, because no client should read that far."""
    packer = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15}[encoding])
    first, further = (packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + further * 299  # data after a full flush does not depend on earlier data


@functools.cache
def warm_up() -> None:
    """Make a first call with each kind of client, so that modules are loaded before measuring."""
    with Faults() as server:
        for way in WAYS:
            Caller(server, *way)(models)


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """Check that the test uses little more memory than the largest response."""
    warm_up()
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    yield
    grown = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert grown < 40 * MIB  # the limit of a response, the growth of its buffer, and the server's own data


@pytest.mark.usefixtures("limited_memory")
@row("L04")
def test_a_response_of_300_mib_is_not_read_completely(caller: Caller) -> None:
    large = endless(b" " * MIB, head=head(f"Content-Length: {300 * MIB}"), most=300 * MIB)
    caller.server.script("GET", "/models", always(large))
    assert "16 MiB" in str(caller.fails(APIResponseError, models))
    caller.server.wait_for_endless_response()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("limited_memory")
@row("L05")
def test_an_endless_response_is_cut_off(caller: Caller) -> None:
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    caller.server.script("GET", "/models", always(endless(chunk, head=head("Transfer-Encoding: chunked"))))
    assert "16 MiB" in str(caller.fails(APIResponseError, models))
    caller.server.wait_for_endless_response()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("limited_memory")
@row("L06")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_response_is_refused_without_reading_it(caller: Caller, encoding: str) -> None:
    caller.server.script("GET", "/models", always(status(200, make_bomb(encoding), {"Content-Encoding": encoding})))
    assert "compressed" in str(caller.fails(APIResponseError, models))
    assert {request.headers["accept-encoding"] for request in caller.server.requests} == {"identity"}


@pytest.mark.usefixtures("limited_memory")
@row("L06")
def test_a_compressed_response_to_a_deletion_is_refused(caller: Caller) -> None:
    caller.server.script("DELETE", "/files/f", always(status(200, make_bomb("gzip"), {"Content-Encoding": "gzip"})))
    assert "compressed" in str(caller.fails(APIResponseError, lambda client: client.files.delete("f")))


@pytest.mark.usefixtures("limited_memory")
@row("L04")
def test_a_large_response_to_a_deletion_is_not_read_completely(caller: Caller) -> None:
    large = endless(b" " * MIB, head=head(f"Content-Length: {300 * MIB}"), most=300 * MIB)
    caller.server.script("DELETE", "/files/f", always(large))
    assert "16 MiB" in str(caller.fails(APIResponseError, lambda client: client.files.delete("f")))
    caller.server.wait_for_endless_response()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("limited_memory")
@row("L07")
@pytest.mark.parametrize("code", [401, 403, 500, 302])
def test_a_compressed_error_is_not_decompressed_completely(caller: Caller, code: int) -> None:
    large = status(code, make_bomb("gzip"), {"Content-Encoding": "gzip"})
    caller.server.script("GET", "/models", always(large))
    kinds = {401: AuthenticationError, 403: PermissionDeniedError, 500: InternalServerError, 302: APIResponseError}
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    error: BedrockRFTError = caller.fails(kinds[code], models)
    assert len(str(error)) < 2000
    assert tracemalloc.get_traced_memory()[1] - before < 10 * MIB


@row("L07")
def test_a_large_error_is_not_read_completely(sync_caller: Caller) -> None:
    large = endless(b" " * MIB, head=b"HTTP/1.1 500 X\r\nContent-Length: 999999999\r\n\r\n")
    sync_caller.server.script("GET", "/models", always(large))
    sync_caller.fails(InternalServerError, models)
    sync_caller.server.wait_for_endless_response()
    assert max(sync_caller.server.written) < 60 * MIB


@row("P16")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_compressed_response_keeps_its_status(sync_caller: Caller, encoding: str) -> None:
    sync_caller.server.script("GET", "/models", always(status(200, BODY, {"Content-Encoding": encoding})))
    error = sync_caller.fails(APIResponseError, models)
    assert (error.status, error.attempts) == (200, 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_an_error_that_cannot_be_decompressed_is_raised_by_its_status(sync_caller: Caller, encoding: str) -> None:
    sync_caller.server.script("GET", "/models", always(status(500, b"no such thing", {"Content-Encoding": encoding})))
    assert sync_caller.fails(InternalServerError, models).attempts == 3


def test_an_unreadable_response_reports_the_number_of_attempts(caller: Caller) -> None:
    caller.server.script("GET", f"{JOBS}/ftjob-1", [status(503), status(200, b"no JSON")])
    assert caller.fails(APIResponseError, retrieve).attempts == 2
