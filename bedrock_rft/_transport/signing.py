"""Sign requests of httpx and httpx2 with SigV4: botocore computes the signature, credentials are resolved each time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from datetime import datetime, timedelta, timezone
from typing import IO, Any, cast
from urllib.parse import quote, unquote_to_bytes

from botocore.auth import SigV4Auth as _BotocoreSigner
from botocore.awsrequest import AWSRequest

from bedrock_rft._auth.aws_credentials import AwsCredentials, FrozenCredentials
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import SERVICE
from bedrock_rft._transport.http import (
    REFUSED,
    clock_offset,
    origin,
    origin_of,
    own_headers,
    run_blocking,
    strip_credentials,
)
from bedrock_rft._transport.http_library import library_of
from bedrock_rft._transport.multipart import CHUNK
from bedrock_rft._transport.response_body import iterate_stream, limit_error_body
from bedrock_rft._transport.transport import maybe_await, step_auth_flow
from bedrock_rft.errors import ConfigurationError

_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_MAX_SKEW = timedelta(minutes=4)  # the service allows five minutes; a minute is the most that a request travels

# Paths and queries that need no further encoding, as most of them.
_CANONICAL = re.compile(rb"[\w/.~-]*(\?[\w.~-]+=[\w.~-]*(&[\w.~-]+=[\w.~-]*)*)?", re.ASCII)

# These headers are not signed: a proxy may add, remove or change them, which would make the signature invalid.
_UNSIGNED = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect", "forwarded",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "via", "x-amzn-trace-id", "x-forwarded-for",
        "x-forwarded-host", "x-forwarded-proto",
    }
)  # fmt: skip


class _Signer(_BotocoreSigner):  # type: ignore[misc] # botocore has no annotations
    """botocore's signer with a given time, and without its debug log, which shows the session token."""

    def sign(self, request: Any, now: datetime) -> None:
        request.context["timestamp"] = now.strftime(_TIMESTAMP)
        signer: Any = self  # botocore has no annotations
        signer._modify_request_before_signing(request)
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        signer._inject_signature_to_request(request, signature)


class RequestSigner:
    """Auth flows that sign the requests of either HTTP library. Combine it with that library's `Auth` class."""

    def __init__(self, config: Config, *, own_client: bool = True) -> None:
        """Sign for a configuration; an `own_client` of this package gets headers, and loses credentials once sent."""
        self.base_url = config.base_url
        self.region = config.region
        self._origin = origin(config.base_url)
        self._aws = cast("AwsCredentials", config.aws)
        self._skew = timedelta(0)
        self._config = config if own_client else None

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign and send; sign once more if the response shows that the clock or the credentials were outdated."""
        return step_auth_flow(self._auth_flow(request, blocking=True))

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Do the same as `sync_auth_flow`, but run everything that may block in a thread."""
        return self._auth_flow(request, blocking=False)

    async def _auth_flow(self, request: Any, *, blocking: bool) -> AsyncGenerator[Any, Any]:
        run = functools.partial(run_blocking, blocking=blocking)
        with contextlib.ExitStack() as stack:
            if self._config is not None:
                stack.callback(strip_credentials, request)
            if (digest := _body_digest(request)) is None:
                import tempfile  # only needed for a body that can be read once

                spool = stack.enter_context(tempfile.TemporaryFile())
                async for chunk in iterate_stream(request.stream, blocking=blocking):
                    await run(functools.partial(spool.write, chunk))
                digest = await run(lambda: _replace_body(request, spool))
            skew = self._skew
            if blocking or not self._aws.may_block():  # a signature takes less time than the change of threads
                used = self._sign(request, digest, skew)
            else:
                used = await run(lambda: self._sign(request, digest, skew))
            response = yield request
            if response.status_code in REFUSED:
                self._limit(response)
                await maybe_await(response.read() if blocking else response.aread())
                if await run(lambda: self._needs_new_signature(response, used, skew)):
                    await run(lambda: self._sign(request, digest, self._skew))
                    yield request

    def _limit(self, response: Any) -> None:
        if self._config is None:  # this package's own clients bound every response
            limit_error_body(response, drop_compressed=False)

    def _sign(self, request: Any, digest: str, skew: timedelta) -> FrozenCredentials:
        if origin_of(request.url) != self._origin:
            raise ConfigurationError(
                f"Refusing to sign a request to {request.url.host}: this signature is for {self.base_url} only."
            )
        # Resolve the credentials before signing: if this fails, the traceback must not show an earlier signature.
        frozen = self._aws.freeze()
        # The URL is sent exactly as it is signed, so the service cannot read it differently.
        target = _canonical_target(request.url.raw_path)
        if target != request.url.raw_path:
            request.url = request.url.copy_with(raw_path=target)
        found = request.headers
        headers = own_headers(found, self._config) if self._config is not None else {**found}
        for name in ("authorization", "x-amz-date", "x-amz-security-token"):
            headers.pop(name, None)
        headers["x-amz-content-sha256"] = digest
        # Headers with bytes outside ASCII are not signed, because client and service may decode them differently.
        plain = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
        signed = {name: value for name, value in plain.items() if name not in _UNSIGNED}
        draft = AWSRequest(method=request.method, url=str(request.url), headers=signed)
        _Signer(frozen, SERVICE, self.region).sign(draft, datetime.now(timezone.utc) + skew)
        for name in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization"):
            if name in draft.headers:
                headers[name.lower()] = draft.headers[name]
        request.headers = type(found)(headers, encoding=found.encoding)
        return frozen

    def _needs_new_signature(self, response: Any, used: FrozenCredentials, skew: timedelta) -> bool:
        """Return True if a new signature may be accepted. Correct the clock, and drop replaced credentials."""
        # Compare with the clock and credentials of this request, because another request may have renewed them
        # meanwhile.
        offset = _clock_offset(response)
        if offset is not None and abs(offset - skew) >= _MAX_SKEW:
            self._skew = offset
            return True
        if re.search(rb"(?i)expired|unrecognized ?client|security token .{0,20}invalid|revoked", response.content):
            self._aws.forget()
            return self._aws.freeze() != used
        return False


def _body_digest(request: Any) -> str | None:
    """Return the SHA-256 of the body, or None if that requires reading a stream."""
    stated: str | None = request.headers.get("x-amz-content-sha256")
    if stated is not None:
        return stated
    try:
        return hashlib.sha256(request.content).hexdigest()
    except library_of(request).RequestNotRead:
        return None


def _replace_body(request: Any, spool: IO[bytes]) -> str:
    """Make a temporary file the body of a request, and return its SHA-256."""
    library = library_of(request)
    stream = type("SpoolStream", (_SpoolStream, library.SyncByteStream, library.AsyncByteStream), {})(spool)
    request.headers.pop("transfer-encoding", None)
    request.headers["content-length"] = str(spool.tell())
    request.stream = stream
    digest = hashlib.sha256()
    for chunk in stream:
        digest.update(chunk)
    return digest.hexdigest()


class _SpoolStream:
    """Request body in a temporary file, which can be sent again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio

        await asyncio.to_thread(self._file.seek, 0)
        while chunk := await asyncio.to_thread(self._file.read, CHUNK):
            yield chunk


def _canonical_target(raw_path: bytes) -> bytes:
    """Return path and query with all but unreserved characters encoded. A plus sign in the query means a space."""
    if _CANONICAL.fullmatch(raw_path):
        return raw_path
    path, mark, query = raw_path.partition(b"?")
    strict = "/".join(quote(unquote_to_bytes(segment), safe="-_.~") for segment in path.split(b"/"))
    pairs: list[str] = []
    for pair in query.split(b"&"):
        name, _, value = pair.replace(b"+", b"%20").partition(b"=")
        if pair:
            pairs.append(f"{quote(unquote_to_bytes(name), safe='-_.~')}={quote(unquote_to_bytes(value), safe='-_.~')}")
    return (strict + ("?" + "&".join(pairs) if mark and pairs else "")).encode()


def _clock_offset(response: Any) -> timedelta | None:
    """Return how far the service's clock is ahead of this machine's; None if the response does not show it."""
    seconds = clock_offset(response.headers)
    return None if seconds is None else timedelta(seconds=seconds)
