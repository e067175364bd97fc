"""The rehearsal behind HTTP: who may come in, how much they may bring, and nothing else.

Every request is checked in one order: the host it believes it talks to, its method, who sends it, what kind of body it
has. A signature is checked before the body is read, as far as its header allows, and again with the hash of what came.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bedrock_rft._transport import Reply
from bedrock_rft._upload import CHUNK
from bedrock_rft.local._keys import Keys
from bedrock_rft.local._replies import Problem, nowhere, refuse, stamped
from bedrock_rft.local._service import Service
from bedrock_rft.local._signature import Refused
from bedrock_rft.local._wire import PREFIX, call, kind, route

__all__ = ["app"]

_METHODS = ("GET", "POST", "DELETE")
_LARGEST_JSON = 4 << 20
_LARGEST_UPLOAD = 4 << 30
_LARGEST_UNKNOWN = 64 << 20  # of an upload whose signature can be checked only when all of it is there
_LARGEST_REFUSED = 64 << 20  # bytes read of a refused body: a peer that still sends does not hear the refusal
_STALLED = 60.0  # seconds without a byte of the body
_REFUSED_FOR = 10.0  # seconds
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UPLOADS = f"{PREFIX}/files".encode()


def app(service: Service, keys: Keys, host: str) -> ASGIApp:
    """The ASGI application.

    Args:
        service: what answers.
        keys: what lets a request in.
        host: the one `Host` header that is served, `127.0.0.1:PORT`. A page of another site can make a browser send
            requests here, but not make it lie about the name it looked up.
    """
    door = _Door(service, keys, host)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            reply = await door.answer(Request(scope, receive))
        except ClientDisconnect:
            return
        await _response(reply)(scope, receive, send)

    return serve


def _response(reply: Reply) -> Response:
    headers = dict(reply.headers)
    if headers.get("content-type", "").startswith("text/event-stream"):
        return StreamingResponse(_events(reply.content), reply.status, headers)
    return Response(reply.content, reply.status, headers)


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
                raise Problem(413, f"The body is larger than {limit} bytes.", code="request_too_large")
            self._digest.update(chunk)
            if chunk:
                yield chunk

    async def drain(self) -> None:
        """Hear a refused peer out, within limits: one that still sends would miss the refusal."""

        async def rest() -> None:
            async for _ in self.chunks(_LARGEST_REFUSED):
                pass

        with contextlib.suppress(Problem, asyncio.TimeoutError):
            await asyncio.wait_for(rest(), _REFUSED_FOR)


class _Door:
    """Lets requests in, or says why not."""

    def __init__(self, service: Service, keys: Keys, host: str) -> None:
        self._service = service
        self._keys = keys
        self._host = host

    async def answer(self, request: Request) -> Reply:
        """Answer a request, whatever it is."""
        body = _Body(request)
        try:
            return await self._admitted(request, body)
        except Problem as problem:
            refusal = problem
        except Refused as refused:
            refusal = Problem(refused.status, refused.message, code=refused.code, type="authentication_error")
        await body.drain()
        return stamped(refuse(refusal))

    async def _admitted(self, request: Request, body: _Body) -> Reply:
        self._check_target(request)
        claimed = request.headers.get("x-amz-content-sha256", "")
        known = _bearer(request) or _SHA256.fullmatch(claimed) is not None
        if known:
            # The body's own hash is compared below: nothing of a stranger's body is read before this.
            self._check_sender(request, claimed)
        media = kind(request.headers)
        multipart = media == "multipart/form-data" and request.method == "POST"
        if not multipart and media not in {"", "application/json"}:
            # Browsers send text/plain and forms to other sites without asking; JSON they do not.
            raise Problem(
                415, "Send application/json, or multipart/form-data to upload a file.", code="unsupported_media_type"
            )
        if multipart:
            return await self._uploaded(request, body, _LARGEST_UPLOAD if known else _LARGEST_UNKNOWN)
        content = b"".join([chunk async for chunk in body.chunks(_LARGEST_JSON)])
        self._check_sender(request, body.sha256)
        if content and not media:
            raise Problem(415, "Send a Content-Type with a body.", code="unsupported_media_type")
        path = route(request.scope["raw_path"])
        if path is None:
            return stamped(nowhere())
        described = call(request.method, path, request.url.query, content)
        return await run_in_threadpool(self._service.handle, described)

    def _check_target(self, request: Request) -> None:
        if request.headers.getlist("host") != [self._host]:
            raise Problem(421, f"This server answers as {self._host} only.", code="misdirected_request")
        if request.method not in _METHODS:
            raise Problem(405, f"There is no {request.method[:20]} here.", code="method_not_allowed")
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            raise Problem(400, "A body has a Content-Length or a Transfer-Encoding, not both.")

    def _check_sender(self, request: Request, body_sha256: str) -> None:
        headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
        self._keys.check(
            request.method, request.scope["raw_path"], request.scope["query_string"], headers, body_sha256=body_sha256
        )

    async def _uploaded(self, request: Request, body: _Body, limit: int) -> Reply:
        if request.scope["raw_path"] != _UPLOADS:
            raise Problem(415, "Only files are uploaded as multipart/form-data.", code="unsupported_media_type")
        # It goes to an anonymous temporary file, and is kept once the whole body is known to be the sender's.
        try:
            form = await MultiPartParser(request.headers, body.chunks(limit), max_files=1, max_fields=8).parse()
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


def _bearer(request: Request) -> bool:
    return request.headers.get("authorization", "").lower().startswith("bearer ")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
