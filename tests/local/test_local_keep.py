"""Answers of the service in a box that come before their question's end: what then becomes of the connection."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.raw_socket import HOST, answered, drip, head, key, port, said, status
from uvicorn.protocols.http import h11_impl

from bedrock_rft.local import LocalService
from bedrock_rft.local._http import app as _http
from bedrock_rft.local._http import guard
from bedrock_rft.local._http import server as _server
from bedrock_rft.local._service import routes as _routes

CLOSES = b"\r\nconnection: close\r\n"
SMALL = 64 << 10
# What is answered before its body is read: the request line, a header, whether the sender has the key, the status.
EARLY = [
    pytest.param("POST /v1/files", "Content-Type: application/json", False, 401, id="stranger"),
    pytest.param("POST /v1/files", "Content-Type: multipart/form-data", True, 400, id="boundary"),
    pytest.param("POST /v1/fine_tuning/jobs", "Content-Type: text/plain", True, 415, id="type"),
    pytest.param("PUT /v1/files", "Content-Type: application/json", True, 405, id="method"),
]


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    with LocalService() as found:
        yield found


def connected(service: LocalService) -> socket.socket:
    return socket.create_connection((HOST, port(service)), timeout=10)


def early(service: LocalService, *lines: str) -> bytes:
    """The head of a stranger's POST, who is answered at once."""
    return head(service, "Content-Type: text/plain", *lines, request="POST /v1/files HTTP/1.1", admitted=False)


def heeded(monkeypatch: pytest.MonkeyPatch, name: str) -> queue.Queue[guard.Guarded]:
    """Where a connection is told of once it has been through a method of the guard's."""
    done: queue.Queue[guard.Guarded] = queue.Queue()
    method = getattr(guard.Guarded, name)

    def told(self: guard.Guarded, *arguments: Any) -> None:
        method(self, *arguments)
        done.put(self)

    monkeypatch.setattr(guard.Guarded, name, told)
    return done


def rest(peer: socket.socket) -> bytes:
    """What comes up to the end of the connection, which is no reset."""
    return b"".join(iter(lambda: peer.recv(65536), b""))


# Little is to come, and it is known how much


@pytest.mark.parametrize(("line", "kind", "admitted", "code"), EARLY)
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_a_connection_outlives_an_early_answer(
    service: LocalService, line: str, kind: str, admitted: bool, code: int, together: bool
) -> None:
    request = head(service, kind, "Content-Length: 20", request=f"{line} HTTP/1.1", admitted=admitted)
    body, following = b"\r\n\r\nGET / HTTP/1.1\r\n", head(service)
    assert len(body) == 20
    with connected(service) as peer:
        for _ in range(3):
            peer.sendall(request)
            answer = answered(peer)
            assert status(answer) == code
            assert CLOSES not in answer.lower()
            for piece in [body + following] if together else [body[:7], body[7:], following]:
                peer.sendall(piece)
            assert status(answered(peer)) == 200


def test_what_came_with_the_head_is_counted(service: LocalService) -> None:
    with connected(service) as peer:
        for sent in (0, 10):
            peer.sendall(early(service, f"Content-Length: {SMALL + sent}") + b"x" * sent)
            answer = answered(peer)
            assert status(answer) == 401
            assert CLOSES not in answer.lower()
            peer.sendall(b"x" * SMALL + head(service))
            assert status(answered(peer)) == 200


def test_a_body_too_long_to_hold_goes_on_behind_the_answer(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h11_impl, "HIGH_WATER_LIMIT", 1000)  # behind which nothing is taken from the peer
    with connected(service) as peer:
        peer.sendall(early(service, "Content-Length: 3000") + b"x" * 2000)
        assert status(answered(peer)) == 401
        peer.sendall(b"x" * 1000 + head(service))
        assert status(answered(peer)) == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Content-Length: 2", "Content-Length: 2"],
        ["Transfer-Encoding: gzip, chunked"],
        ["X: a\nY: b"],
        ["X: folded", " here"],
        ["X: \x00"],
        ["X: 1"] * 200,
        [f"X: {'x' * 70_000}"],
    ],
    ids=["both", "twice", "coding", "line", "fold", "nul", "many", "large"],
)
def test_a_head_behind_an_early_answers_body_is_looked_at(service: LocalService, lines: list[str]) -> None:
    """In the segment of the body's last bytes, where nothing of the guard's may be passed by."""
    wrong = head(service, *lines, request="POST /v1/files HTTP/1.1") + b"0\r\n\r\n"
    with connected(service) as peer:
        peer.sendall(early(service, "Content-Length: 5"))
        assert status(answered(peer)) == 401
        peer.sendall(b"x" * 5 + wrong)
        answer = rest(peer)
    assert status(answer) in {400, 431}
    assert answer == said(service, wrong)


def test_a_head_behind_an_early_answers_body_has_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_HEAD", 0.2)
    with LocalService() as service, connected(service) as peer:
        peer.sendall(early(service, "Content-Length: 5"))
        assert status(answered(peer)) == 401
        peer.sendall(b"x" * 5 + b"GET /v1/mod")
        assert status(rest(peer)) == 408


def test_a_third_request_behind_the_second_is_not_answered(service: LocalService) -> None:
    with connected(service) as peer:
        peer.sendall(early(service, "Content-Length: 5"))
        assert status(answered(peer)) == 401
        peer.sendall(b"x" * 5 + head(service) * 2)
        answer = rest(peer)
    assert status(answer) == 200
    assert answer.count(b"HTTP/1.1 ") == 1
    assert CLOSES in answer.lower()


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_HEARD_OUT", 0.2)
    with LocalService() as service:
        for slow in (False, True):
            with connected(service) as peer:
                peer.sendall(early(service, f"Content-Length: {SMALL}"))
                assert CLOSES not in answered(peer).lower()
                if slow:
                    drip(peer, b"x")  # a byte at a time is no way around it
                else:
                    assert rest(peer) == b""


def test_a_connection_is_idle_once_the_body_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn stops its clock with every byte; without another, such a connection would stay for ever."""
    monkeypatch.setattr(_server, "_IDLE", 0.2)
    with LocalService() as service, connected(service) as peer:
        peer.sendall(early(service, "Content-Length: 5"))
        assert status(answered(peer)) == 401
        peer.sendall(b"x" * 5)
        assert rest(peer) == b""


def test_peers_with_bodies_to_send_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "places", lambda: 5)
    with LocalService() as service, contextlib.ExitStack() as stack:
        for _ in range(10):
            peer = stack.enter_context(connected(service))
            peer.sendall(early(service, "Content-Length: 5"))
            assert status(answered(peer)) == 401


# Much may come, or nobody knows how much


@pytest.mark.parametrize(
    "lines",
    [
        [f"Content-Length: {SMALL + 1}"],
        ["Content-Length: 999999999999999"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Expect: 100-continue"],
        ["Content-Length: 5", "Connection: close"],
    ],
    ids=["large", "largest", "chunked", "expectant", "closing"],
)
def test_a_last_answer_says_so(service: LocalService, lines: list[str]) -> None:
    with connected(service) as peer:
        peer.sendall(early(service, *lines))
        answer = rest(peer)  # up to its end, which comes by itself
        assert status(answer) == 401
        assert CLOSES in answer.lower()
        assert answer.lower().count(b"\r\nconnection:") == 1
        with contextlib.suppress(ConnectionError):
            peer.sendall(b"x" * 5 + head(service))
            assert rest(peer) == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 8388608"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 8388608", "Connection: close"],
    ],
    ids=["large", "chunked", "closing"],
)
def test_a_last_answer_can_be_read_by_who_still_sends(service: LocalService, lines: list[str]) -> None:
    with connected(service) as peer:
        peer.sendall(early(service, *lines))
        body = b"x" * (8 << 20)
        if "chunked" in lines[0]:  # else some of it may come before the answer, and is no chunk
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        peer.sendall(body + head(service))
        answer = rest(peer)
        assert status(answer) == 401
        assert CLOSES in answer.lower()
        assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_that_stopped_coming_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "_STALLED", 0.2)
    lines = ["Content-Type: application/json", "Content-Length: 5"]
    with LocalService() as service, connected(service) as peer:
        peer.sendall(head(service, *lines, request="POST /v1/responses HTTP/1.1"))
        answer = rest(peer)
        assert status(answer) == 408
        assert CLOSES in answer.lower()


# Neither


def test_a_chunk_in_pieces_is_no_second_request(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = heeded(monkeypatch, "data_received")
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    request = head(service, *lines, request="POST /v1/chat/completions HTTP/1.1")
    with connected(service) as peer:
        for piece in (request, b"2\r\n{}", b"\r", b"\n0", b"\r\n\r\n"):
            peer.sendall(piece)
            seen.get(timeout=10)
        answer = answered(peer)
        assert status(answer) == 400
        assert CLOSES not in answer.lower()
        peer.sendall(head(service))
        assert status(answered(peer)) == 200


def test_a_last_answer_leaves_no_clock_for_the_next_request(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is shorter would cut off whoever still sends."""
    answered_by = heeded(monkeypatch, "on_response_complete")
    with connected(service) as peer:
        peer.sendall(early(service, "Transfer-Encoding: chunked"))
        assert answered_by.get(timeout=10).timeout_keep_alive_task is None


@pytest.fixture
def verbose(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalService]:
    """A service whose list of files is too long for what lies between it and its peer."""
    monkeypatch.setattr(_routes, "_LONGEST_NAME", 1 << 20)
    with LocalService() as service:
        for _ in range(100):
            service.service.receive(filename="x" * 200_000, purpose="fine-tune", chunks=[b"x"])
        yield service


def test_who_reads_nothing_is_not_kept_by_asking_more(verbose: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_STUCK", 0.2)
    gone = heeded(monkeypatch, "connection_lost")
    with connected(verbose) as peer:
        request = head(verbose, request="GET /v1/files?limit=100 HTTP/1.1")
        peer.sendall(request)
        assert peer.recv(4096, socket.MSG_PEEK)  # it is answered, as far as there is room
        peer.sendall(request)
        gone.get(timeout=10)


def test_who_reads_at_last_is_kept(verbose: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    paused, resumed = heeded(monkeypatch, "pause_writing"), heeded(monkeypatch, "resume_writing")
    with connected(verbose) as peer:
        peer.sendall(head(verbose, request="GET /v1/files?limit=100 HTTP/1.1"))
        assert paused.get(timeout=10)._stuck is not None
        assert status(answered(peer)) == 200
        assert resumed.get(timeout=10)._stuck is None


def test_a_pooled_connection_never_fails(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps its connections, and sends its body when it has its answer."""
    answers = heeded(monkeypatch, "on_response_complete")

    def body() -> Iterator[bytes]:
        answers.get(timeout=10)
        yield b"x" * 100

    known = {"Authorization": f"Bearer {key(service)}"}
    stranger = {"Authorization": "Bearer wrong", "Content-Length": "100"}
    boundless = {**known, "Content-Type": "multipart/form-data", "Content-Length": "100"}
    ports = set[int]()
    with httpx.Client(base_url=service.base_url, trust_env=False) as client:
        for number in range(20):
            refused = client.post("files", content=body(), headers=boundless if number % 2 else stranger)
            assert refused.status_code == (400 if number % 2 else 401)
            found = client.get("models", headers=known)
            assert found.status_code == 200
            answers.get(timeout=10)
            stream: Any = found.extensions["network_stream"]
            ports.add(stream.get_extra_info("client_addr")[1])
    assert len(ports) == 1
