"""Read response bodies within bounds of size and time."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import ModuleType
from typing import Any, cast

from bedrock_rft._transport.http_library import library_of
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIResponseError

MAX_BODY = 16 << 20
"""Maximum bytes of a successful response. Files have no maximum, because they are written to a sink."""

MAX_ERROR_BODY = 64 << 10
"""Maximum bytes that are read of an error response."""

_LOCATION = "bedrock_rft.location"
_STREAMED_METHODS = frozenset({"GET", "POST"})
"""HTTP methods whose successful responses are streamed. The OpenAI SDK reads the bodies of all others itself."""


async def read_response(response: Any, request: Request, deadline: float, *, blocking: bool) -> Response:
    """Read a response. Raise if it is too large or compressed, or, unless it is a file, does not end by `deadline`."""
    headers = dict(response.headers.items())
    if _LOCATION in response.extensions:
        headers["location"] = response.extensions[_LOCATION]
    success = bool(response.is_success)
    if response.is_stream_consumed:  # by the OpenAI SDK, within the bounds of `limit_response`
        return Response(response.status_code, headers, response.content)
    sink = request.sink if success else None
    if sink is not None:
        sink.restart()
        deadline = math.inf
    content = _Content()
    try:
        if success and _is_compressed(response):
            raise _compression_error(request.summary, response)
        async for chunk in iterate_stream(response.stream, blocking=blocking):
            if sink is not None:
                sink.write(chunk)
                continue
            content += chunk
            if len(content) > MAX_BODY:
                content.clear()  # the exception keeps this frame, and so the content, in memory
                raise _too_large(request.summary, response)
            _check_deadline(deadline, response)
    finally:
        if blocking:
            response.close()
        else:
            await response.aclose()
    return Response(response.status_code, headers, bytes(content))


class _Content(bytearray):
    def __repr__(self) -> str:  # tracebacks with local variables must not show the content
        return f"<{len(self)} bytes>"


async def iterate_stream(stream: Any, *, blocking: bool) -> AsyncIterator[bytes]:
    """Yield the chunks of a body of an HTTP library."""
    if blocking:
        for chunk in cast("Iterable[bytes]", stream):
            yield chunk
    else:
        async for chunk in cast("AsyncIterable[bytes]", stream):
            yield chunk


def limit_response(response: Any, *, base_path: str) -> None:
    """Bound the size and duration of a response: hook of the HTTP clients. `base_path` is left out of messages."""
    # Hide the target of a redirect: the HTTP library would parse it, and fail if it is not a URL.
    if "location" in response.headers:
        response.extensions[_LOCATION] = response.headers.pop("location")
    if not response.is_success:
        limit_error_body(response, drop_compressed=True)
    elif response.request.method not in _STREAMED_METHODS:
        summary = f"{response.request.method} {response.request.url.path.removeprefix(base_path)}"
        if _is_compressed(response):
            raise _compression_error(summary, response)
        response.stream = _limit_stream(response, MAX_BODY, _too_large(summary, response))


async def limit_response_async(response: Any, *, base_path: str) -> None:
    """Bound the size and duration of the response of an async client; see `limit_response`."""
    limit_response(response, base_path=base_path)


def limit_error_body(response: Any, *, drop_compressed: bool) -> None:
    """Bound the body of an error response to `MAX_ERROR_BODY` bytes before decompression, or drop a compressed one."""
    limit = MAX_ERROR_BODY
    if drop_compressed and _is_compressed(response):
        del response.headers["content-encoding"]
        limit = 0
    response.stream = _limit_stream(response, limit, None)


def _is_compressed(response: Any) -> bool:
    return response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _check_deadline(deadline: float, response: Any) -> None:
    if time.monotonic() > deadline:
        raise library_of(response).ReadTimeout("The response did not end in time.", request=response.request)


def _too_large(summary: str, response: Any) -> APIResponseError:
    return APIResponseError(
        f"{summary}: the response is larger than {MAX_BODY >> 20} MiB. No response of the service is that large. Check "
        "base_url.",
        status=response.status_code,
    )


def _compression_error(summary: str, response: Any) -> APIResponseError:
    encoding = response.headers["content-encoding"][:40]
    return APIResponseError(
        f"{summary}: HTTP {response.status_code} is compressed ({encoding!r}), although the request asked for an "
        "uncompressed response. A proxy may have changed the response: check base_url and the proxy.",
        status=response.status_code,
    )


class _LimitedStream:
    """Response stream with a total time limit (the read timeout) and a size limit.

    After `limit` bytes, the stream raises `error`, or ends if `error` is None.
    """

    def __init__(self, response: Any, limit: int, error: APIResponseError | None) -> None:
        self._response = response
        self._stream = response.stream
        self._remaining = limit
        self._error = error
        timeouts: dict[str, float | None] = response.request.extensions.get("timeout") or {}
        self._deadline = time.monotonic() + (timeouts.get("read") or math.inf)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield self._take(chunk)
            if self._remaining < 0:
                return

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield self._take(chunk)
            if self._remaining < 0:
                return

    def _take(self, chunk: bytes) -> bytes:
        _check_deadline(self._deadline, self._response)
        allowed = chunk[: self._remaining]
        self._remaining -= len(chunk)
        if self._remaining < 0 and self._error is not None:
            raise self._error
        return allowed

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _limit_stream(response: Any, limit: int, error: APIResponseError | None) -> Any:
    return _stream_class(library_of(response))(response, limit, error)


@functools.cache
def _stream_class(library: ModuleType) -> type[Any]:
    return type("LimitedStream", (_LimitedStream, library.SyncByteStream, library.AsyncByteStream), {})
