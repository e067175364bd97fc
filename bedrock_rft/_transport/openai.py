"""Transport for API keys: the OpenAI SDK."""

from __future__ import annotations

import contextvars
import ssl
import sys
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any, cast

import openai

from bedrock_rft._auth.api_key import KeySource
from bedrock_rft._auth.config import Config
from bedrock_rft._core.redaction import Secret
from bedrock_rft._transport.connection_errors import map_connection_error
from bedrock_rft._transport.http import (
    REFUSED,
    build_url,
    encode_json,
    origin,
    origin_of,
    own_headers,
    stream_upload,
    strip_credentials,
)
from bedrock_rft._transport.http_client import check_open
from bedrock_rft._transport.http_transport import HttpTransport, create_openai_client
from bedrock_rft._transport.multipart import Upload
from bedrock_rft._transport.transport import Request, Response, maybe_await, step_auth_flow
from bedrock_rft.errors import ConfigurationError

# openai 2.0 cannot stream a request body. `_BearerAuth` therefore replaces the body of the request with this upload.
_upload: contextvars.ContextVar[Upload | None] = contextvars.ContextVar("upload", default=None)


class OpenAITransport(HttpTransport):
    """Sends requests through `openai.OpenAI` or `AsyncOpenAI`, with the current key and without the SDK's retries."""

    def __init__(self, config: Config, *, blocking: bool) -> None:
        super().__init__(config, _BearerAuth, blocking=blocking, sync=blocking)
        self._openai = create_openai_client(config, self._http, max_retries=0, blocking=blocking)
        self._streamed = {"stream": True, "stream_cls": openai.Stream[Any] if blocking else openai.AsyncStream[Any]}
        self._network_errors = (*self._library_errors, openai.OpenAIError, ssl.SSLError)

    async def send(self, request: Request) -> Response:
        """Send a request once. Raises `APIConnectionError` if no complete response arrived."""
        check_open(self._http)
        outer_error = sys.exc_info()[1]
        if request.json is not None:
            encode_json(request)  # raises an error of this package before the SDK fails on the value
        uploading = _upload.set(request.upload)
        response: Any = None
        other_error: BaseException | None = None
        started = time.monotonic()
        try:
            response = await maybe_await(self._start(request))
        except openai.APIStatusError as error:
            response = cast("Any", error.response)
        except Exception as error:  # noqa: BLE001 - openai 2.0 wraps all exceptions, openai 3 those of its HTTP library
            root = (error.__cause__ or error) if isinstance(error, openai.APIConnectionError) else error
            if isinstance(root, self._network_errors) or type(root).__name__ == "EndOfStream":
                raise map_connection_error(error, request, self._config, outer_error)  # noqa: B904 - it sets the cause
            other_error = root
        finally:
            _upload.reset(uploading)
        if other_error is not None:  # raised by the key function, a callback or this package
            raise other_error
        try:
            return await self._read(response, request, started)
        except self._library_errors as error:
            raise map_connection_error(error, request, self._config, outer_error)  # noqa: B904 - it sets the cause

    def _start(self, request: Request) -> Any:
        arguments: dict[str, Any] = {
            "cast_to": self._library.Response,
            "options": {"headers": dict(request.headers), "max_retries": 0, "timeout": self._config.timeout},
        }
        if request.method != "GET":
            arguments["body"] = request.json
        if request.method in {"GET", "POST"}:  # the SDK cannot stream the small responses of the other methods
            arguments |= self._streamed
        method = getattr(self._openai, request.method.lower())
        return method(build_url(self._config.base_url, request.path, request.query), **arguments)


class _BearerAuth:
    """Auth flows that set the current key on every attempt, for the configured origin only."""

    def __init__(self, config: Config, *, sync: bool) -> None:
        self._config = config
        self._origin = origin(config.base_url)
        self._blocking = sync
        self._source = cast("KeySource", config.key)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Do the same as `async_auth_flow`, for a sync client."""
        return step_auth_flow(self.async_auth_flow(request))

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Set the key and send. If the key was refused and the key function returns a newer key, send once more."""
        try:
            key = self._authorize(request, await self._ask())
            response = yield request
            if response.status_code in REFUSED and self._source.function() is not None:
                newer_key = await self._ask()
                if newer_key.reveal() != key.reveal():
                    self._authorize(request, newer_key)
                    yield request
        finally:
            strip_credentials(request)

    async def _ask(self) -> Secret[str]:
        return self._source.current_key() if self._blocking else await self._source.current_key_async()

    def _authorize(self, request: Any, key: Secret[str]) -> Secret[str]:
        if origin_of(request.url) != self._origin:
            raise ConfigurationError(
                f"Refusing to send the API key to {request.url.host}: this client is for {self._config.base_url} only."
            )
        headers = own_headers(request.headers, self._config)
        headers["authorization"] = f"Bearer {key.reveal()}"
        upload = _upload.get()
        if upload is not None:
            body = stream_upload(upload, blocking=self._blocking)
            request.stream = type(request)("POST", request.url, content=body).stream
            headers.pop("transfer-encoding", None)
            headers |= {"content-type": upload.content_type, "content-length": str(upload.length)}
        request.headers = type(request.headers)(headers, encoding=request.headers.encoding)
        return key
