"""Parts of an HTTP exchange that both transports share: URL, headers, bodies, and waiting."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from bedrock_rft._auth.config import Config
from bedrock_rft._core.version import __version__
from bedrock_rft._transport.multipart import Upload
from bedrock_rft._transport.transport import Query, Request
from bedrock_rft.errors import ConfigurationError

T = TypeVar("T")

USER_AGENT = f"bedrock-rft/{__version__}"

REFUSED = frozenset({401, 403})
"""Statuses that may change with a newer key, newer credentials or a corrected clock."""

# Responses are requested uncompressed, because compressed ones would need a second bound, on their decompressed size.
_ACCEPT_ENCODING = "identity"
_PROTOCOL = frozenset({"host", "content-type", "content-length", "transfer-encoding", "accept", "accept-encoding"})


def build_url(base: str, path: str, query: Query) -> str:
    """Return the whole URL. The query has all characters encoded except the unreserved ones, as signatures require."""
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    # Spaces become %20 and never +, because client and service may disagree on the meaning of a plus sign.
    encoded = urlencode(texts, safe="-_.~", quote_via=quote)
    return f"{base}{path}?{encoded}" if encoded else base + path


def origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL. Credentials are sent only if all three match the configured ones."""
    parts = urlsplit(address)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _default_port(parts.scheme)


def origin_of(url: Any) -> tuple[str, str, int]:
    """Return scheme, host and port of an HTTP library's URL object."""
    return url.scheme, url.host.lower(), url.port or _default_port(url.scheme)


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def own_headers(headers: Mapping[str, str], config: Config) -> dict[str, str]:
    """Return the headers to send, names in lower case, without those that the SDK adds for OpenAI's own service."""
    result = {name.lower(): value for name, value in headers.items()}
    result.pop("openai-organization", None)
    result.pop("openai-project", None)
    result["accept-encoding"] = _ACCEPT_ENCODING
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        name, _, value = line.partition(":")
        name = name.strip().lower()
        if name not in _PROTOCOL and result.get(name) == value.strip():
            del result[name]
    agent = result.get("user-agent", "")
    if not agent.startswith(USER_AGENT):
        result["user-agent"] = f"{USER_AGENT} {agent}".strip()
    if config.project is not None:
        result["openai-project"] = config.project
    return result


def parse_http_date(text: str) -> float | None:
    """Return the Unix time of an HTTP date; None if the text is not an HTTP date."""
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are in GMT; without a zone Python would assume local time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def clock_offset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service's clock is ahead of this machine's; None if the headers do not show it."""
    # The date of a cached response, which has an age, is outdated.
    moment = None if "age" in headers else parse_http_date(headers.get("date", ""))
    return None if moment is None else moment - time.time()


def strip_credentials(request: Any) -> None:
    """Remove the credential headers of a request that was sent, because responses and errors refer to it."""
    for name in ("authorization", "x-amz-security-token"):
        request.headers.pop(name, None)


def encode_json(request: Request) -> bytes:
    """Return the JSON body. Raises `ConfigurationError` if it contains a value that JSON cannot represent."""
    try:
        return json.dumps(request.json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{request.summary}: the body cannot be written as JSON: {error}.") from None


async def run_blocking(work: Callable[[], T], *, blocking: bool) -> T:
    """Run a blocking function: in this thread for a sync client, in another thread for an async client."""
    if blocking:
        return work()
    import asyncio

    return await asyncio.to_thread(work)


def stream_upload(upload: Upload, *, blocking: bool) -> Iterable[bytes] | AsyncIterable[bytes]:
    """Return the body of an upload as a stream that reports progress and can be read again for each attempt."""
    upload.check_readable()
    return _UploadStream(upload) if blocking else _AsyncUploadStream(upload)


class _UploadStream:
    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for chunk in self._upload.chunks():
            yield chunk
            sent += len(chunk)
            self._upload.report(sent)


class _AsyncUploadStream:
    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio

        chunks, sent = self._upload.chunks(), 0
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk
            sent += len(chunk)
            self._upload.report(sent)
