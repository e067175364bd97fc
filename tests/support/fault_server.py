"""Loopback server that produces scripted faults over real sockets, and records every request."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import Self

__all__ = [
    "Exchange",
    "Fault",
    "Faults",
    "Request",
    "always",
    "answer",
    "bad_chunks",
    "carried_out",
    "close",
    "edited",
    "endless",
    "html",
    "raw",
    "reset",
    "reset_early",
    "reset_midway",
    "slow",
    "stall",
    "status",
    "truncated",
]

JOBS = "/fine_tuning/jobs"


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float
    """`time.monotonic()` after reading it."""
    peer: int = 0
    """The client's port, which identifies the connection."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Job:
    """A job in memory. Each poll moves it to its next status; the last one stays."""

    fields: dict[str, Any]
    statuses: list[str] = field(default_factory=lambda: ["validating_files", "running", "succeeded"])
    unlisted: int = 0
    """The number of further lists that omit it."""

    def poll(self) -> dict[str, Any]:
        now = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.fields["status"] = now
        return self.fields


class Exchange:
    """A request and its connection, which a fault can act on."""

    def __init__(self, handler: _Handler, request: Request, faults: Faults) -> None:
        self._handler = handler
        self.request = request
        self.faults = faults

    def carry_out(self) -> tuple[int, bytes]:
        """Carry out the request; return status and body of the correct response."""
        code, found = self.faults.carry_out(self.request)
        return code, b"" if found is None else found if isinstance(found, bytes) else json.dumps(found).encode()

    def send(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a response, with correct framing unless `headers` override it."""
        given = {"Content-Length": str(len(body)), "Content-Type": "application/json", "x-request-id": "req-1"}
        given |= dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        reason = "Because"
        self.write(f"HTTP/1.1 {code} {reason}\r\n{head}\r\n".encode() + body)

    def write(self, data: bytes) -> bool:
        """Write bytes unchanged; return False if the peer is gone."""
        with contextlib.suppress(OSError):  # the client may have given up
            self._handler.wfile.write(data)
            self._handler.wfile.flush()
            return True
        return False

    def read(self, size: int) -> bytes:
        """Read some of an unread body."""
        with contextlib.suppress(OSError):
            return self._handler.rfile.read(size)
        return b""

    def wait_for_disconnect(self, seconds: float) -> bool:
        """Wait for the peer to disconnect, without reading; return True if it did."""
        poll = select.poll()
        poll.register(self._handler.connection, select.POLLRDHUP | select.POLLHUP)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close the connection in order."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """Reset the connection."""
        self._handler.close_connection = True
        # With a linger time of 0, close() sends RST instead of FIN.
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Fault = Callable[[Exchange], None]


def answer(exchange: Exchange) -> None:
    """Send the correct response."""
    exchange.send(*exchange.carry_out())


def status(code: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Fault:
    """Return a fault that sends a status and does nothing else. A body other than bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda exchange: exchange.send(code, content, headers)


def html(code: int, *, title: str = "Log in", size: int = 5000) -> Fault:
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{'x' * size}</body></html>"
    return status(code, page.encode(), {"Content-Type": "text/html"})


def raw(data: bytes) -> Fault:
    """Return a fault that writes bytes unchanged and closes."""

    def fault(exchange: Exchange) -> None:
        exchange.write(data)
        exchange.close()

    return fault


def bad_chunks(exchange: Exchange) -> None:
    exchange.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"obj\r\nnonsense\r\n')
    exchange.close()


def close(exchange: Exchange) -> None:
    """Close without a response."""
    exchange.close()


def reset(exchange: Exchange) -> None:
    exchange.reset()


def truncated(exchange: Exchange) -> None:
    """Carry out, announce the whole response, send half of it and close."""
    code, body = exchange.carry_out()
    exchange.send(code, body[: len(body) // 2], {"Content-Length": str(len(body))})
    exchange.close()


def reset_midway(exchange: Exchange) -> None:
    """Do the same as `truncated`, but reset the connection."""
    code, body = exchange.carry_out()
    exchange.send(code, body[: len(body) // 2], {"Content-Length": str(len(body))})
    time.sleep(0.05)  # let the data arrive before the reset discards it
    exchange.reset()


def reset_early(size: int) -> Fault:
    """Return a fault that reads some of the body, and resets the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.read(size)
        exchange.reset()

    return fault


def stall(exchange: Exchange) -> None:
    """Read nothing of the body until the peer gives up."""
    exchange.wait_for_disconnect(10)
    exchange.reset()


def endless(piece: bytes, *, head: bytes, pause: float = 0.0, most: int = 1 << 30) -> Fault:
    """Return a fault that writes a head, then a piece of a body repeatedly while the peer accepts it."""

    def fault(exchange: Exchange) -> None:
        exchange.close()
        exchange.write(head)
        sent = 0
        while sent < most and exchange.write(piece):
            sent += len(piece)
            if pause:
                time.sleep(pause)
        exchange.faults.written.append(sent)

    return fault


def slow(seconds: float) -> Fault:
    def fault(exchange: Exchange) -> None:
        time.sleep(seconds)
        answer(exchange)

    return fault


def carried_out(then: Fault) -> Fault:
    """Return a fault that carries out the request, then acts as another fault."""

    def fault(exchange: Exchange) -> None:
        exchange.carry_out()
        then(exchange)

    return fault


def edited(change: Callable[[Any], object]) -> Fault:
    """Return a fault that carries out the request, and changes the response."""

    def fault(exchange: Exchange) -> None:
        code, body = exchange.carry_out()
        exchange.send(code, json.dumps(change(json.loads(body))).encode())

    return fault


def always(fault: Fault) -> Iterator[Fault]:
    return itertools.repeat(fault)


class Faults:
    """Server that is a small, correct service unless a script adds faults.

    Attributes:
        requests: received requests, in order.
        jobs: all jobs, newest last.
        list_lag: number of lists that omit a new job.
        list_metadata: include metadata in lists.
        statuses: the statuses of a new job, one for each poll.
        log: events of every job, newest first.
        connections: number of accepted connections.
        begun: requests with a fault before their body was read.
        written: bytes sent by endless responses.
        guard: returns the refusal of a request, or None to accept it.
    """

    def __init__(self, *, up: bool = True, tls: ssl.SSLContext | str | None = None) -> None:
        """Bind a port.

        Args:
            up: listen at once; otherwise connections are refused until `start_listening`.
            tls: use TLS; or "close" or "silent" in place of a handshake.
        """
        self.connections = 0
        self.begun: list[Request] = []
        self.written: list[int] = []
        self.guard: Callable[[Request], Fault | None] | None = None
        self.tls = tls
        self._early: list[tuple[str, re.Pattern[str], Iterator[Fault]]] = []
        self.requests: list[Request] = []
        self.jobs: list[Job] = []
        self.files: dict[str, bytes] = {}
        self.list_lag = 0
        self.list_metadata = True
        self.statuses = ["validating_files", "running", "succeeded"]
        self.log: list[Any] = []
        self._scripts: list[tuple[str, re.Pattern[str], Iterator[Fault]]] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._up = up
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        if self._up:
            self.start_listening()
        return self

    def start_listening(self) -> None:
        """Accept connections."""
        self._server.server_activate()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def script(self, method: str, path: str, faults: Iterable[Fault]) -> None:
        """Add faults, one for each matching request. Method and path (after the base URL) are patterns."""
        self._scripts.append((method, re.compile(path), iter(faults)))

    def wait_for_endless_response(self) -> None:
        """Wait for an endless response to end after its client has disconnected."""
        deadline = time.monotonic() + 10
        while not self.written and time.monotonic() < deadline:
            time.sleep(0.01)

    def script_early(self, method: str, path: str, faults: Iterable[Fault]) -> None:
        """Add faults as `script` does, but before the body of a request is read."""
        self._early.append((method, re.compile(path), iter(faults)))

    def sent(self, method: str, path: str = r".*") -> list[Request]:
        """Return the requests for a method and a path."""
        return [one for one in self.requests if one.method == method and re.fullmatch(path, one.path)]

    def add_job(self, *, statuses: Iterable[str] | None = None, **fields: Any) -> str:
        """Add a job, as another program could; return its id."""
        job_id = f"ftjob-{len(self.jobs) + 1}"
        given = {"id": job_id, "object": "fine_tuning.job", "created_at": int(time.time()), "model": "", **fields}
        self.jobs.append(Job(given, list(statuses or self.statuses)))
        return job_id

    def take(self, request: Request) -> Fault:
        """Record a request, and return its fault."""
        with self._lock:
            self.requests.append(request)
            refused = self.guard(request) if self.guard is not None else None
            return refused or _next(self._scripts, request) or answer

    def take_early(self, request: Request) -> Fault | None:
        """Return the fault for a request with an unread body, or None to continue."""
        with self._lock:
            fault = _next(self._early, request)
            if fault is not None:
                self.begun.append(request)
            return fault

    def carry_out(self, request: Request) -> tuple[int, object]:
        """Carry out a request as the service does; return status and body."""
        with self._lock:
            for method, path, operation in _ROUTES:
                match = re.fullmatch(path, request.path)
                if match and method == request.method:
                    return operation(self, request, *map(unquote, match.groups()))
        return 404, None

    def _models(self, _: Request) -> tuple[int, object]:
        return 200, {"object": "list", "data": [{"id": "openai.gpt-oss-20b", "object": "model"}]}

    def _model(self, _: Request, model: str) -> tuple[int, object]:
        return 200, {"id": model, "object": "model"}

    def _upload(self, request: Request) -> tuple[int, object]:
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = request.body
        return 200, {"id": file_id, "object": "file", "bytes": len(request.body), "filename": "train.jsonl"}

    def _delete(self, _: Request, file_id: str) -> tuple[int, object]:
        if self.files.pop(file_id, None) is None:
            return 404, _refusal("not_found", f"No file {file_id}.")
        return 200, {"id": file_id, "object": "file", "deleted": True}

    def _create(self, request: Request) -> tuple[int, object]:
        body = request.json()
        fields = {**body, "status": "validating_files"}
        self.add_job(**fields)
        self.jobs[-1].unlisted = self.list_lag
        return 200, self.jobs[-1].fields

    def _list(self, request: Request) -> tuple[int, object]:
        listed: list[dict[str, Any]] = []
        for job in reversed(self.jobs):
            if job.unlisted:
                job.unlisted -= 1
            else:
                hidden = () if self.list_metadata else ("metadata",)
                listed.append({key: value for key, value in job.fields.items() if key not in hidden})
        return 200, paged(listed, request)

    def _job(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.fields["id"] == job_id), None)

    def _get(self, _: Request, job_id: str) -> tuple[int, object]:
        job = self._job(job_id)
        return (200, job.poll()) if job else (404, _refusal("not_found", f"No job {job_id}."))

    def _cancel(self, _: Request, job_id: str) -> tuple[int, object]:
        job = self._job(job_id)
        if job is None:
            return 404, _refusal("not_found", f"No job {job_id}.")
        if job.fields.get("status") == "cancelled":
            return 400, _refusal("invalid_state", "The job is cancelled already.")
        job.statuses = ["cancelled"]
        return 200, job.poll()

    def _events(self, request: Request, _: str) -> tuple[int, object]:
        return 200, paged(self.log, request)


def _next(scripts: list[tuple[str, re.Pattern[str], Iterator[Fault]]], request: Request) -> Fault | None:
    for method, path, faults in scripts:
        if re.fullmatch(method, request.method) and path.fullmatch(request.path):
            fault = next(faults, None)
            if fault is not None:
                return fault
    return None


def paged(items: list[Any], request: Request) -> dict[str, Any]:
    """Return the requested page."""
    ids: list[Any] = [item.get("id") for item in items]
    after = request.query.get("after")
    start = ids.index(after) + 1 if after in ids else 0
    end = start + int(request.query.get("limit", "20"))
    return {"object": "list", "data": items[start:end], "has_more": end < len(items)}


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": "invalid_request_error", "param": None}}


_Operation = Callable[..., tuple[int, object]]
_ROUTES: tuple[tuple[str, str, _Operation], ...] = (
    ("GET", "/models", Faults._models),
    ("GET", "/models/([^/]+)", Faults._model),
    ("POST", "/files", Faults._upload),
    ("DELETE", "/files/([^/]+)", Faults._delete),
    ("POST", JOBS, Faults._create),
    ("GET", JOBS, Faults._list),
    ("GET", f"{JOBS}/([^/]+)", Faults._get),
    ("POST", f"{JOBS}/([^/]+)/cancel", Faults._cancel),
    ("GET", f"{JOBS}/([^/]+)/events", Faults._events),
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.faults.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        tls = self.faults.tls
        if tls is None:
            super().finish_request(request, client_address)
        elif isinstance(tls, ssl.SSLContext):
            with contextlib.suppress(OSError), tls.wrap_socket(request, server_side=True) as wrapped:
                self._open.add(wrapped)
                super().finish_request(wrapped, client_address)
                self._open.discard(wrapped)
        elif tls == "silent":
            while request.recv(4096):
                pass
        else:
            request.recv(16)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request.fileno() < 0:
            return  # was wrapped in TLS, and is closed
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:4] == struct.pack("i", 1):
            request.close()  # reset without an orderly shutdown first
        else:
            super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake the threads that wait for another request on a keep-alive connection."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnected clients, which some tests cause."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Handle every method in the same way."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        head = Request(
            method=self.command,
            path=parts.path.removeprefix("/v1"),
            target=self.path,
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=b"",
            at=time.monotonic(),
            peer=self.client_address[1],
        )
        faults = cast("_Server", self.server).faults
        early = faults.take_early(head)
        if early is not None:
            early(Exchange(self, head, faults))
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = dataclasses.replace(head, body=body, at=time.monotonic())
        faults.take(request)(Exchange(self, request, faults))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Print nothing."""
