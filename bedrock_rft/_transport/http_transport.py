"""Base class of both transports: one HTTP client, waiting, closing, and OpenAI clients on the same connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.http import run_blocking
from bedrock_rft._transport.http_client import build_http_client
from bedrock_rft._transport.http_library import http_library
from bedrock_rft._transport.response_body import read_response
from bedrock_rft._transport.transport import Request, Response, maybe_await

T = TypeVar("T")

_PLACEHOLDER = "set-for-every-attempt"


class HttpTransport:
    """HTTP client of the library that the OpenAI SDK uses, with an auth of this package on every request."""

    def __init__(self, config: Config, auth: type[Any], *, blocking: bool, **auth_options: Any) -> None:
        self._config = config
        self._blocking = blocking
        self._library = library = http_library()
        auth_class = type(auth.__name__, (auth, library.Auth), {})
        self._http = build_http_client(config, auth_class(config, **auth_options), library, blocking=blocking)
        self._library_errors = (library.HTTPError, library.StreamError, library.InvalidURL)

    async def _read(self, response: Any, request: Request, started: float) -> Response:
        """Read a response. The timeout counts from the start of the request; for an upload, from the end of sending."""
        began = started if request.upload is None else time.monotonic()
        return await read_response(response, request, began + self._config.timeout, blocking=self._blocking)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        if self._blocking:
            time.sleep(seconds)  # noqa: ASYNC251 - a blocking transport has no event loop
        else:
            import asyncio

            await asyncio.sleep(seconds)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a blocking function, in a thread if there is an event loop that it would block."""
        return await run_blocking(work, blocking=self._blocking)

    async def close(self) -> None:
        """Close the connections."""
        await maybe_await(self._http.close() if self._blocking else self._http.aclose())

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """Return an OpenAI client with the auth of this transport, on its connections."""
        return create_openai_client(
            self._config, self._http, max_retries=max_retries, blocking=blocking, for_inference=True
        )


def create_openai_client(
    config: Config, http_client: Any, *, max_retries: int, blocking: bool, for_inference: bool = False
) -> Any:
    """Return an OpenAI client on an authenticating HTTP client. `for_inference` is True for `client.openai`."""
    import openai  # slow to import, and a client with AWS credentials may not need it

    client: Any = (openai.OpenAI if blocking else openai.AsyncOpenAI)(
        api_key=_PLACEHOLDER,
        base_url=config.base_url,
        max_retries=max_retries,
        http_client=http_client,
        timeout=openai.DEFAULT_TIMEOUT if for_inference else config.timeout,
    )
    # The SDK reads these settings from variables that are meant for OpenAI's own service. The auth removes their
    # headers from requests; the following lines remove the settings from the client.
    client.organization, client.project = None, config.project
    client.webhook_secret = None
    client._custom_headers = {}
    if hasattr(client, "admin_api_key"):
        client.admin_api_key = None
    if for_inference:
        # The transport owns the connections: `with client.openai as …` must not close them.
        client.close = (lambda: None) if blocking else _do_nothing
    return client


async def _do_nothing() -> None:
    pass
