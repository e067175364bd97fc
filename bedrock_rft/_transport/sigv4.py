"""The carrier for AWS credentials: httpx, signed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import httpx

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.connection_errors import disarm, lost
from bedrock_rft._transport.deadline import within
from bedrock_rft._transport.http import (
    aside,
    client_options,
    encode,
    opened,
    pause,
    peculiar,
    refuse_closed,
    stream,
    url,
)
from bedrock_rft._transport.response_body import receive
from bedrock_rft._transport.signing import SigV4Auth
from bedrock_rft._transport.transport import Request, Response, settle

__all__ = ["SigV4Transport"]

T = TypeVar("T")


class SigV4Transport:
    """Sends calls over an httpx client of either colour, each attempt signed afresh."""

    def __init__(self, config: Config, *, blocking: bool) -> None:
        self._config = config
        self._blocking = blocking
        options: dict[str, Any] = {
            **client_options(config),
            "auth": SigV4Auth.of(config),
            "headers": {"User-Agent": ""},  # said by the auth, as for the other carrier
            "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=100),  # those of the OpenAI SDK
        }
        make = peculiar(httpx.Client if blocking else httpx.AsyncClient, httpx, blocking=blocking)
        self._http: httpx.Client | httpx.AsyncClient = opened(make, options, httpx)
        self._headers = dict(self._http.headers)
        self._limits = {"timeout": self._http.timeout.as_dict()}

    async def send(self, call: Request) -> Response:
        """Send once. Raises `APIConnectionError` where no reply came."""
        refuse_closed(self._http)
        outside = sys.exc_info()[1]
        headers = {**self._headers, **call.headers}
        content: Any = None
        if call.upload is not None:
            headers |= {"Content-Type": call.upload.content_type, "Content-Length": str(call.upload.length)}
            headers["X-Amz-Content-SHA256"] = call.upload.sha256
            content = stream(call.upload, blocking=self._blocking)
        elif call.json is not None:
            headers["Content-Type"] = "application/json"
            content = encode(call)
        try:
            address = httpx.URL(url(self._config.base_url, call.path, call.query))  # parsed once
            # Not the client's `build_request`: there is nothing to merge, and merging is a tenth of a call.
            request = httpx.Request(call.method, address, headers=headers, content=content, extensions=self._limits)
            with within(self._config.timeout):
                response = await settle(cast("Any", self._http.send(request, stream=True)))
                return await receive(response, call, blocking=self._blocking)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise lost(error, call, self._config, outside) from disarm(error, outside)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await pause(seconds, blocking=self._blocking)

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work, away from an event loop where there is one."""
        return await aside(work, blocking=self._blocking)

    async def close(self) -> None:
        """Close the connections."""
        if isinstance(self._http, httpx.Client):
            self._http.close()
        else:
            await self._http.aclose()

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """An OpenAI client whose every attempt is signed by this carrier's own HTTP client."""
        from bedrock_rft._transport.inference import inference

        return inference(self._config, self._http, max_retries=max_retries, blocking=blocking, patient=True)
