"""Base classes of resources: send, retry, parse and page; sync methods made from async ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast
from urllib.parse import quote

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.retry import RetryBudget, send_with_retries
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import SUSPENDED, Query, Request, Response, Transport, run_sync
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types._payload import Page, Payload

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A", bound="AsyncResource")
M = TypeVar("M", bound=Payload)

PAGE = 100
"""Page size: the maximum of OpenAI's lists."""


@dataclass(frozen=True)
class Session:
    """State that all operations of a client share."""

    transport: Transport
    config: Config
    budget: RetryBudget = field(default_factory=RetryBudget)

    async def exchange(self, request: Request) -> Response:
        """Send a request, with retries. Raises `APIError`."""
        return await send_with_retries(self.transport, request, self.config, self.budget)


class AsyncResource:
    """Base class of async resources. Subclasses build requests; this class sends them and parses the responses."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _send(self, request: Request, model: type[M]) -> M:
        return parse_response(model, await self._session.exchange(request), request, self._session.config)

    def _pages(self, path: str, item: type[M], query: Query, *, after: str | None = None) -> PagedIterator[M]:
        """Iterate over every item of a list once, across all pages."""
        return PagedIterator(self._fetch_pages(path, item, query, after))

    async def _fetch_pages(
        self, path: str, item: type[M], query: Query, after: str | None
    ) -> AsyncGenerator[Sequence[M], None]:
        """Yield the new items of each page. A page without new items is the last."""
        page_type: type[Page[M]] = _page_type(item)
        seen: set[str] = set()
        while True:
            page = await self._send(Request("GET", path, query={**query, "after": after}), page_type)
            found: Sequence[Any] = cast("Any", page.data)
            known = len(seen)
            new: list[M] = []
            for one in found:
                key: str = one.id
                if key not in seen:
                    new.append(one)
                    if key:  # items without an id are yielded, but do not count as new
                        seen.add(key)
            after = next((one.id for one in reversed(found) if one.id), None)
            is_last = not page.has_more or len(seen) == known
            del page, found  # so that the next page may use their memory, which is in the cache of the processor
            yield new
            if is_last:
                return
            del new


class PagedIterator(AsyncIterator[T], Generic[T]):
    """Async iterator over the items of pages. A sync client iterates over `pages` directly, which takes less time."""

    def __init__(self, pages: AsyncGenerator[Sequence[T], None]) -> None:
        self.pages = pages
        self._items: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            self._items = iter(await self.pages.__anext__())

    async def aclose(self) -> None:
        await self.pages.aclose()


@functools.cache
def _page_type(item: type[Any]) -> type[Any]:
    page: Any = Page
    return page[item]  # type: ignore[no-any-return] # created at run time, once for each payload


class Resource:
    """Base class of sync resources. They wrap an `AsyncResource` whose transport never suspends."""

    def __init__(self, source: Any) -> None:
        self._async = source


def blocking(method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[Any, P], R]:
    """Return the sync version of an async method, with the same parameters, result and docstring."""

    @functools.wraps(method)
    def sync_method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            coroutine = method(self._async, *args, **kwargs)
        except TypeError:
            check_arguments(inspect.signature(method), self, method.__name__, args, kwargs)
            raise
        return run_sync(coroutine)

    return sync_method


_HINTS = {
    "plan": "use client.rewards.plan(…)",
    "suffix": "the service does not support a suffix for the model's name; use name= or metadata=",
    "method": "pass reward= and hyperparameters=; the method is always reinforcement",
    "grader": "pass the deployed reward as reward=",
    "hyper_parameters": "the argument is spelled hyperparameters=",
    "reward_arn": "pass the ARN as reward=",
    "reward_function": "pass the ARN or the deployed reward as reward=",
    "seed": "the service does not support a seed",
    "integrations": "the service has no integrations; use client.jobs.watch(job, trackers=[…])",
    "file": "pass the file as the first argument",
    "timeout": "set the timeout of the client: Client(timeout=…)",
    "extra_headers": "use client.request for other requests",
    "extra_body": "use client.request for other requests",
} | dict.fromkeys(
    ("n_epochs", "batch_size", "learning_rate_multiplier", "learning_rate", "epochs"), "use hyperparameters={…}"
)


def check_arguments(
    signature: inspect.Signature, resource: object, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise a `TypeError` that names the public method and, for known arguments of other SDKs, what to use instead."""
    try:
        signature.bind(resource, *args, **kwargs)
    except TypeError as error:
        hint = next((f": {_HINTS[given]}" for given in kwargs if given in _HINTS and f"'{given}'" in str(error)), "")
        raise TypeError(f"{type(resource).__name__}.{name}() {error}{hint}") from None


def checked_arguments(method: Callable[P, R]) -> Callable[P, R]:
    """Give an async method the argument errors of its sync version."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_arguments(signature, args[0], method.__name__, args[1:], kwargs)
        return method(*args, **kwargs)

    return checked


def blocking_iter(method: Callable[Concatenate[A, P], AsyncIterator[R]]) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """Return the sync version of an async generator method."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def sync_method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        check_arguments(signature, self, method.__name__, args, kwargs)
        source = cast("AsyncGenerator[R, None] | PagedIterator[R]", method(self._async, *args, **kwargs))
        return Items(iterate_sync(source), f"{type(self).__name__}.{method.__name__}()")

    # `wraps` copies the annotation AsyncIterator; editors and `help` should show Iterator.
    returned = str(signature.return_annotation).replace("AsyncIterator", "Iterator")
    sync_method.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined] # valid
    return sync_method


class Items(Iterator[R]):
    """Items that are fetched while iterating, with a readable `repr`."""

    def __init__(self, items: Generator[R, None, None], name: str) -> None:
        self._items, self._name = items, name

    def __iter__(self) -> Iterator[R]:  # noqa: PYI034 - not `self`: a loop over the generator itself costs less
        return self._items

    def __next__(self) -> R:
        return next(self._items)

    def close(self) -> None:
        """Stop iterating."""
        self._items.close()

    def __repr__(self) -> str:
        return f"<{self._name}: iterate, or use list(…)>"


def iterate_sync(source: AsyncGenerator[R, None] | PagedIterator[R]) -> Generator[R, None, None]:
    """Iterate over an async generator or a `PagedIterator` that never suspends."""
    if isinstance(source, PagedIterator):
        for page in iterate_sync(source.pages):
            yield from page
            del page  # so that the next page may use its memory
        return
    step = source.__anext__
    try:
        while True:
            try:
                step().send(None)
            except StopIteration as item:
                yield item.value
            except StopAsyncIteration:
                return
            else:
                raise RuntimeError(SUSPENDED)
    finally:
        run_sync(source.aclose())


def identifier(value: object, name: str) -> str:
    """Return the id of an object; an id is returned unchanged. Raise `ConfigurationError` for anything else."""
    found = value if isinstance(value, str) else getattr(value, "id", None)
    if isinstance(found, str) and not found.strip():
        raise ConfigurationError(f"{name} is an empty id. Pass the id of an object of the service.")
    if not isinstance(found, str):
        raise ConfigurationError(f"{name} must be an object of the service or its id, not {type(value).__name__}.")
    return found


def segment(value: object, name: str) -> str:
    """Return an id quoted as one segment of a path, so that it cannot change the route."""
    found = identifier(value, name)
    if found in {".", ".."} or any(ord(character) < 32 or ord(character) == 127 for character in found):  # noqa: PLR2004 - ASCII
        raise ConfigurationError(f"{name} is not a valid id: it is a dot segment or has control characters.")
    return quote(found, safe="-_.~")


def page_query(limit: int | None) -> Mapping[str, int]:
    """Return the query for a page size. Raise `ConfigurationError` outside 1 to 100."""
    size = PAGE if limit is None else limit
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= PAGE:
        raise ConfigurationError(f"limit is the number of items per page, from 1 to {PAGE}.")
    return {"limit": size}
