"""The local service as an ASGI application, which authenticates requests and limits their size.

Every request is checked in this order: the Host header, the Origin header, the method, the sender, the media type. A
signature is checked in two passes: its header before the body is read, and the whole signature once the body's hash is
known. Nothing of an unauthenticated body is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import threading
from collections.abc import AsyncGenerator
from functools import partial
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from bedrock_rft._transport.multipart import CHUNK
from bedrock_rft._transport.transport import Response
from bedrock_rft.local._http.signature import Keys
from bedrock_rft.local._service.requests import (
    PREFIX,
    ServiceError,
    error_response,
    media_type,
    parse_request,
    route_path,
)
from bedrock_rft.local._service.service import Service

_METHODS = ("GET", "POST", "DELETE")
_MAX_JSON_BYTES = 4 << 20
_BODY_TIMEOUT = 60.0  # seconds without a byte of the body
_POLL_SECONDS = 0.25  # interval in which a request that waits for its body checks whether the server is stopping
_DOWNLOAD = re.compile("/files/([^/]+)/content")
_UPLOAD_PATH = f"{PREFIX}/files".encode()


def _http_response(response: Response) -> HTTPResponse:
    return HTTPResponse(response.content, response.status, dict(response.headers))


class _RequestBody:
    """A request's body, hashed and measured while it is read."""

    def __init__(self, request: HTTPRequest, stopping: threading.Event) -> None:
        self._request = request
        self._stopping = stopping
        self._digest = hashlib.sha256()
        self._size = 0
        self._ended = False

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far."""
        return self._digest.hexdigest()

    async def read_chunks(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Yield the body; raise `ServiceError` (413) if it exceeds `limit` bytes, 408 if it stalls."""
        if int(self._request.headers.get("content-length", 0)) > limit:
            raise _body_size_error(limit)
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._ended = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > limit:
                raise _body_size_error(limit)
            self._digest.update(chunk)
            if chunk:
                yield chunk

    async def _receive(self) -> Message:
        task = asyncio.ensure_future(self._request.receive())
        waited = 0.0
        try:
            while not (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
                waited += _POLL_SECONDS
                if self._stopping.is_set():
                    raise ServiceError(503, "The local service is stopping.", code="service_unavailable")
                if waited >= _BODY_TIMEOUT:
                    message = f"No byte of the body arrived for {_BODY_TIMEOUT:g} seconds."
                    raise ServiceError(408, message, code="request_timeout")
            return task.result()
        finally:
            task.cancel()


class App:
    """The ASGI application: it authenticates requests and passes them to the service."""

    def __init__(
        self, service: Service, keys: Keys, host: str, *, max_upload_bytes: int, stopping: threading.Event
    ) -> None:
        """Serve authenticated requests whose `Host` header is `host`; `stopping` is set when the server stops."""
        # The host protects from pages of other sites: a browser names such a site as host or origin of the request.
        self._service, self._keys, self._host = service, keys, host
        self._max_upload_bytes, self._stopping = max_upload_bytes, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with contextlib.suppress(ClientDisconnect):
                response = await self._respond(HTTPRequest(scope, receive))
                await response(scope, receive, send)

    async def _respond(self, request: HTTPRequest) -> HTTPResponse:
        try:
            return await self._authenticate_and_handle(request, _RequestBody(request, self._stopping))
        except ServiceError as error:
            rejection = error
        except OSError as error:
            # An upload is spooled to a temporary file, which fails if the disk is full.
            message = f"The upload could not be stored: {error.strerror or type(error).__name__}."
            rejection = ServiceError(507, message, code="insufficient_storage", type="server_error")
        return _http_response(error_response(rejection))

    async def _authenticate_and_handle(self, request: HTTPRequest, body: _RequestBody) -> HTTPResponse:
        self._check_target(request)
        # Check the sender before reading the body. The hash of the received body is compared below.
        claimed_sha256 = request.headers.get("x-amz-content-sha256")
        self._check_sender(request, claimed_sha256)
        media = media_type(request.headers)
        multipart = media == "multipart/form-data" and request.method == "POST"
        if not multipart and media not in {"", "application/json"}:
            # Refuse media types that browsers send to other sites without a preflight request: text/plain and forms.
            raise _unsupported_media_error(
                f"The Content-Type '{media[:100]}' is not supported. Send application/json, or multipart/form-data to "
                "upload a file."
            )
        if multipart:
            return _http_response(await self._store_upload(request, body))
        content = b"".join([chunk async for chunk in body.read_chunks(_MAX_JSON_BYTES)])
        if body.sha256 != claimed_sha256:  # if equal, the signature was already checked with this hash
            self._check_sender(request, body.sha256)
        if content and not media:
            raise _unsupported_media_error("The body has no Content-Type header.")
        path = route_path(request.scope["raw_path"])
        parsed = parse_request(request.method, path, request.url.query, content)
        download = _DOWNLOAD.fullmatch(path) if request.method == "GET" else None
        if download is None:
            return _http_response(await run_in_threadpool(self._service.handle, parsed))
        head, chunks = await run_in_threadpool(self._service.open_file, unquote(download[1]))
        return StreamingResponse(chunks, head.status, dict(head.headers)) if head.ok else _http_response(head)

    def _check_target(self, request: HTTPRequest) -> None:
        if request.headers.getlist("host") != [self._host]:
            message = f"The Host header must be {self._host}, and occur once."
            raise ServiceError(421, message, code="misdirected_request")
        if any(origin != f"http://{self._host}" for origin in request.headers.getlist("origin")):
            raise ServiceError(403, "Requests from other web sites are refused.", code="forbidden_origin")
        if request.method not in _METHODS:
            raise ServiceError(405, f"The method {request.method[:20]} is not supported.", code="method_not_allowed")

    def _check_sender(self, request: HTTPRequest, body_sha256: str | None) -> None:
        headers = [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in request.headers.raw
        ]
        path, query = request.scope["raw_path"], request.scope["query_string"]
        self._keys.check(request.method, path, query, headers, body_sha256)

    async def _store_upload(self, request: HTTPRequest, body: _RequestBody) -> Response:
        if request.scope["raw_path"] != _UPLOAD_PATH:
            raise _unsupported_media_error("Only POST /v1/files takes multipart/form-data.")
        # The parser writes to an anonymous temporary file; the service stores the upload after checking the signature.
        try:
            received = body.read_chunks(self._max_upload_bytes)
            form = await MultiPartParser(request.headers, received, max_files=1, max_fields=8).parse()
        except (MultiPartException, ValueError):
            # Catch ValueError too, because older versions of Starlette do not convert the parser's error.
            raise ServiceError(400, "The body is not valid multipart/form-data.", param="file") from None
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(form.close)
            self._check_sender(request, body.sha256)
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile) or not isinstance(purpose, str):
                raise ServiceError(400, "An upload needs the parts 'purpose' and 'file'.", param="file")
            chunks = iter(partial(file.file.read, CHUNK), b"")
            receive = partial(self._service.receive_file, filename=file.filename or "", purpose=purpose)
            return await run_in_threadpool(receive, chunks=chunks)


def _body_size_error(limit: int) -> ServiceError:
    return ServiceError(413, f"The body is larger than {limit} bytes.", code="request_too_large")


def _unsupported_media_error(message: str) -> ServiceError:
    return ServiceError(415, message, code="unsupported_media_type")
