"""Build HTTP clients for one origin: TLS, proxy, no cookies, no redirects, safe after `fork` and across event loops."""

from __future__ import annotations

import functools
import os
import ssl
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bedrock_rft._auth.ca_bundle import read_ca_folder
from bedrock_rft._auth.config import Config
from bedrock_rft._core.redaction import Secret
from bedrock_rft._transport.http import origin
from bedrock_rft._transport.proxy import find_proxy
from bedrock_rft._transport.response_body import limit_response, limit_response_async
from bedrock_rft.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio

# The limits of the OpenAI SDK.
_MAX_CONNECTIONS, _MAX_KEPT_ALIVE = 1000, 100
_ANOTHER_LOOP = (
    "This AsyncClient is in use in another event loop, and its connections belong to that loop. Create an AsyncClient "
    "for each event loop, or close the first loop before you use the client in a second one."
)


def build_http_client(config: Config, auth: Any, library: ModuleType, *, blocking: bool) -> Any:
    """Return a client with `auth` on every request. Raise `ConfigurationError` if proxy or CA bundle are unusable."""
    options = client_options(config, library)
    hook = functools.partial(
        limit_response if blocking else limit_response_async, base_path=urlsplit(config.base_url).path
    )
    options["event_hooks"] = {"response": [hook]}
    proxy = find_proxy(config.base_url)
    if proxy is not None:
        if proxy.problem is not None:
            raise ConfigurationError(
                f"The proxy in {proxy.source} cannot be used: {proxy.problem}. Correct the variable."
            )
        context = tls_context(config.ca_bundle) if proxy.is_https else None
        options["proxy"] = library.Proxy(proxy.url.reveal(), ssl_context=context)
    try:
        return client_factory(library, blocking=blocking)(**options, auth=auth)
    except ImportError:
        name = library.__name__
        raise ConfigurationError(
            f"A SOCKS proxy, as in {proxy.source if proxy else name}, needs the package socksio: "
            f"pip install '{name}[socks]'"
        ) from None


def client_options(config: Config, library: ModuleType) -> dict[str, Any]:
    """Return the options of an HTTP client for the endpoint in `config`, except proxy and auth."""
    scheme, _, _ = origin(config.base_url)
    return {
        "timeout": config.timeout,
        "follow_redirects": False,
        "trust_env": False,  # proxies are resolved by `find_proxy`; .netrc must not be read
        "limits": library.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_KEPT_ALIVE),
        "verify": tls_context(config.ca_bundle) if scheme == "https" else _no_authorities(),
    }


@functools.cache
def client_factory(library: ModuleType, *, blocking: bool) -> type[Any]:
    """Return a class of clients that keep no cookies, and reconnect in a forked process or a new event loop."""

    def extract_cookies(_cookies: Any, _response: Any) -> None:
        pass

    # Cookies are not extracted at all. A cookie jar that rejects them would take a twelfth of the time of a request.
    no_cookies = type("NoCookies", (library.Cookies,), {"extract_cookies": extract_cookies})()
    base = library.Client if blocking else library.AsyncClient
    members = {"cookies": property(lambda _client: no_cookies), "_http_base": base}
    mixin = _SyncClient if blocking else _AsyncClient
    return type(base.__name__, (mixin, base), members)


class _ProcessBoundClient:
    """Mixin of HTTP clients whose connections belong to one process."""

    _http_base: type[Any]

    def __init__(self, **options: Any) -> None:
        self._init_options = Secret(options)  # the options may contain a proxy password
        self._restart()

    def _restart(self) -> None:
        """Start with an empty connection pool."""
        self._process = os.getpid()
        self._http_base.__init__(self, **self._init_options.reveal())

    def _restart_if_forked(self) -> None:
        if self._process != os.getpid():
            with _restarting:
                if self._process != os.getpid():
                    # The old pool is kept and never closed: its sockets belong to the parent process, and threads that
                    # do not exist in this process may hold its locks.
                    _abandoned.append({**self.__dict__})
                    self._restart()


_abandoned: list[dict[str, Any]] = []
_restarting = threading.Lock()


class _SyncClient(_ProcessBoundClient):
    """Sync client with connections of its own process.

    If `close` is called during requests, the last request closes the connections, because a pool that is closed earlier
    forgets connections that are being opened.
    """

    def _restart(self) -> None:
        self._lock, self._active, self._closing = threading.Lock(), 0, False
        super()._restart()

    @property
    def is_closed(self) -> bool:
        return self._closing or bool(self._http_base.is_closed.fget(self))

    def send(self, request: Any, **options: Any) -> Any:
        self._restart_if_forked()
        with self._lock:
            if self._closing:
                raise RuntimeError("Cannot send a request, as the client has been closed.")  # as httpx does
            self._active += 1
        try:
            return self._http_base.send(self, request, **options)
        finally:
            with self._lock:
                self._active -= 1
                last = self._closing and not self._active
            if last:
                self._http_base.close(self)

    def close(self) -> None:
        with self._lock:
            self._closing = True
            idle = not self._active
        if idle:
            self._http_base.close(self)
        self._init_options.forget()


class _AsyncClient(_ProcessBoundClient):
    _loop: asyncio.AbstractEventLoop | None = None
    _loop_guard: AsyncGenerator[None, None] | None = None

    async def send(self, request: Any, **options: Any) -> Any:
        self._restart_if_forked()
        await self._bind_to_loop()
        return await self._http_base.send(self, request, **options)

    async def aclose(self) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._loop is not _running_loop():
            raise ConfigurationError(_ANOTHER_LOOP)
        if self._loop is not None and self._loop.is_closed():
            self._restart()
        self._loop, guard, self._loop_guard = None, self._loop_guard, None
        await self._http_base.aclose(self)
        self._init_options.forget()
        if guard is not None:
            await guard.aclose()

    async def _bind_to_loop(self) -> None:
        loop = _running_loop()
        if loop is self._loop or loop is None:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise ConfigurationError(_ANOTHER_LOOP)
            self._restart()
        self._loop, self._loop_guard = loop, self._close_with_loop()
        await self._loop_guard.__anext__()

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Close the connections when the event loop shuts down its async generators, before it is closed."""
        try:
            yield
        finally:
            if self._loop_guard is not None:
                self._loop, self._loop_guard = None, None
                await self._http_base.aclose(self)
                self._restart()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    import asyncio  # a sync client does not need it

    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # another async library
        return None


def check_open(http_client: Any) -> None:
    """Raise `ConfigurationError` if an HTTP client is closed."""
    if http_client.is_closed:
        raise ConfigurationError("This client is closed. Create a new client, and use it inside its `with` block.")


@functools.cache
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return the shared TLS context; loading certificates is slow. Raise `ConfigurationError` if there are none."""
    if ca_bundle is None:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    try:
        if Path(ca_bundle).is_dir():
            return ssl.create_default_context(cadata=read_ca_folder(Path(ca_bundle)))
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # errors of ssl are among them
        raise ConfigurationError(
            f"The CA bundle {ca_bundle} contains no PEM certificates that can be read: {error}. Check ca_bundle= or "
            "AWS_CA_BUNDLE."
        ) from None


@functools.cache
def _no_authorities() -> ssl.SSLContext:
    # Plain HTTP to loopback needs no TLS, but the client takes a context. This context trusts no certificate authority,
    # so an HTTPS request made by mistake fails.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
