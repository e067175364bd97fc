"""The carrier for API keys: the OpenAI SDK, on its own HTTP library, whichever that is in its version."""

from __future__ import annotations

import contextvars
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from types import ModuleType
from typing import Any, TypeVar, cast

import openai

from bedrock_rft._auth.api_key_source import KeySource
from bedrock_rft._auth.config import Config
from bedrock_rft._core.redaction import Secret
from bedrock_rft._transport.connection_errors import disarm, lost
from bedrock_rft._transport.deadline import within
from bedrock_rft._transport.http import (
    REFUSED,
    aside,
    client_options,
    encode,
    opened,
    origin,
    origin_of,
    own_headers,
    pause,
    peculiar,
    refuse_closed,
    stream,
    undress,
    url,
)
from bedrock_rft._transport.inference import http_library, inference
from bedrock_rft._transport.response_body import abridge, abridge_soon, receive
from bedrock_rft._transport.transport import Request, Response, Upload, settle
from bedrock_rft.errors import ConfigurationError

__all__ = ["OpenAITransport"]

T = TypeVar("T")

# openai 2.0 sends bytes or form fields only, so a streamed body is put into the request where its key is.
_uploading: contextvars.ContextVar[Upload | None] = contextvars.ContextVar("uploading", default=None)


class OpenAITransport:
    """Sends calls through `openai.OpenAI` or `AsyncOpenAI`, with its retries off and its key set for every attempt."""

    def __init__(self, config: Config, *, blocking: bool) -> None:
        self._config = config
        self._blocking = blocking
        self._library = http_library()
        auth = type("BearerAuth", (_Bearer, self._library.Auth), {})(config, self._library, blocking=blocking)
        client: type[Any] = openai.DefaultHttpxClient if blocking else openai.DefaultAsyncHttpxClient
        make = peculiar(client, self._library, blocking=blocking)
        self._http = opened(make, {**client_options(config), "auth": auth}, self._library)
        self._openai = inference(config, self._http, max_retries=0, blocking=blocking)
        self._streamed = {"stream": True, "stream_cls": openai.Stream[Any] if blocking else openai.AsyncStream[Any]}
        self._broken = (self._library.HTTPError, self._library.StreamError, self._library.InvalidURL)
        self._network = (*self._broken, openai.OpenAIError, ssl.SSLError)

    async def send(self, call: Request) -> Response:
        """Send once. Raises `APIConnectionError` where no reply came."""
        refuse_closed(self._http)
        outside = sys.exc_info()[1]
        if call.json is not None:
            encode(call)  # what has no spelling in JSON is an error before the SDK sees it
        with within(self._config.timeout):
            return await self._exchange(call, outside)

    async def _exchange(self, call: Request, outside: BaseException | None) -> Response:
        uploading = _uploading.set(call.upload)
        response: Any = None
        foreign: BaseException | None = None
        try:
            response = await settle(self._request(call))
        except openai.APIStatusError as error:
            response = cast("Any", error.response)
        except Exception as error:  # noqa: BLE001 - openai 2.0 wraps whatever it catches, 3 its HTTP library's
            root = (error.__cause__ or error) if isinstance(error, openai.APIConnectionError) else error
            if isinstance(root, self._network) or type(root).__name__ == "EndOfStream":
                raise lost(error, call, self._config, outside) from disarm(error, outside)
            foreign = root
        finally:
            _uploading.reset(uploading)
        if foreign is not None:  # of the key's function, a callback or this package: none of the network's business
            raise foreign
        try:
            return await receive(response, call, blocking=self._blocking)
        except self._broken as error:
            raise lost(error, call, self._config, outside) from disarm(error, outside)

    def _request(self, call: Request) -> Any:
        arguments: dict[str, Any] = {
            "cast_to": self._library.Response,
            "options": {"headers": dict(call.headers), "max_retries": 0, "timeout": self._config.timeout},
        }
        if call.method != "GET":
            arguments["body"] = call.json
        if call.method in {"GET", "POST"}:  # the other verbs take no stream; their answers are small
            arguments |= self._streamed
        return getattr(self._openai, call.method.lower())(url("", call.path, call.query), **arguments)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await pause(seconds, blocking=self._blocking)

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work, away from an event loop where there is one."""
        return await aside(work, blocking=self._blocking)

    async def close(self) -> None:
        """Close the connections."""
        await settle(self._openai.close())

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """An OpenAI client on the same connections, its key set for every attempt."""
        return inference(self._config, self._http, max_retries=max_retries, blocking=blocking, patient=True)


class _Bearer:
    """Sets the current key on every attempt, for the configured origin only. Mixed into either library's `Auth`."""

    def __init__(self, config: Config, library: ModuleType, *, blocking: bool) -> None:
        self._config = config
        self._origin = origin(config.base_url)
        self._library = library
        self._blocking = blocking
        self._source = cast("KeySource", config.key)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Set the key, and once more where it is refused and a newer one is to be had."""
        try:
            key = self._dress(request, self._source.ask_now())
            response = yield request
            if response.status_code in REFUSED and self._source.function() is not None:
                newer = self._source.ask_now()
                if newer.reveal() != key.reveal():
                    self._dress(request, newer)
                    response = yield request
            abridge(response, self._library, self._config.base_url)
        finally:
            undress(request)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """As `sync_auth_flow`; a function that gives keys runs away from the event loop."""
        try:
            key = self._dress(request, await self._source.ask_soon())
            response = yield request
            if response.status_code in REFUSED and self._source.function() is not None:
                newer = await self._source.ask_soon()
                if newer.reveal() != key.reveal():
                    self._dress(request, newer)
                    response = yield request
            await abridge_soon(response, self._library, self._config.base_url)
        finally:
            undress(request)

    def _dress(self, request: Any, key: Secret[str]) -> Secret[str]:
        if origin_of(request.url) != self._origin:
            raise ConfigurationError(
                f"Refusing to send the API key to {request.url.host}: this client is for {self._config.base_url} only."
            )
        headers = own_headers(request.headers, self._config)
        headers["authorization"] = f"Bearer {key.reveal()}"
        upload = _uploading.get()
        if upload is not None:
            body = stream(upload, blocking=self._blocking)
            request.stream = self._library.Request("POST", request.url, content=body).stream
            headers.pop("transfer-encoding", None)
            headers |= {"content-type": upload.content_type, "content-length": str(upload.length)}
        request.headers = self._library.Headers(headers, encoding=request.headers.encoding)
        return key
