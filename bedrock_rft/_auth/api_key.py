"""Read the properties of Bedrock API keys, and get the current key from a function."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs

from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import ConfigurationError

_SHORT_TERM_PREFIX = "bedrock-api-key-"
_LONG_TERM_PREFIX = "ABSK"
_MAX_CHARS = 16_384  # a short-term key contains a session token, which may have several kilobytes
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class ApiKey:
    """The properties of a key: its kind and, if it is a short-term key, its region, expiry in UTC and access key id."""

    kind: str
    region: str | None = None
    expires_at: datetime | None = None
    access_key_id: str | None = None


def has_bedrock_form(text: str) -> bool:
    """Check if a text has the form of a Bedrock API key."""
    return text.startswith((_SHORT_TERM_PREFIX, _LONG_TERM_PREFIX))


def validate_key(key: Secret[Any], name: str) -> Secret[str]:
    """Return a key for a header. Raise `ConfigurationError`, without the key, if a header cannot hold the key."""
    problem = _key_problem(key.reveal(), name)
    if problem:
        raise ConfigurationError(problem)
    return Secret(key.reveal().strip())


_KEY_PROBLEMS = (
    ("", "is empty. Give a Bedrock API key, or leave it out to use AWS credentials."),
    (r"(?is)bearer .*", "begins with 'Bearer'. Give the key alone: the word belongs to the header."),
    (r"(?s).*\$\{.*|\$\w+", "is an unexpanded variable. Let the shell or your settings expand it."),
    (r"(?s)[\"'].*", "begins with a quotation mark. Remove the quotes around the key."),
    (r"(?s).*[^\x21-\x7e].*", "contains a space, a control or a non-ASCII character. Copy the key again."),
    (
        r"(AKIA|ASIA)[A-Z0-9]{16}",
        "is an AWS access key id, not a Bedrock API key. Use AWS credentials (profile=… or credentials=…).",
    ),
)


def _key_problem(key: object, name: str) -> str:
    """Return the problem of a key, or "". Does not raise, because a traceback may show the key in a local variable."""
    if not isinstance(key, str):
        return f"{name} must be a string, not {type(key).__name__}."
    text = key.strip()
    if len(text) > _MAX_CHARS:
        return f"{name} has {len(text)} characters. No Bedrock API key is that long."
    return next((f"{name} {problem}" for pattern, problem in _KEY_PROBLEMS if re.fullmatch(pattern, text)), "")


def parse_key(key: str) -> ApiKey:
    """Return the properties of a key."""
    if key.startswith(_LONG_TERM_PREFIX):
        return ApiKey("long-term")
    if not key.startswith(_SHORT_TERM_PREFIX):
        return ApiKey("opaque")
    try:
        wrapped = key.removeprefix(_SHORT_TERM_PREFIX)
        text = base64.b64decode(wrapped + "=" * (-len(wrapped) % 4), validate=True).decode("ascii")
        fields = parse_qs(text.partition("?")[2])
        key_id, _, region, *_ = fields["X-Amz-Credential"][0].split("/")
        created_at = datetime.strptime(fields["X-Amz-Date"][0], _DATE_FORMAT).replace(tzinfo=timezone.utc)
        ends = created_at + timedelta(seconds=int(fields["X-Amz-Expires"][0]))
    except (ValueError, KeyError, IndexError, OverflowError):
        # The format may change. The service validates the key anyway; only the early error is lost.
        return ApiKey("short-term")
    return ApiKey("short-term", region=region, expires_at=ends, access_key_id=key_id)


ApiKeyInput = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A Bedrock API key, or a function that returns the current key and is called for every attempt."""


@dataclass(frozen=True)
class KeySource:
    """Source of a bearer token, with the region that a short-term key must match."""

    value: Secret[Any]  # an ApiKeyInput
    name: str
    region: str = ""

    def check(self, key: Secret[Any]) -> Secret[str]:
        """Return the key, or raise `ConfigurationError` if the key is malformed, for another region or expired."""
        key = validate_key(key, self.name)
        properties = parse_key(key.reveal())
        if properties.expires_at is not None and properties.expires_at <= datetime.now(timezone.utc):
            raise ConfigurationError(
                f"The short-term key from {self.name} expired at {properties.expires_at:%Y-%m-%d %H:%M} UTC. Make a "
                "new key, or check this machine's clock."
            )
        if properties.region and self.region and properties.region != self.region:
            raise ConfigurationError(
                f"The short-term key from {self.name} is valid in {properties.region} only, but the client's region is "
                f"{self.region}. Make a key for {self.region}, or use region='{properties.region}'."
            )
        return key

    def current_key(self) -> Secret[str]:
        """Return the current key. Raises as `check` does, and `ConfigurationError` for an async function."""
        function = self.function()
        if function is None:
            return self.check(self.value)
        result = Secret(function())
        if inspect.isawaitable(result.reveal()):
            if inspect.iscoroutine(result.reveal()):
                result.reveal().close()
            raise ConfigurationError(
                f"{self.name} is an async function. Use AsyncClient, or pass a regular function to Client."
            )
        return self.check(result)

    async def current_key_async(self) -> Secret[str]:
        """Return the current key. A regular function runs in a thread, so that it does not block the event loop."""
        function = self.function()
        if function is None:
            return self.check(self.value)
        if inspect.iscoroutinefunction(function):
            return self.check(Secret(await function()))
        import asyncio

        result: Secret[Any] = await asyncio.to_thread(lambda: Secret(function()))
        return self.check(Secret(await result.reveal()) if inspect.isawaitable(result.reveal()) else result)

    def function(self) -> Callable[[], Any] | None:
        """Return the function that returns the key, or None for a constant key."""
        value = self.value.reveal()
        return value if callable(value) else None

    def constant_key(self) -> str | None:
        """Return the key if it is constant."""
        value = self.value.reveal()
        return value if isinstance(value, str) else None
