"""The seam: what everything above the wire speaks, and never an HTTP library.

A `Call` is one exchange, described and not yet sent. A `Reply` is what came back, whatever the status. A `Transport`
turns one into the other, in either colour: over a blocking client its coroutines never suspend, so `finish` can step
them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from bedrock_rft._transport.multipart import Upload

__all__ = ["SUSPENDED", "Query", "Request", "Response", "Sink", "Transport", "Upload", "run_sync", "settle"]

T = TypeVar("T")

Query = Mapping[str, str | int | float | bool | None]
"""Query parameters. None leaves one out."""


SUSPENDED = "A blocking call had to wait for an event loop: its transport is an async one."


_ID = re.compile(r"[!-~]{1,200}", re.ASCII)


class Sink(Protocol):
    """Where a large answer goes instead of memory."""

    def restart(self) -> None:
        """Forget what was written: the answer is sent again."""
        ...

    def write(self, chunk: bytes, /) -> object:
        """Take the next bytes."""
        ...


@dataclass(frozen=True)
class Request:
    """One exchange, described and not yet sent.

    Attributes:
        method: the HTTP method.
        path: from the base URL on, percent-encoded, beginning with a slash.
        query: parameters, not yet encoded.
        json: a body to send as JSON.
        upload: a body to stream. At most one of the two.
        headers: further headers, none of them secret.
        sink: takes the body of a successful answer.
        repeatable: whether sending it twice does no more than sending it once. None: as HTTP defines its method.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict[str, "str | int | float | bool | None"])
    json: Any = None
    upload: Upload | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sink: Sink | None = None
    repeatable: bool | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again though the first may have been carried out."""
        return self.method in {"GET", "HEAD", "DELETE", "OPTIONS"} if self.repeatable is None else self.repeatable


@dataclass(frozen=True)
class Response:
    """What came back, whatever the status.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        content: the body, decoded from any compression; empty where a sink took it.
        attempts: how many were made for it.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    attempts: int = 1

    def __repr__(self) -> str:
        # Neither headers nor body: either may repeat what was sent.
        return f"Reply(status={self.status}, request_id={self.request_id!r}, {len(self.content)} bytes)"

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own bounds

    @property
    def request_id(self) -> str | None:
        """What the service calls this exchange. What has the form of no id is none: it may be anything, echoed."""
        stated = self.headers.get("x-request-id") or self.headers.get("x-amzn-requestid") or ""
        return stated if _ID.fullmatch(stated) else None

    def json(self) -> Any:
        """The body read as JSON. Raises ValueError where it is none."""
        from pydantic_core import from_json

        return from_json(self.content)


class Transport(Protocol):
    """Turns a call into a reply. One class per carrier, each serving both colours."""

    async def send(self, call: Request) -> Response:
        """Send once. No reply at all is `APIConnectionError`; any status is a reply."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work, away from an event loop where there is one."""
        ...

    async def close(self) -> None:
        """Let go of connections and credentials."""
        ...

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """A ready `OpenAI` or `AsyncOpenAI` over the same endpoint and identity."""
        ...


async def settle(value: T | Awaitable[T]) -> T:
    """Wait for a value that may have arrived already."""
    return await cast("Awaitable[T]", value) if inspect.isawaitable(value) else value


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, in one step.

    It works inside a running event loop (a notebook's, say) and from any thread, since no loop takes part.

    Raises:
        RuntimeError: it did suspend: its transport is not a blocking one.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise RuntimeError(SUSPENDED)
