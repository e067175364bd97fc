"""Transport for AWS credentials: an HTTP client whose requests are signed with SigV4."""

from __future__ import annotations

import sys
import time
from typing import Any

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.connection_errors import map_connection_error
from bedrock_rft._transport.http import build_url, encode_json, stream_upload
from bedrock_rft._transport.http_client import check_open
from bedrock_rft._transport.http_transport import HttpTransport
from bedrock_rft._transport.signing import RequestSigner
from bedrock_rft._transport.transport import Request, Response, maybe_await


class SigV4Transport(HttpTransport):
    """Sends requests through an HTTP client that signs every attempt with the current AWS credentials."""

    def __init__(self, config: Config, *, blocking: bool) -> None:
        super().__init__(config, RequestSigner, blocking=blocking)
        self._headers = {**self._http.headers, "user-agent": ""}  # set by the auth, for client.openai too
        self._extensions = {"timeout": self._http.timeout.as_dict()}

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
            # The client's `build_request` would parse the URL twice and merge headers: a tenth of the cost of a
            # request.
            native = self._library.Request(
                request.method,
                self._library.URL(build_url(self._config.base_url, request.path, request.query)),
                headers=headers,
                content=content,
                extensions=self._extensions,
            )
            started = time.monotonic()
            response = await maybe_await(self._http.send(native, stream=True))
            return await self._read(response, request, started)
        except self._library_errors as error:
            raise map_connection_error(error, request, self._config, outer_error)  # noqa: B904 - it sets the cause
