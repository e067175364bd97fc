"""What every operation does: send, try again, read. And how the blocking colour is made of the async one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.retry import RetryBudget, send_with_retries
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import SUSPENDED, Query, Request, Response, Transport, run_sync
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types._payload import Payload
from bedrock_rft.types.pages import Page

__all__ = ["AsyncResource", "Resource", "Session", "blocking", "blocking_iter", "identifier", "segment"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound="AsyncResource")
M = TypeVar("M", bound=Payload)

PAGE = 100
"""Items asked for at once: the most that OpenAI's lists give."""


@dataclass(frozen=True)
class Session:
    """What all operations of one client share."""

    transport: Transport
    config: Config
    budget: RetryBudget = field(default_factory=RetryBudget)

    async def exchange(self, call: Request) -> Response:
        """Send a call as often as it is worth it. Raises `APIError`."""
        return await send_with_retries(self.transport, call, self.config, self.budget)


class AsyncResource:
    """One subject of the service. Subclasses describe calls; this sends and reads them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _send(self, call: Request, model: type[M]) -> M:
        return parse_response(model, await self._session.exchange(call), call, self._session.config)

    async def _pages(
        self, path: str, item: type[M], query: Query, *, after: str | None = None
    ) -> AsyncGenerator[M, None]:
        """Every item of a list, once, across its pages; a page that brings nothing new is the last."""
        page_type: type[Page[M]] = _page_type(item)
        seen: set[str] = set()
        while True:
            call = Request("GET", path, query={**query, "after": after})
            page = await self._send(call, page_type)
            fresh = False
            for one in page.data:
                key = _key(one)
                if key not in seen:
                    if key:  # what has no id cannot be told apart: it is not lost for that, and proves nothing new
                        fresh = True
                        seen.add(key)
                    yield one
            after = next((key for one in reversed(page.data) if (key := _key(one))), None)
            if not page.has_more or not fresh or after is None:
                return


@functools.cache
def _page_type(item: type[Any]) -> type[Any]:
    page: Any = Page
    return page[item]  # type: ignore[no-any-return] # made at run time, once for each payload


def _key(item: Any) -> str:
    key: str = item.id
    return key


class Resource:
    """The blocking face of an `AsyncResource` whose transport never suspends."""

    def __init__(self, source: Any) -> None:
        self._async = source


def blocking(method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[Any, P], R]:
    """The blocking twin of an async method: same parameters, same answer, same docstring."""

    @functools.wraps(method)
    def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run_sync(method(self._async, *args, **kwargs))

    return twin


def blocking_iter(method: Callable[Concatenate[A, P], AsyncIterator[R]]) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """The blocking twin of an async generator method."""

    @functools.wraps(method)
    def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return steps(cast("AsyncGenerator[R, None]", method(self._async, *args, **kwargs)))

    # The annotation that `wraps` copies says AsyncIterator; editors and `help` should show what this returns.
    signature = inspect.signature(method)
    answer = str(signature.return_annotation).replace("AsyncIterator", "Iterator")
    twin.__signature__ = signature.replace(return_annotation=answer)  # type: ignore[attr-defined] # a function takes one
    return twin


def steps(source: AsyncGenerator[R, None]) -> Iterator[R]:
    """The items of an async generator that never suspends."""
    ask = source.__anext__
    try:
        while True:
            try:
                ask().send(None)
            except StopIteration as item:
                yield item.value
            except StopAsyncIteration:
                return
            else:
                raise RuntimeError(SUSPENDED)
    finally:
        run_sync(source.aclose())


def identifier(value: object, what: str) -> str:
    """The id of a thing that may be given as an object or as its id. Raises `ConfigurationError` for anything else."""
    found = value if isinstance(value, str) else getattr(value, "id", None)
    if not isinstance(found, str) or not found.strip():
        raise ConfigurationError(f"{what} must be an object of the service or its id, not {type(value).__name__}.")
    return found


def segment(value: object, what: str) -> str:
    """An id as one segment of a path: opaque, so nothing in it may become a separator or lead elsewhere."""
    found = identifier(value, what)
    if found in {".", ".."} or any(ord(character) < 32 or ord(character) == 127 for character in found):  # noqa: PLR2004 - ASCII
        raise ConfigurationError(f"{what} is not an id the service can have made.")
    return quote(found, safe="-_.~")


def limited(limit: int | None) -> Mapping[str, int]:
    """The page size to ask for. Raises `ConfigurationError` outside 1 to 100."""
    size = PAGE if limit is None else limit
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= PAGE:
        raise ConfigurationError(f"limit is the number of items asked for at once, from 1 to {PAGE}.")
    return {"limit": size}
