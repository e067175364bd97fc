"""Request, response, and the `Transport` protocol between them.

Everything above this package works with these types and never with an HTTP library. One `Transport` class serves the
sync and the async client. Over a blocking HTTP client its coroutines never suspend, so `run_sync` can run them without
an event loop.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from bedrock_rft._core.text import ShortRepr
from bedrock_rft._transport.multipart import Upload

T = TypeVar("T")

Query = Mapping[str, str | int | float | bool | None]
"""Query parameters. A parameter with the value None is left out."""


SUSPENDED = "A sync call needed an event loop, because its transport is async. Use AsyncClient with this transport."


_REQUEST_ID = re.compile(r"[!-~]{1,200}", re.ASCII)


class Sink(Protocol):
    """Destination of a response body that is too large for memory."""

    def restart(self) -> None:
        """Discard the bytes written so far, because the request is sent again."""
        ...

    def write(self, chunk: bytes, /) -> object:
        """Write the next bytes of the body."""
        ...


@dataclass(frozen=True)
class Request(ShortRepr):
    """One HTTP request, independent of any HTTP library.

    Attributes:
        method: the HTTP method, in upper case.
        path: the path after the base URL, percent-encoded, beginning with a slash.
        query: query parameters, not yet encoded.
        json: a body to send as JSON.
        upload: a body to stream. Set `json` or `upload`, not both.
        headers: additional headers. They must not contain secrets.
        sink: receives the body of a successful response.
        repeatable: True if sending the request twice has the same effect as sending it once; None if the HTTP method
            decides.
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
        """True if the request may be sent again even if the service may have carried out the first attempt."""
        return self.method in {"GET", "HEAD", "DELETE", "OPTIONS"} if self.repeatable is None else self.repeatable

    @property
    def summary(self) -> str:
        """Method and path, with which error messages begin."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Response:
    """One HTTP response of any status.

    Attributes:
        status: the HTTP status code.
        headers: the response headers, names in lower case.
        content: the body; empty if a sink received it.
        attempts: the number of requests that were sent to get this response.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    attempts: int = 1

    def __repr__(self) -> str:
        # Headers and body are left out because the service may echo credentials in either.
        return f"Response(status={self.status}, request_id={self.request_id!r}, {len(self.content)} bytes)"

    @property
    def ok(self) -> bool:
        """True if the status is between 200 and 299."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the bounds that HTTP defines

    @property
    def request_id(self) -> str | None:
        """The service's id of this request, or None if the header is missing or does not look like an id."""
        value = self.headers.get("x-request-id") or self.headers.get("x-amzn-requestid") or ""
        return value if _REQUEST_ID.fullmatch(value) else None

    def json(self) -> Any:
        """Return the body parsed as JSON. Raises `ValueError` if it is not JSON."""
        from pydantic_core import from_json

        return from_json(self.content)


class Transport(Protocol):
    """Sends requests. Each implementation serves the sync and the async client."""

    async def send(self, request: Request, /) -> Response:
        """Send a request once and return the response, of any status.

        Raises:
            APIConnectionError: no complete response arrived.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def run(self, work: Callable[[], T]) -> T:
        """Run a blocking function, in a thread if there is an event loop that it would block."""
        ...

    async def close(self) -> None:
        """Close connections and release credentials."""
        ...

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """Return an `OpenAI` or `AsyncOpenAI` client for the same endpoint and identity."""
        ...


async def maybe_await(value: T | Awaitable[T]) -> T:
    """Return a value, awaiting it if it is awaitable."""
    return await cast("Awaitable[T]", value) if inspect.isawaitable(value) else value


def step_auth_flow(flow: AsyncGenerator[Any, Any]) -> Generator[Any, Any, None]:
    """Step an auth flow that never suspends, for a sync client of an HTTP library."""
    try:
        request = run_sync(flow.__anext__())
        while True:
            response = yield request
            request = run_sync(flow.asend(response))
    except StopAsyncIteration:
        pass
    finally:
        run_sync(flow.aclose())


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, also inside a running event loop. Raise `RuntimeError` if it suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise RuntimeError(SUSPENDED)
