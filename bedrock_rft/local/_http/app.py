"""The rehearsal behind HTTP: who may come in, how much they may bring, and nothing else.

Every request is checked in one order: the host it believes it talks to, its method, who sends it, what kind of body it
has. A signature is checked before the body is read, as far as its header allows, and again with the hash of what came.
Of a stranger's body nothing is read: the connection's guard lets it run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as HTTPResponse
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bedrock_rft._transport.multipart import CHUNK
from bedrock_rft._transport.transport import Response
from bedrock_rft.local._http.keys import Keys
from bedrock_rft.local._http.messages import PREFIX, call, download, kind, route
from bedrock_rft.local._http.signature import Refused
from bedrock_rft.local._service.responses import Problem, nowhere, refuse, stamped
from bedrock_rft.local._service.service import Service

__all__ = ["app"]

_METHODS = ("GET", "POST", "DELETE")
_LARGEST_JSON = 4 << 20
_STALLED = 60.0  # seconds without a byte of the body
_UPLOADS = f"{PREFIX}/files".encode()


def app(service: Service, keys: Keys, host: str, *, largest_upload: int) -> ASGIApp:
    """The ASGI application.

    Args:
        service: what answers.
        keys: what lets a request in.
        host: the one `Host` header that is served, `127.0.0.1:PORT`. A page of another site can make a browser send
            requests here, but not make it lie about the name it looked up.
        largest_upload: bytes of the body of an upload. It goes to disk, so this is all that bounds it.
    """
    door = _Door(service, keys, host, largest_upload)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        with contextlib.suppress(ClientDisconnect):
            response = await door.answer(Request(scope, receive))
            await response(scope, receive, send)

    return serve


def _response(reply: Response) -> HTTPResponse:
    headers = dict(reply.headers)
    if headers.get("content-type", "").startswith("text/event-stream"):
        return StreamingResponse(_events(reply.content), reply.status, headers)
    return HTTPResponse(reply.content, reply.status, headers)


async def _events(content: bytes) -> AsyncIterator[bytes]:
    """Server-sent events, each in a packet of its own."""
    for event in content.split(b"\n\n"):
        if event:
            yield event + b"\n\n"
            await asyncio.sleep(0)


class _Body:
    """A request's body, measured while it is read."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._digest = hashlib.sha256()
        self._size = 0
        self._ended = False

    @property
    def sha256(self) -> str:
        """Hex digest of what was read."""
        return self._digest.hexdigest()

    async def chunks(self, limit: int) -> AsyncGenerator[bytes, None]:
        """What comes, up to `limit` bytes in all."""
        if int(self._request.headers.get("content-length", 0)) > limit:
            raise _too_large(limit)
        while not self._ended:
            try:
                message = await asyncio.wait_for(self._request.receive(), _STALLED)
            except asyncio.TimeoutError:
                raise Problem(408, "The body stopped coming.", code="request_timeout") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._ended = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > limit:
                raise _too_large(limit)
            self._digest.update(chunk)
            if chunk:
                yield chunk


class _Door:
    """Lets requests in, or says why not."""

    def __init__(self, service: Service, keys: Keys, host: str, largest_upload: int) -> None:
        self._service = service
        self._keys = keys
        self._host = host
        self._largest_upload = largest_upload

    async def answer(self, request: Request) -> HTTPResponse:
        """Answer a request, whatever it is."""
        try:
            return await self._admitted(request, _Body(request))
        except Problem as problem:
            refusal = problem
        except Refused as refused:
            refusal = Problem(refused.status, refused.message, code=refused.code, type="authentication_error")
        return _response(stamped(refuse(refusal)))

    async def _admitted(self, request: Request, body: _Body) -> HTTPResponse:
        self._check_target(request)
        # The body's own hash is compared below: nothing of a stranger's body is read before this.
        self._check_sender(request, request.headers.get("x-amz-content-sha256"))
        media = kind(request.headers)
        multipart = media == "multipart/form-data" and request.method == "POST"
        if not multipart and media not in {"", "application/json"}:
            # Browsers send text/plain and forms to other sites without asking; JSON they do not.
            raise Problem(
                415, "Send application/json, or multipart/form-data to upload a file.", code="unsupported_media_type"
            )
        if multipart:
            return _response(await self._uploaded(request, body))
        content = b"".join([chunk async for chunk in body.chunks(_LARGEST_JSON)])
        self._check_sender(request, body.sha256)
        if content and not media:
            raise Problem(415, "Send a Content-Type with a body.", code="unsupported_media_type")
        path = route(request.scope["raw_path"])
        if path is None:
            return _response(stamped(nowhere()))
        described = call(request.method, path, request.url.query, content)
        file = download(described)
        if file is None:
            return _response(await run_in_threadpool(self._service.handle, described))
        head, chunks = await run_in_threadpool(self._service.send, file)
        return StreamingResponse(chunks, head.status, dict(head.headers)) if head.ok else _response(head)

    def _check_target(self, request: Request) -> None:
        if request.headers.getlist("host") != [self._host]:
            raise Problem(421, f"This server answers as {self._host} only.", code="misdirected_request")
        if request.method not in _METHODS:
            raise Problem(405, f"There is no {request.method[:20]} here.", code="method_not_allowed")

    def _check_sender(self, request: Request, body_sha256: str | None) -> None:
        headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
        self._keys.check(
            request.method, request.scope["raw_path"], request.scope["query_string"], headers, body_sha256=body_sha256
        )

    async def _uploaded(self, request: Request, body: _Body) -> Response:
        if request.scope["raw_path"] != _UPLOADS:
            raise Problem(415, "Only files are uploaded as multipart/form-data.", code="unsupported_media_type")
        # It goes to an anonymous temporary file, and is kept once the whole body is known to be the sender's.
        try:
            chunks = body.chunks(self._largest_upload)
            form = await MultiPartParser(request.headers, chunks, max_files=1, max_fields=8).parse()
        except (MultiPartException, ValueError):
            # Older versions of Starlette let the parser's own error through, which is a ValueError.
            raise Problem(400, "The body is not valid multipart/form-data.", param="file") from None
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(form.close)
            self._check_sender(request, body.sha256)
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile) or not isinstance(purpose, str):
                raise Problem(400, "An upload has the parts 'purpose' and 'file'.", param="file")
            return await run_in_threadpool(
                self._service.receive, filename=file.filename or "", purpose=purpose, chunks=_read(file.file)
            )


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes.", code="request_too_large")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
