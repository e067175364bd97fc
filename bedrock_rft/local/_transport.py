"""A transport to a local service in the same process, without a socket."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import time
from collections.abc import Callable
from typing import Any, TypeVar

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIConnectionError
from bedrock_rft.local._service.requests import (
    ServiceError,
    error_response,
    media_type,
    parse_request,
    route_path,
)
from bedrock_rft.local._service.service import Service

T = TypeVar("T")

_MAX_SLEEP = 0.02  # seconds
_URL = "http://local.invalid/v1"


class LocalTransport:
    """A `Transport` to a service in the same process: `Client(transport=LocalTransport(service))`.

    The transport works for both clients. Its coroutines suspend only in `sleep`, and only if `blocking` is false.
    Closing the transport does not close the service, which may serve other clients.

    Attributes:
        service: the service that handles the requests.
        base_url: a placeholder address; its host name does not exist.
        region: the region that the service reports.
    """

    base_url = _URL

    def __init__(self, service: Service, *, blocking: bool = True) -> None:
        """Connect to a service.

        Args:
            service: the service that handles the requests.
            blocking: False for an `AsyncClient`, so that sleeping does not block the event loop.
        """
        self.service = service
        self.blocking = blocking

    @property
    def region(self) -> str:
        """The region that the service reports."""
        return self.service.region

    async def send(self, call: Request) -> Response:
        """Handle a request. Raises `APIConnectionError` if the service is closed."""
        if self.service.closed:
            raise APIConnectionError(
                "The service in this process is closed. Keep it open while its clients work.", sent=False
            )
        response = self.service.handle(call)
        if call.upload is not None:
            call.upload.report(call.upload.length)
        return response

    async def sleep(self, seconds: float) -> None:
        """Sleep, but at most 20 ms: the local service needs no pause before a retry."""
        duration = min(seconds, _MAX_SLEEP)
        if self.blocking:
            time.sleep(duration)  # noqa: ASYNC251 - the sync client has no event loop
        else:
            await asyncio.sleep(duration)

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in the calling thread, because no work takes long here."""
        return work()

    async def close(self) -> None:
        """Do nothing: the service belongs to its creator."""

    def openai(self, *, max_retries: int, blocking: bool | None = None) -> Any:
        """Return an `openai.OpenAI`, or an `AsyncOpenAI` if `blocking` is false, that uses this service."""
        import openai

        from bedrock_rft._transport.http_library import http_library

        http = http_library()

        def handle(request: Any) -> Any:
            response = _respond(self.service, request)
            return http.Response(response.status, headers=dict(response.headers), content=response.content)

        transport: Any = http.MockTransport(handle)
        settings: dict[str, Any] = {"base_url": _URL, "api_key": "local-service", "max_retries": max_retries}
        if self.blocking if blocking is None else blocking:
            return openai.OpenAI(**settings, http_client=http.Client(transport=transport, trust_env=False))
        return openai.AsyncOpenAI(**settings, http_client=http.AsyncClient(transport=transport, trust_env=False))


def _respond(service: Service, request: Any) -> Response:
    path = route_path(request.url.raw_path.partition(b"?")[0])
    try:
        if media_type(request.headers) == "multipart/form-data":
            return _store_upload(service, request.headers["content-type"], request.content)
        return service.handle(parse_request(request.method, path, request.url.query.decode(), request.content))
    except ServiceError as error:
        return error_response(error)


def _store_upload(service: Service, content_type: str, body: bytes) -> Response:
    """Parse a multipart body with the standard library, because the body is in memory already."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
    if not {"file", "purpose"} <= parts.keys():
        raise ServiceError(400, "An upload needs the parts 'purpose' and 'file'.", param="file")
    purpose, file = (parts[name].get_payload(decode=True) for name in ("purpose", "file"))
    return service.receive_file(
        filename=parts["file"].get_filename() or "",
        purpose=bytes(purpose).decode(errors="replace"),
        chunks=[bytes(file)],
    )
