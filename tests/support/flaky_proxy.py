"""Loopback proxy that fails some requests, before or after forwarding them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from urllib.parse import urlsplit

from typing_extensions import Self

__all__ = ["FlakyProxy"]

FAULTS = ("refused", "throttled", "reset", "truncated")
_BODY = b'{"error": {"code": "%s", "message": "an injected fault", "param": null, "type": "injected"}}'


class FlakyProxy:
    """Proxy for HTTP/1.1 with lengths, which fails a share of requests chosen by a seed.

    Attributes:
        done: number of forwarded requests (`passed`), and of requests for each fault.
    """

    def __init__(self, target: str, *, share: float = 0.05, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> None:
        self._target = urlsplit(target)
        self._share, self._faults = share, faults
        self._random = random.Random(seed)  # noqa: S311 - faults
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flaky-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()

    @property
    def base_url(self) -> str:
        """The URL to use instead of the target's."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._target.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)

    async def _close(self) -> None:
        assert self._server is not None
        # A server does not close a connection accepted while closing, so stop accepting first.
        with contextlib.suppress(NotImplementedError):  # not available on Windows
            self._loop.remove_reader(self._server.sockets[0].fileno())
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:  # a task that has not started closes nothing
                task.cancel()
            await asyncio.wait(others, timeout=0.01)
        self._server.close()
        await asyncio.sleep(0)  # closed transports release their sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while request := await _message(reader):
                fault = self._random.choice(self._faults) if self._random.random() < self._share else "passed"
                self.done[fault] += 1
                if fault in ("refused", "throttled"):
                    writer.write(_refusal(503 if fault == "refused" else 429))
                    await writer.drain()
                    continue
                if fault == "reset":
                    return
                if upstream is None:
                    target = self._target.hostname, self._target.port
                    upstream = await asyncio.open_connection(*target, limit=1 << 20)
                upstream[1].write(self._directed(request))
                answer = await _message(upstream[0])
                writer.write(answer[: len(answer) * 2 // 3] if fault == "truncated" else answer)
                await writer.drain()
                if fault == "truncated":
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # also at the end of the test
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, upstream[1] if upstream else None):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    def _directed(self, request: bytes) -> bytes:
        """Return the request with the Host header of the target, because the service accepts no other."""
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"host:")]
        lines.insert(1, b"host: " + self._target.netloc.encode())
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a complete request or response; empty if the peer has disconnected."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = next((int(value) for name, value in _fields(head) if name == "content-length"), 0)
    return head + (await reader.readexactly(length) if length else b"")


def _fields(head: bytes) -> Iterator[tuple[str, str]]:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


def _refusal(status: int) -> bytes:
    body = _BODY % (b"throttling_error" if status == 429 else b"service_unavailable")
    head = f"HTTP/1.1 {status} Fault\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
