"""Bedrock API keys: their format, read offline, and functions that return a current key."""

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

_SHORT = "bedrock-api-key-"
_LONG = "ABSK"
_MAX_CHARS = 16_384  # a short-term key wraps a session token, and those reach several kilobytes
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class ApiKey:
    """Properties that the text of a key has: its kind, and if short-term its region, UTC expiry and access key id."""

    kind: str
    region: str | None = None
    expires_at: datetime | None = None
    access_key_id: str | None = None


def has_bedrock_form(text: str) -> bool:
    """Check if a text has the form of a Bedrock API key."""
    return text.startswith((_SHORT, _LONG))


def validate_key(given: Secret[Any], name: str) -> Secret[str]:
    """Return a key that can be sent in a header. Raise `ConfigurationError`, without the key, if it cannot."""
    problem = _key_problem(given.reveal(), name)
    if problem:
        raise ConfigurationError(problem)
    return Secret(given.reveal().strip())


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
    """Return the problem of a key, or "". It does not raise, because a traceback may show its local variables."""
    if not isinstance(key, str):
        return f"{name} must be a string, not {type(key).__name__}."
    text = key.strip()
    if len(text) > _MAX_CHARS:
        return f"{name} has {len(text)} characters. No Bedrock API key is that long."
    return next((f"{name} {problem}" for pattern, problem in _KEY_PROBLEMS if re.fullmatch(pattern, text)), "")


def parse_key(key: str) -> ApiKey:
    """Read the kind of a key, and the region and expiry of a short-term one."""
    if key.startswith(_LONG):
        return ApiKey("long-term")
    if not key.startswith(_SHORT):
        return ApiKey("opaque")
    try:
        wrapped = key.removeprefix(_SHORT)
        text = base64.b64decode(wrapped + "=" * (-len(wrapped) % 4), validate=True).decode("ascii")
        fields = parse_qs(text.partition("?")[2])
        key_id, _, region, *_ = fields["X-Amz-Credential"][0].split("/")
        made = datetime.strptime(fields["X-Amz-Date"][0], _STAMP).replace(tzinfo=timezone.utc)
        ends = made + timedelta(seconds=int(fields["X-Amz-Expires"][0]))
    except (ValueError, KeyError, IndexError, OverflowError):
        # The format may change. The service validates the key anyway; only the early error is lost.
        return ApiKey("short-term")
    return ApiKey("short-term", region=region, expires_at=ends, access_key_id=key_id)


ApiKeyInput = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A Bedrock API key, or a function that returns the current key and is called for every attempt."""


@dataclass(frozen=True)
class KeySource:
    """Source of a bearer token, with the region that a short-term key must match."""

    ask: Secret[Any]  # an ApiKeyInput
    name: str
    region: str = ""

    def check(self, given: Secret[Any]) -> Secret[str]:
        """Return the key, or raise `ConfigurationError` if it is malformed, for another region, or has expired."""
        key = validate_key(given, self.name)
        about = parse_key(key.reveal())
        if about.expires_at is not None and about.expires_at <= datetime.now(timezone.utc):
            raise ConfigurationError(
                f"The short-term key from {self.name} expired at {about.expires_at:%Y-%m-%d %H:%M} UTC. Make a new "
                "one, or check this machine's clock."
            )
        if about.region and self.region and about.region != self.region:
            raise ConfigurationError(
                f"The short-term key from {self.name} is valid in {about.region} only, but the client's region is "
                f"{self.region}. Make a key for {self.region}, or use region='{about.region}'."
            )
        return key

    def ask_now(self) -> Secret[str]:
        """Return the current key. Raise `ConfigurationError` as `check` does, and for an async function."""
        ask = self.function()
        if ask is None:
            return self.check(self.ask)
        result = Secret(ask())
        if inspect.isawaitable(result.reveal()):
            if inspect.iscoroutine(result.reveal()):
                result.reveal().close()
            raise ConfigurationError(
                f"{self.name} is an async function. Use AsyncClient, or pass a regular function to Client."
            )
        return self.check(result)

    async def ask_soon(self) -> Secret[str]:
        """Return the current key. A regular function runs in a thread, so that it does not block the event loop."""
        ask = self.function()
        if ask is None:
            return self.check(self.ask)
        if inspect.iscoroutinefunction(ask):
            return self.check(Secret(await ask()))
        import asyncio

        result: Secret[Any] = await asyncio.to_thread(lambda: Secret(ask()))
        return self.check(Secret(await result.reveal()) if inspect.isawaitable(result.reveal()) else result)

    def function(self) -> Callable[[], Any] | None:
        """Return the function that returns the key, or None for a constant key."""
        value = self.ask.reveal()
        return value if callable(value) else None

    def static(self) -> str | None:
        """Return the key if it is constant."""
        value = self.ask.reveal()
        return value if isinstance(value, str) else None
