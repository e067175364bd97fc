"""Reading an answer within bounds: of bytes as they are after decompression, and of time however they drip."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from bedrock_rft._transport.deadline import lift
from bedrock_rft._transport.transport import Request, Response, Sink
from bedrock_rft.errors import APIResponseError, APITimeoutError

__all__ = ["ACCEPTED", "abridge", "abridge_soon", "keep_location", "receive"]

ACCEPTED = "gzip, deflate"
"""The compressions that are asked for: those whose output can be bounded while it is made."""

LARGEST = 16 << 20
"""Bytes of a control-plane answer, decoded. Files go to a sink instead and have no bound."""

LARGEST_REFUSAL = 64 << 10
"""Bytes of an error's body that are read, decoded."""

_PIECE = 64 << 10
_LOCATION = "bedrock_rft.location"
_STREAMED = frozenset({"GET", "POST"})


class Native(Protocol):
    """A response of either HTTP library, its body not yet read."""

    status_code: int
    stream: Any

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...
    def close(self) -> None: ...
    async def aclose(self) -> None: ...


async def receive(response: Native, call: Request, *, blocking: bool) -> Response:
    """Read a response to its end, and no further than its bound. What is a file may take longer than another answer.

    Args:
        response: a response of either library, opened as a stream.
        call: what it answers.
        blocking: which of its two iterators to use.

    Raises:
        APIResponseError: it is larger than any answer of the service, or not compressed as it says.
    """
    status = response.status_code
    headers = {name.lower(): value for name, value in response.headers.items()}
    if _LOCATION in response.extensions:
        headers["location"] = response.extensions[_LOCATION]
    succeeded = _succeeded(status)
    sink = call.sink if succeeded else None
    if sink is not None:
        sink.restart()
        lift()
    taken = _Taken(LARGEST if succeeded else LARGEST_REFUSAL, sink)
    body = _Body(f"{call.method} {call.path}", status, headers.get("content-encoding", ""))
    try:
        async for chunk in _chunks(response, blocking=blocking):
            for piece in body.pieces(chunk):
                if taken.is_full_with(piece):
                    break
            if taken.full:
                break
    finally:
        _mistrust(response)
        if blocking:
            response.close()
        else:
            await response.aclose()
    if taken.full and succeeded:
        raise body.too_large()
    return Response(status, headers, taken.all(taken.most))


@dataclass
class _Taken:
    """What was read, in memory up to a bound or in a sink without one."""

    most: int
    sink: Sink | None = None
    content: bytearray = field(default_factory=bytearray, repr=False)  # a traceback with variables prints it
    full: bool = False

    def is_full_with(self, piece: bytes) -> bool:
        """Take a piece; return whether there is more than may be."""
        if self.sink is not None:
            self.sink.write(piece)
            return False
        self.content += piece
        self.full = len(self.content) > self.most
        return self.full

    def all(self, most: int) -> bytes:
        """What was read, up to a length. It is given away: an answer need not be in memory twice."""
        content, self.content = self.content, bytearray()
        with memoryview(content) as view:
            return bytes(view[:most])


async def _chunks(response: Native, *, blocking: bool) -> AsyncIterator[bytes]:
    # The stream itself, as it came: what a response makes of it is decompressed without a bound.
    if blocking:
        for chunk in cast("Iterable[bytes]", response.stream):
            yield chunk
    else:
        async for chunk in cast("AsyncIterable[bytes]", response.stream):
            yield chunk


@dataclass
class _Body:
    """Bytes on their way out of a compression, a piece at a time."""

    doing: str
    status: int
    encoding: str
    deadline: float = math.inf

    def __post_init__(self) -> None:
        name = self.encoding.strip().lower()
        self._inflater: Any = None
        self._raw = name == "deflate"  # which some send without zlib's header
        if name in {"gzip", "x-gzip"}:
            self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif name == "deflate":
            self._inflater = zlib.decompressobj()
        elif name not in {"", "identity"} and _succeeded(self.status):
            raise self._odd(f"in a way that was not asked for, {name[:40]!r}")

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk decompresses to."""
        if self._inflater is None:
            yield chunk
            return
        while chunk and not self._inflater.eof:
            try:
                piece = self._inflater.decompress(chunk, _PIECE)
            except zlib.error as error:
                if self._raw:
                    self._raw, self._inflater = False, zlib.decompressobj(-zlib.MAX_WBITS)
                    continue
                if _succeeded(self.status):
                    raise self._odd(f"as it says: {error}") from None
                self._inflater = None  # the status says enough
                return
            self._raw = False
            chunk = self._inflater.unconsumed_tail
            if piece:
                yield piece

    def check_time(self) -> None:
        """Raise `APITimeoutError` where the answer takes longer than it may."""
        if time.monotonic() > self.deadline:
            raise APITimeoutError(f"{self.doing}: the answer did not end in time.", reason="timeout")

    def too_large(self) -> APIResponseError:
        """What to raise of an answer beyond `LARGEST`."""
        return APIResponseError(
            f"{self.doing}: the answer is larger than {LARGEST >> 20} MiB, which no answer of the service is. Check "
            "base_url.",
            status=self.status,
        )

    def _odd(self, how: str) -> APIResponseError:
        return APIResponseError(
            f"{self.doing}: HTTP {self.status} is not compressed {how}. A proxy may have changed it: check base_url.",
            status=self.status,
        )


def _succeeded(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - HTTP's own bounds


def abridge(response: Any, library: ModuleType, base_url: str, *, own: bool = True) -> None:
    """Read what another reader would read without a bound, and leave it to that reader, cut to its bound.

    An error's body is read by the OpenAI SDK before anybody sees it; so are the answers of methods it does not stream.

    Args:
        response: a response of either library, its body not yet read.
        library: httpx or httpx2, whichever it belongs to.
        base_url: what routes begin behind.
        own: whether only `ACCEPTED` was asked for. What else a user's client can decompress is left to it.
    """
    cut = _Abridged.of(response, base_url, own=own)
    if cut is None:
        return
    try:
        for chunk in response.stream:
            if cut.take(chunk):
                break
    finally:
        _mistrust(response)
        response.stream.close()
    cut.leave(response, library)


async def abridge_soon(response: Any, library: ModuleType, base_url: str, *, own: bool = True) -> None:
    """As `abridge`, of an async client's response."""
    cut = _Abridged.of(response, base_url, own=own)
    if cut is None:
        return
    try:
        async for chunk in response.stream:
            if cut.take(chunk):
                break
    finally:
        _mistrust(response)
        await response.stream.aclose()
    cut.leave(response, library)


@dataclass
class _Abridged:
    """A body up to its bound."""

    body: _Body
    taken: _Taken
    own: bool

    @classmethod
    def of(cls, response: Any, base_url: str, *, own: bool) -> _Abridged | None:
        """What to read of a response; None where its reader keeps bounds by itself."""
        request, succeeded = response.request, _succeeded(response.status_code)
        encoding = response.headers.get("content-encoding", "")
        if succeeded and request.method in _STREAMED:
            return None
        if not own and encoding.lower() not in {"", "gzip", "x-gzip", "deflate", "identity"}:
            return None
        limits: dict[str, float | None] = request.extensions.get("timeout") or {}
        deadline = time.monotonic() + (limits.get("read") or math.inf)
        path = request.url.path.removeprefix(urlsplit(base_url).path)
        body = _Body(f"{request.method} {path}", response.status_code, encoding, deadline)
        return cls(body, _Taken(LARGEST if succeeded else LARGEST_REFUSAL), own)

    def take(self, chunk: bytes) -> bool:
        """Take the next bytes; return whether that is enough."""
        if any(self.taken.is_full_with(piece) for piece in self.body.pieces(chunk)):
            return True
        self.body.check_time()
        return False

    def leave(self, response: Any, library: ModuleType) -> None:
        """Put what was read where it came from; of a success that is too long, say so to who asked."""
        succeeded = _succeeded(response.status_code)
        if succeeded and self.taken.full and self.own:
            raise self.body.too_large()
        response.headers.pop("content-encoding", None)
        response.stream = library.ByteStream(self.taken.all(self.taken.most + succeeded))


def _mistrust(response: Any) -> None:
    """Do not use a connection again that brought more than one answer: the rest would be taken for the next one's."""
    part = response.stream
    for _ in range(8):  # the two libraries wrap the connection in a few streams
        state = getattr(part, "_h11_state", None)
        if state is not None:
            if state.trailing_data[0]:
                state.send_failed()
            return
        inner = (getattr(part, name, None) for name in ("_stream", "_httpcore_stream", "_connection"))
        part = next((each for each in inner if each is not None), None)


def keep_location(response: Any) -> None:
    """Put where a redirect points out of the HTTP library's sight: it would parse it, and fail on what is no URL."""
    location = response.headers.pop("location", None)
    if location is not None:
        response.extensions[_LOCATION] = location
