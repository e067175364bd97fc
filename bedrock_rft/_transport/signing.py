"""SigV4 for anybody's own httpx client, signed by botocore with credentials resolved for that very attempt."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote, unquote_to_bytes

import httpx
from botocore.auth import SigV4Auth as _BotocoreSigner
from botocore.awsrequest import AWSRequest

from bedrock_rft._auth.aws_credentials import AwsCredentials, Frozen
from bedrock_rft._auth.config import Config, resolve
from bedrock_rft._auth.endpoint import SERVICE
from bedrock_rft._core.redaction import as_secret
from bedrock_rft._transport.http import REFUSED, origin, origin_of, own_headers, undress
from bedrock_rft._transport.multipart import CHUNK
from bedrock_rft._transport.response_body import abridge, abridge_soon
from bedrock_rft.errors import ConfigurationError

__all__ = ["SigV4Auth"]

T = TypeVar("T")

_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_SKEWED = timedelta(minutes=4)  # the service allows five minutes; a minute is lost on the way at most

# Path and query that are in their strict form as they stand: most are.
_PLAIN = re.compile(rb"[\w/.~-]*(\?[\w.~-]+=[\w.~-]*(&[\w.~-]+=[\w.~-]*)*)?", re.ASCII)

# Proxies may add, drop or change these on the way, and a signature over them would then fail.
_UNSIGNED = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect", "forwarded",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "via", "x-amzn-trace-id", "x-forwarded-for",
        "x-forwarded-host", "x-forwarded-proto",
    }
)  # fmt: skip


_NONE_FOUND = (
    "No identity: there are no AWS credentials to sign with. Run 'aws configure' or 'aws sso login', or pass profile=… "
    "or credentials=…."
)


class _Signer(_BotocoreSigner):  # type: ignore[misc] # botocore has no annotations
    """botocore's signer with a clock of our own, and without its debug log, which shows the session token."""

    def sign(self, request: Any, now: datetime) -> None:
        request.context["timestamp"] = now.strftime(_TIMESTAMP)
        signer: Any = self  # botocore has no annotations
        signer._modify_request_before_signing(request)
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        signer._inject_signature_to_request(request, signature)


class SigV4Auth(httpx.Auth):
    """Signs requests to Amazon Bedrock's OpenAI-compatible endpoint, in an `httpx.Client` or `AsyncClient` of yours.

    ```python
    auth = bedrock_rft.SigV4Auth(region="us-west-2")
    with httpx.Client(base_url=auth.base_url, auth=auth) as http:
        print(http.get("/models").json())
    ```

    The real hash of the body is signed. A body that can be read only once is copied to a temporary file first, so
    memory stays constant. Credentials are resolved for every request. A clock that is wrong is corrected from the
    service's answer and the request signed once more; so is one whose credentials had just been replaced.

    Only the configured origin is signed for: another is a `ConfigurationError`. Leave `follow_redirects` off, as it is
    by default: a redirect would carry the headers of a signed request along.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        profile: str | None = None,
        credentials: object | None = None,
        base_url: str | None = None,
    ) -> None:
        """Settings and their order are those of `Client`.

        Raises:
            ConfigurationError: there is no region, or the arguments contradict each other.
        """
        who, where = as_secret(credentials), as_secret(base_url)
        del credentials, base_url  # where a setting is refused, tracebacks may show the variables of this frame
        self._configure(resolve(region=region, profile=profile, credentials=who, base_url=where, auth="aws"))
        self._aws.none_found = _NONE_FOUND

    @classmethod
    def of(cls, config: Config) -> SigV4Auth:
        """Sign as a client is configured."""
        auth = cls.__new__(cls)
        auth._configure(config)
        auth._own = config
        return auth

    def _configure(self, config: Config) -> None:
        self.base_url = config.base_url
        self.region = config.region
        self._origin = origin(config.base_url)
        self._aws = cast("AwsCredentials", config.aws)
        self._skew = timedelta(0)
        self._own: Config | None = None

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign, send, and sign once more where the answer says that the clock or the credentials were stale."""
        with contextlib.ExitStack() as stack:
            if self._own is not None:
                stack.callback(undress, request)
            digest = _known_digest(request)
            if digest is None:
                spool = stack.enter_context(_temporary())
                for chunk in cast("Iterator[bytes]", request.stream):
                    spool.write(chunk)
                digest = _spooled(request, spool)
            skew = self._skew
            used = self._sign(request, digest, skew)
            response = yield request
            if response.status_code in REFUSED:
                abridge(response, httpx, self.base_url, own=self._own is not None)
                response.read()
                if self._stale(response, used, skew):
                    self._sign(request, digest, self._skew)
                    response = yield request
            if self._own is not None and not response.is_success:
                abridge(response, httpx, self.base_url)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """As `sync_auth_flow`, with credentials and signature made away from the event loop."""
        with contextlib.ExitStack() as stack:
            if self._own is not None:
                stack.callback(undress, request)
            digest = _known_digest(request)
            if digest is None:
                spool = stack.enter_context(_temporary())
                async for chunk in cast("AsyncIterator[bytes]", request.stream):
                    await _aside(spool.write, chunk)
                digest = await _aside(_spooled, request, spool)
            skew = self._skew
            used = await _aside(self._sign, request, digest, skew)
            response = yield request
            if response.status_code in REFUSED:
                await abridge_soon(response, httpx, self.base_url, own=self._own is not None)
                await response.aread()
                if await _aside(self._stale, response, used, skew):
                    await _aside(self._sign, request, digest, self._skew)
                    response = yield request
            if self._own is not None and not response.is_success:
                await abridge_soon(response, httpx, self.base_url)

    def _sign(self, request: httpx.Request, digest: str, skew: timedelta) -> Frozen:
        if origin_of(request.url) != self._origin:
            raise ConfigurationError(
                f"Refusing to sign a request to {request.url.host}: this signature is for {self.base_url} only."
            )
        # First, since it may fail: what an earlier attempt was signed with is not to stand in a variable then.
        frozen = self._aws.freeze()
        # Sent exactly as it is signed: whichever way the service reads the URL, it reads what was signed.
        target = _canonical(request.url.raw_path)
        if target != request.url.raw_path:
            request.url = request.url.copy_with(raw_path=target)
        found = request.headers
        headers = own_headers(found, self._own) if self._own is not None else {**found}
        for name in ("authorization", "x-amz-date", "x-amz-security-token"):
            headers.pop(name, None)
        headers["x-amz-content-sha256"] = digest
        signed = {name: value for name, value in headers.items() if _signable(name, value)}
        draft = AWSRequest(method=request.method, url=str(request.url), headers=signed)
        _Signer(frozen, SERVICE, self.region).sign(draft, datetime.now(timezone.utc) + skew)
        for name in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization"):
            if name in draft.headers:
                headers[name.lower()] = draft.headers[name]
        request.headers = httpx.Headers(headers, encoding=found.encoding)
        return frozen

    def _stale(self, response: httpx.Response, used: Frozen, skew: timedelta) -> bool:
        """Whether signing again has a chance. Corrects the clock, and drops credentials that were replaced.

        It is compared with what this very request was signed with: another may have corrected the clock meanwhile.
        """
        offset = _clock_offset(response)
        if offset is not None and abs(offset - skew) >= _SKEWED:
            self._skew = offset
            return True
        if re.search(rb"(?i)expired|unrecognized ?client|security token .{0,20}invalid|revoked", response.content):
            self._aws.forget()
            return self._aws.freeze() != used
        return False


def _temporary() -> IO[bytes]:
    import tempfile  # only a body that can be read once needs it

    return tempfile.TemporaryFile()


async def _aside(work: Callable[..., T], *arguments: Any) -> T:
    """Do blocking work away from the event loop. Signing without one does not load what this needs."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(work, *arguments)


def _known_digest(request: httpx.Request) -> str | None:
    """The body's hash, where it can be had without reading a stream."""
    stated: str | None = request.headers.get("x-amz-content-sha256")
    if stated is not None:
        return stated
    try:
        return hashlib.sha256(request.content).hexdigest()
    except httpx.RequestNotRead:
        return None


def _spooled(request: httpx.Request, spool: IO[bytes]) -> str:
    """Send the copy instead of the stream, with its length; return its hash."""
    copy = _Spool(spool)
    request.headers.pop("transfer-encoding", None)
    request.headers["content-length"] = str(spool.tell())
    request.stream = copy
    digest = hashlib.sha256()
    for chunk in copy:
        digest.update(chunk)
    return digest.hexdigest()


class _Spool(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A temporary file as a body that can be sent again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await _aside(self._file.seek, 0)
        while chunk := await _aside(self._file.read, CHUNK):
            yield chunk


def _canonical(raw_path: bytes) -> bytes:
    """Path and query with everything but unreserved characters escaped, and a plus in the query meaning a space."""
    if _PLAIN.fullmatch(raw_path):
        return raw_path
    path, mark, query = raw_path.partition(b"?")
    strict = "/".join(quote(unquote_to_bytes(segment), safe="-_.~") for segment in path.split(b"/"))
    pairs: list[str] = []
    for pair in query.split(b"&"):
        name, _, value = pair.replace(b"+", b"%20").partition(b"=")
        if pair:
            pairs.append(f"{quote(unquote_to_bytes(name), safe='-_.~')}={quote(unquote_to_bytes(value), safe='-_.~')}")
    return (strict + ("?" + "&".join(pairs) if mark and pairs else "")).encode()


def _signable(name: str, value: str) -> bool:
    # Bytes outside ASCII are read in different encodings at the two ends.
    return name not in _UNSIGNED and value.isascii() and value.isprintable()


def _clock_offset(response: httpx.Response) -> timedelta | None:
    """How far the service's clock is ahead of this one. A cached answer's date says nothing."""
    if "age" in response.headers:
        return None
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError, IndexError):
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=timezone.utc)
    return theirs - datetime.now(timezone.utc)
