"""Faults while a body travels: either way, too slow, too large, or framed in odd ways."""

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

row = pytest.mark.row
JOBS = "/fine_tuning/jobs"
BODY = b'{"object":"list","data":[{"id":"m"}]}'
MIB = 1 << 20
LARGE = b'{"messages": []}\n' * 1_000_000  # more than the buffers of two sockets take


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
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
def either(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, request.param, "blocking")
    yield caller
    caller.check_identity()


def models(client: Any) -> Any:
    return client.models.list()


def retrieve(client: Any) -> Any:
    return client.jobs.retrieve("ftjob-1")


def upload(client: Any) -> Any:
    return client.files.upload(LARGE, filename="train.jsonl", validate=False)


# On its way there.


@row("Q02")
@pytest.mark.parametrize("read", [0, 1 << 20, 9 << 20])
def test_an_upload_that_broke_off_is_sent_again_from_its_beginning(caller: Caller, read: int) -> None:
    caller.server.script_early("POST", "/files", [reset_early(read)])
    assert caller(upload).id == "file-1"
    [(_, body)] = caller.server.files.items()
    assert body.count(LARGE) == 1
    assert len(caller.server.begun) == 1


@row("Q03")
def test_an_upload_that_always_breaks_off_says_so_and_names_the_file(caller: Caller) -> None:
    caller.server.script_early("POST", "/files", always(reset_early(1 << 20)))
    error = caller.fails(APIConnectionError, upload)
    assert len(caller.server.begun) == error.attempts == 3
    assert "The upload of 'train.jsonl' did not complete" in str(error)
    assert caller.server.files == {}


@row("Q04")
def test_a_peer_that_stops_reading_an_upload_is_given_up(caller: Caller) -> None:
    caller.server.script_early("POST", "/files", always(stall))
    began = time.monotonic()
    error = caller.fails(APIConnectionError, upload, timeout=0.5)
    assert len(caller.server.begun) == error.attempts == 3
    assert "train.jsonl" in str(error)
    assert time.monotonic() - began < 20
    assert caller.server.files == {}


@row("Q04")
def test_an_upload_is_taken_in_the_end_though_a_peer_stopped_reading_it(either: Caller) -> None:
    either.server.script_early("POST", "/files", [stall])
    assert either(upload, timeout=1.0).id == "file-1"


@row("Q05")
def test_an_upload_that_is_refused_before_it_was_read_is_refused_in_those_words(caller: Caller) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.send(413, b'{"error": {"code": "too_large", "message": "At most 1 MB."}}', {"Connection": "close"})
        exchange.read(1 << 30)  # as orderly peers do: to hang up on what is still sent would take the answer along
        exchange.close()

    caller.server.script_early("POST", "/files", always(refuse))
    error = caller.fails(BadRequestError, upload)
    assert (error.status, error.attempts) == (413, 1)
    assert "At most 1 MB." in str(error)


@row("Q06")
@pytest.mark.parametrize("read", [0, 20])
def test_a_creation_that_broke_off_is_looked_up_and_not_sent_again(caller: Caller, read: int) -> None:
    caller.server.script_early("POST", JOBS, always(reset_early(read)))
    error = caller.fails(AmbiguousCreateError, create)
    assert len(caller.server.begun) == 1
    assert caller.server.jobs == []
    assert error.marker in str(error)


@row("Q06")
def test_a_large_creation_that_broke_off_is_found_where_it_was_made(either: Caller) -> None:
    """The answer comes before the body was read: the service may have made the job all the same."""

    def made(exchange: Exchange) -> None:
        exchange.faults.add_job(model=MODEL, training_file="file-1", metadata={"bedrock_rft_marker": "mine"})
        exchange.reset()

    either.server.script_early("POST", JOBS, [made])
    metadata = {f"k{number}": "v" * 500 for number in range(15)}

    def named(client: Any) -> Any:
        return client.jobs.create(MODEL, training_file="file-1", reward=ARN, metadata=metadata)

    either.fails(AmbiguousCreateError, named)  # a job with another marker is somebody else's
    assert len(either.server.begun) == 1
    assert not either.server.sent("POST", JOBS)


# On its way back: odd frames.


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, "")).encode()


@row("P12")
def test_json_needs_no_content_type(caller: Caller) -> None:
    caller.server.script("GET", "/models", [raw(head(f"Content-Length: {len(BODY)}") + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


@row("P11")
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream", "nonsense"])
def test_json_is_json_whatever_it_is_said_to_be(caller: Caller, kind: str) -> None:
    caller.server.script("GET", "/models", [status(200, BODY, {"Content-Type": kind})])
    assert [model.id for model in caller(models)] == ["m"]


@row("P19")
def test_a_header_of_a_mebibyte_is_bounded(caller: Caller) -> None:
    caller.server.script("GET", "/models", always(raw(head(f"x-long: {'v' * MIB}", "Content-Length: 0"))))
    error = caller.fails(APIError, models)
    assert isinstance(error, (APIConnectionError, APIResponseError))
    assert len(caller.server.requests) <= 3


@row("P23")
def test_two_lengths_that_differ_are_none(caller: Caller) -> None:
    odd = head(f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY) - 9}") + BODY
    caller.server.script("GET", "/models", [raw(odd)])
    assert [model.id for model in caller(models)] == [MODEL]  # asked again
    assert len(caller.server.requests) == 2


@row("P20")
def test_ten_thousand_headers_are_bounded(caller: Caller) -> None:
    flood = head(*(f"x-{number}: {'v' * 40}" for number in range(10_000)), f"Content-Length: {len(BODY)}") + BODY
    caller.server.script("GET", "/models", always(raw(flood)))
    error = caller.fails(APIError, models)
    assert isinstance(error, (APIConnectionError, APIResponseError))
    assert len(caller.server.requests) <= 3


@row("P28")
def test_a_hundred_interim_responses_are_passed_over(caller: Caller) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n" * 100
    caller.server.script("GET", "/models", [raw(interim + head(f"Content-Length: {len(BODY)}") + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


@row("P29")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_without_a_length_ends_with_its_connection(caller: Caller, version: str) -> None:
    caller.server.script("GET", "/models", [raw(f"HTTP/{version} 200 OK\r\n\r\n".encode() + BODY)])
    assert [model.id for model in caller(models)] == ["m"]


# Slow.


@row("L03")
@pytest.mark.parametrize("code", [200, 401, 500])
def test_an_answer_that_drips_is_given_up(caller: Caller, code: int) -> None:
    drip = endless(b" ", head=f"HTTP/1.1 {code} X\r\nContent-Length: 1000\r\n\r\n".encode(), pause=0.02, most=1000)
    caller.server.script("GET", "/models", always(drip))
    began = time.monotonic()
    error = caller.fails(APITimeoutError, models, timeout=0.3, max_retries=1)
    assert error.attempts == len(caller.server.requests) == 2
    assert time.monotonic() - began < 10


@row("L03")
def test_a_creation_whose_answer_drips_is_looked_up(caller: Caller) -> None:
    drip = endless(b" ", head=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", pause=0.02, most=1000)
    caller.server.script("POST", JOBS, [carried_out(drip)])
    assert caller(create, timeout=0.3).id == "ftjob-1"
    assert len(caller.server.sent("POST", JOBS)) == 1


@row("L08")
def test_an_answer_that_is_late_but_in_time_is_one(caller: Caller) -> None:
    caller.server.script("GET", "/models", [slow(0.3)] * 2)
    caller(models, models, timeout=3.0)
    assert len(caller.server.requests) == 2


# Large.


@functools.cache
def bomb(encoding: str) -> bytes:
    """300 MiB of spaces, compressed. It has no end, since nobody should read so far."""
    packer = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15}[encoding])
    first, further = (packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + further * 299  # what follows a full flush refers to nothing before it


@functools.cache
def load() -> None:
    """Whatever is loaded by a first call is nothing to measure."""
    with Faults() as server:
        for way in WAYS:
            Caller(server, *way)(models)


@pytest.fixture
def frugal() -> Iterator[None]:
    """What happens within takes little more memory than the largest answer."""
    load()
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    yield
    grown = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert grown < 40 * MIB  # the answer's bound, as much again as lists grow by, and what the server makes


@pytest.mark.usefixtures("frugal")
@row("L04")
def test_an_answer_of_300_mib_is_not_read_to_its_end(caller: Caller) -> None:
    large = endless(b" " * MIB, head=head(f"Content-Length: {300 * MIB}"), most=300 * MIB)
    caller.server.script("GET", "/models", always(large))
    assert "16 MiB" in str(caller.fails(APIResponseError, models))
    caller.server.settle()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("frugal")
@row("L05")
def test_an_answer_without_an_end_has_one_here(caller: Caller) -> None:
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    caller.server.script("GET", "/models", always(endless(chunk, head=head("Transfer-Encoding: chunked"))))
    assert "16 MiB" in str(caller.fails(APIResponseError, models))
    caller.server.settle()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("frugal")
@row("L06")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_response_is_refused_unread(caller: Caller, encoding: str) -> None:
    caller.server.script("GET", "/models", always(status(200, bomb(encoding), {"Content-Encoding": encoding})))
    assert "compressed" in str(caller.fails(APIResponseError, models))
    assert {request.headers["accept-encoding"] for request in caller.server.requests} == {"identity"}


@pytest.mark.usefixtures("frugal")
@row("L06")
def test_so_is_the_response_to_a_deletion(caller: Caller) -> None:
    caller.server.script("DELETE", "/files/f", always(status(200, bomb("gzip"), {"Content-Encoding": "gzip"})))
    assert "compressed" in str(caller.fails(APIResponseError, lambda client: client.files.delete("f")))


@pytest.mark.usefixtures("frugal")
@row("L04")
def test_the_response_to_a_deletion_has_the_same_bound(caller: Caller) -> None:
    large = endless(b" " * MIB, head=head(f"Content-Length: {300 * MIB}"), most=300 * MIB)
    caller.server.script("DELETE", "/files/f", always(large))
    assert "16 MiB" in str(caller.fails(APIResponseError, lambda client: client.files.delete("f")))
    caller.server.settle()
    assert caller.server.written[0] < 60 * MIB


@pytest.mark.usefixtures("frugal")
@row("L07")
@pytest.mark.parametrize("code", [401, 403, 500, 302])
def test_an_error_is_read_to_64_kib_only(caller: Caller, code: int) -> None:
    large = status(code, bomb("gzip"), {"Content-Encoding": "gzip"})
    caller.server.script("GET", "/models", always(large))
    kinds = {401: AuthenticationError, 403: PermissionDeniedError, 500: InternalServerError, 302: APIResponseError}
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    error: BedrockRFTError = caller.fails(kinds[code], models)
    assert len(str(error)) < 2000
    assert tracemalloc.get_traced_memory()[1] - before < 10 * MIB


@row("L07")
def test_an_error_that_is_not_compressed_is_read_no_further(either: Caller) -> None:
    large = endless(b" " * MIB, head=b"HTTP/1.1 500 X\r\nContent-Length: 999999999\r\n\r\n")
    either.server.script("GET", "/models", always(large))
    either.fails(InternalServerError, models)
    either.server.settle()
    assert max(either.server.written) < 60 * MIB


@row("P16")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_compressed_response_keeps_its_status(either: Caller, encoding: str) -> None:
    either.server.script("GET", "/models", always(status(200, BODY, {"Content-Encoding": encoding})))
    error = either.fails(APIResponseError, models)
    assert (error.status, error.attempts) == (200, 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_an_error_that_cannot_be_decompressed_is_one_by_its_status(either: Caller, encoding: str) -> None:
    either.server.script("GET", "/models", always(status(500, b"no such thing", {"Content-Encoding": encoding})))
    assert either.fails(InternalServerError, models).attempts == 3


def test_an_unreadable_answer_says_how_often_it_was_asked_for(caller: Caller) -> None:
    caller.server.script("GET", f"{JOBS}/ftjob-1", [status(503), status(200, b"no JSON")])
    assert caller.fails(APIResponseError, retrieve).attempts == 2
