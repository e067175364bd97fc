"""A latest end for an answer, however steadily it drips: HTTP libraries bound each read, not all of them together."""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import math
import time
import weakref
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["bound", "lift", "within"]


class _Limit:
    """How long one answer may take, from the moment that it is waited for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end: float | None = None


_limit: contextvars.ContextVar[_Limit | None] = contextvars.ContextVar("limit", default=None)


@contextlib.contextmanager
def within(seconds: float) -> Generator[None, None, None]:
    """Whatever is asked inside is answered in this time, head and body together, or given up."""
    before = _limit.set(_Limit(seconds))
    try:
        yield
    finally:
        _limit.reset(before)


def lift() -> None:
    """What is being answered is large, and may take as long as it keeps coming."""
    if (limit := _limit.get()) is not None:
        limit.seconds, limit.end = math.inf, None


def bound(client: Any, *, blocking: bool) -> None:
    """Have a client of either library keep to `within`. What is asked outside of it is read as ever."""
    for transport in (client._transport, *client._mounts.values()):
        # Neither library has a public place for it above its own transports; below them it is httpcore's public seam.
        pool: Any = getattr(transport, "_pool", None)
        if hasattr(pool, "_network_backend"):
            library = importlib.import_module(type(pool).__module__.partition(".")[0])
            if blocking:
                pool._network_backend = _Backend(pool._network_backend, library.ReadTimeout, _open(client, library))
            else:
                pool._network_backend = _AsyncBackend(pool._network_backend, library.ReadTimeout)


def _open(client: Any, library: Any) -> Callable[[], None]:
    """A look at whether a client is still open, which does not keep it alive."""
    found = weakref.ref(client)

    def look() -> None:
        if (known := found()) is None or known.is_closed:
            raise library.WriteError("The client was closed.")

    return look


class _Wrapped:
    """A backend or a stream of httpcore, alike in all but what is written here."""

    def __init__(self, inner: Any, late: type[Exception]) -> None:
        self._inner, self._late = inner, late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _ask(self) -> None:
        if (limit := _limit.get()) is not None:
            limit.end = None  # its time begins with the wait for an answer: an upload takes as long as it takes

    def _left(self, timeout: float | None) -> float | None:
        limit = _limit.get()
        if limit is None or limit.seconds == math.inf:
            return timeout
        now = time.monotonic()
        if limit.end is None:
            limit.end = now + limit.seconds
        if now >= limit.end:
            raise self._late(f"The answer did not end within {limit.seconds:g} s.")
        return limit.end - now if timeout is None else min(timeout, limit.end - now)


class _Backend(_Wrapped):
    def __init__(self, inner: Any, late: type[Exception], look: Callable[[], None]) -> None:
        super().__init__(inner, late)
        self._look = look

    def connect_tcp(self, *args: Any, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(*args, **options), self._late, self._look)


class _Stream(_Backend):
    def start_tls(self, *args: Any, **options: Any) -> _Stream:
        return _Stream(self._inner.start_tls(*args, **options), self._late, self._look)

    def read(self, size: int, timeout: float | None = None) -> Any:
        return self._inner.read(size, self._left(timeout))

    def write(self, data: bytes, timeout: float | None = None) -> None:
        # Another thread may close the client while this one connects; the pool then no longer knows of the connection,
        # and would close it never.
        try:
            self._look()
        except Exception:
            self._inner.close()
            raise
        self._ask()
        self._inner.write(data, timeout)


class _AsyncBackend(_Wrapped):
    async def connect_tcp(self, *args: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.connect_tcp(*args, **options), self._late)


class _AsyncStream(_Wrapped):
    async def start_tls(self, *args: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.start_tls(*args, **options), self._late)

    async def read(self, size: int, timeout: float | None = None) -> Any:
        return await self._inner.read(size, self._left(timeout))

    async def write(self, data: bytes, timeout: float | None = None) -> None:
        self._ask()
        await self._inner.write(data, timeout)
