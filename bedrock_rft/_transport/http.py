"""What both carriers do alike: the URL, TLS, connections, headers and bodies."""

from __future__ import annotations

import functools
import json
import os
import ssl
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft._transport.deadline import bound
from bedrock_rft._transport.response_body import ACCEPTED, keep_location
from bedrock_rft._transport.transport import Query, Request, Upload
from bedrock_rft.errors import ConfigurationError

__all__ = [
    "REFUSED",
    "USER_AGENT",
    "aside",
    "client_options",
    "encode",
    "opened",
    "origin",
    "origin_of",
    "own_headers",
    "pause",
    "peculiar",
    "refuse_closed",
    "stream",
    "undress",
    "url",
]

T = TypeVar("T")

USER_AGENT = f"bedrock-rft/{__version__}"

REFUSED = frozenset({401, 403})
"""Statuses that a newer key, newer credentials or a corrected clock may turn."""

_PROTOCOL = frozenset({"host", "content-type", "content-length", "transfer-encoding", "accept", "accept-encoding"})


def url(base: str, path: str, query: Query) -> str:
    """The whole URL, encoded once, in the strict form that signatures are made of: all but unreserved characters.

    Spaces are `%20`, never `+`, since the two sides of a signature may differ on what a plus means.
    """
    pairs = [f"{_strict(name)}={_strict(_text(value))}" for name, value in query.items() if value is not None]
    return base + path + ("?" + "&".join(pairs) if pairs else "")


def _strict(text: str) -> str:
    return quote(text, safe="-_.~")


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port: credentials go where all three are the same."""
    parts = urlsplit(address)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _port(parts.scheme)


def origin_of(target: Any) -> tuple[str, str, int]:
    """The same, of either library's URL."""
    return target.scheme, target.host.lower(), target.port or _port(target.scheme)


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def client_options(config: Config) -> dict[str, Any]:
    """How an HTTP client of either library is made.

    No redirect is followed, and a loopback server is never asked for through a proxy.
    """
    scheme, host, _ = origin(config.base_url)
    return {
        "timeout": config.timeout,
        "follow_redirects": False,
        "trust_env": not is_loopback(host),
        "verify": tls(config.ca_bundle) if scheme == "https" else _no_tls(),
    }


def peculiar(client: type[Any], library: ModuleType, *, blocking: bool) -> Callable[..., Any]:
    """What makes clients of a class of either library, with four habits of this package's.

    It keeps no cookies: they would be state between calls that nobody asked for. (A jar that refuses them all would do
    as well, and cost a twelfth of every call.) It keeps to `within`. It never sees where a redirect points. And in a
    process that was forked it begins anew: the connections it had are the parent's, and stay open for that.
    """
    if (made := _peculiar.get(client)) is None:

        def keep_none(_cookies: Any, _response: Any) -> None:
            pass

        def begin(self: Any, **options: Any) -> None:
            self._begun_with, self._begun_in = options, os.getpid()
            client.__init__(self, **options)
            bound(self, blocking=blocking)

        def send(self: Any, request: Any, **options: Any) -> Any:
            if self._begun_in != os.getpid():
                _begin_anew(self)
            return client.send(self, request, **options)

        none = type("NoCookies", (library.Cookies,), {"extract_cookies": keep_none})()
        habits = {"cookies": property(lambda _client: none), "__init__": begin, "send": send}
        made = _peculiar[client] = type(client.__name__, (client,), habits)

    def make(**options: Any) -> Any:
        hook = keep_location if blocking else _keep_location_soon
        return made(event_hooks={"response": [hook]}, **options)

    return make


_peculiar: dict[type[Any], type[Any]] = {}
_abandoned: list[dict[str, Any]] = []
_beginning = threading.Lock()


def _begin_anew(client: Any) -> None:
    with _beginning:
        if client._begun_in != os.getpid():
            # Kept, since what is thrown away is closed, and the locks of its pool may be held by threads that are no
            # more.
            _abandoned.append({**client.__dict__})
            client.__init__(**client._begun_with)


async def _keep_location_soon(response: Any) -> None:
    keep_location(response)


@functools.cache
def tls(ca_bundle: str | None) -> ssl.SSLContext:
    """One context for the process and a bundle: reading the certificates is the dearest part of making a client."""
    import certifi

    bundle = ca_bundle or certifi.where()
    try:
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:  # ssl's own errors are some of them
        raise ConfigurationError(f"{bundle} holds no PEM certificates that can be read: {error}.") from None


@functools.cache
def _no_tls() -> ssl.SSLContext:
    # Plain HTTP to loopback. It trusts nobody, so that nothing could be reached with it by mistake.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def own_headers(found: Mapping[str, str], config: Config) -> dict[str, str]:
    """Drop what the OpenAI SDK read from an environment that was set for another company's service.

    Args:
        found: the headers of a request of either library.
        config: what the client says of itself instead.

    Returns:
        The headers to send, their names in lower case.
    """
    headers = {name.lower(): value for name, value in found.items()}
    headers.pop("openai-organization", None)
    headers.pop("openai-project", None)
    headers["accept-encoding"] = ACCEPTED
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        name, _, value = line.partition(":")
        name = name.strip().lower()
        if name not in _PROTOCOL and headers.get(name) == value.strip():
            del headers[name]
    agent = headers.get("user-agent", "")
    if not agent.startswith(USER_AGENT):
        headers["user-agent"] = f"{USER_AGENT} {agent}".strip()
    if config.project is not None:
        headers["openai-project"] = config.project
    return headers


def undress(request: Any) -> None:
    """Take from a request of either library what let it in: responses and errors keep the requests they belong to."""
    for name in ("authorization", "x-amz-security-token"):
        request.headers.pop(name, None)


def encode(call: Request) -> bytes:
    """The JSON body. Raises `ConfigurationError` where the values have no spelling in JSON."""
    try:
        return json.dumps(call.json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{call.method} {call.path}: the body cannot be written as JSON: {error}.") from None


def opened(make: Callable[..., Any], options: dict[str, Any], library: Any) -> Any:
    """A client of either library. Raises `ConfigurationError` where the environment names a proxy it cannot use."""
    try:
        return make(**options)
    except (ValueError, ImportError, library.InvalidURL) as error:
        raise ConfigurationError(
            f"The proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used: {sanitize_line(str(error), 300)}"
        ) from None


def refuse_closed(http: Any) -> None:
    """Say so where a client of either library has been closed; it would say it in words of its own."""
    if http.is_closed:
        raise ConfigurationError("This client is closed. Make a new one, or keep it open in a `with` block.")


async def pause(seconds: float, *, blocking: bool) -> None:
    """Let time pass, in the colour of the carrier."""
    if blocking:
        time.sleep(seconds)  # noqa: ASYNC251 - a blocking carrier has no event loop to hold up
    else:
        import anyio

        await anyio.sleep(seconds)


async def aside(work: Callable[[], T], *, blocking: bool) -> T:
    """Do blocking work, away from an event loop where there is one."""
    if blocking:
        return work()
    import anyio.to_thread

    return await anyio.to_thread.run_sync(work)


def stream(upload: Upload, *, blocking: bool) -> Iterable[bytes] | AsyncIterable[bytes]:
    """An upload as a body that either library sends, again for every attempt, reporting progress."""
    upload.expect()
    return _Body(upload) if blocking else _AsyncBody(upload)


class _Body:
    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for chunk in self._upload.chunks():
            yield chunk
            sent += len(chunk)
            self._upload.report(sent)


class _AsyncBody:
    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import anyio.to_thread

        chunks, sent = self._upload.chunks(), 0
        while chunk := await anyio.to_thread.run_sync(next, chunks, b""):
            yield chunk
            sent += len(chunk)
            self._upload.report(sent)
