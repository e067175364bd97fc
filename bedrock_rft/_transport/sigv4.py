"""Transport for AWS credentials: an HTTP client whose requests are signed with SigV4."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.connection_errors import map_connection_error, strip_exception
from bedrock_rft._transport.http import build_url, encode_json, run_blocking, sleep, stream_upload
from bedrock_rft._transport.http_client import build_http_client, check_open
from bedrock_rft._transport.http_library import http_library
from bedrock_rft._transport.response_body import read_response
from bedrock_rft._transport.signing import RequestSigner
from bedrock_rft._transport.transport import Request, Response, maybe_await

__all__ = ["SigV4Transport"]

T = TypeVar("T")


class SigV4Transport:
    """Sends requests through an HTTP client that signs every attempt with the current AWS credentials."""

    def __init__(self, config: Config, *, blocking: bool) -> None:
        self._config = config
        self._blocking = blocking
        self._library = library = http_library()
        auth = type("SigV4Auth", (RequestSigner, library.Auth), {})(config)
        self._http = build_http_client(config, auth, library, blocking=blocking)
        self._headers = {**self._http.headers, "user-agent": ""}  # set by the auth, for client.openai too
        self._extensions = {"timeout": self._http.timeout.as_dict()}
        self._errors = (library.HTTPError, library.InvalidURL, library.StreamError)

    async def send(self, request: Request) -> Response:
        """Send a request once. Raises `APIConnectionError` if no complete response arrived."""
        check_open(self._http)
        outer_error = sys.exc_info()[1]
        headers = {**self._headers, **request.headers}
        content: Any = None
        if request.upload is not None:
            headers |= {"Content-Type": request.upload.content_type, "Content-Length": str(request.upload.length)}
            headers["X-Amz-Content-SHA256"] = request.upload.sha256
            content = stream_upload(request.upload, blocking=self._blocking)
        elif request.json is not None:
            headers["Content-Type"] = "application/json"
            content = encode_json(request)
        try:
            # Not the client's `build_request`: it would parse the URL twice and merge headers, a tenth of the cost.
            native = self._library.Request(
                request.method,
                self._library.URL(build_url(self._config.base_url, request.path, request.query)),
                headers=headers,
                content=content,
                extensions=self._extensions,
            )
            deadline = time.monotonic() + self._config.timeout
            response = await maybe_await(self._http.send(native, stream=True))
            if request.upload is not None:  # an upload may take longer than its response
                deadline = time.monotonic() + self._config.timeout
            return await read_response(response, request, deadline, blocking=self._blocking)
        except self._errors as error:
            raise map_connection_error(error, request, self._config, outer_error) from strip_exception(
                error, outer_error
            )

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await sleep(seconds, blocking=self._blocking)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a blocking function, in a thread if there is an event loop that it would block."""
        return await run_blocking(work, blocking=self._blocking)

    async def close(self) -> None:
        """Close the connections."""
        await maybe_await(self._http.close() if self._blocking else self._http.aclose())

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        """Return an OpenAI client whose requests are signed, on the connections of this transport."""
        from bedrock_rft._transport.inference import create_openai_client

        return create_openai_client(
            self._config, self._http, max_retries=max_retries, blocking=blocking, for_inference=True
        )
