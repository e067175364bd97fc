"""Where a bearer token comes from: asked for every attempt, judged offline before it is sent."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from bedrock_rft._auth import api_key as keys
from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import ConfigurationError

__all__ = ["ApiKeyInput", "KeySource"]

ApiKeyInput = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A Bedrock API key, or a function that gives the current one, asked for every attempt."""


@dataclass(frozen=True)
class KeySource:
    """Where a bearer token comes from, and what it must hold."""

    ask: Secret[Any]  # an ApiKeyInput
    name: str
    region: str = ""

    def check(self, given: Secret[Any]) -> Secret[str]:
        """Return a key that may be sent now.

        Raises:
            ConfigurationError: it has expired, or serves another region, or is no key.
        """
        key = keys.check(given, self.name)
        about = keys.read(key.reveal())
        if about.expires_at is not None and about.expires_at <= datetime.now(timezone.utc):
            raise ConfigurationError(
                f"The short-term key from {self.name} expired at {about.expires_at:%Y-%m-%d %H:%M} UTC. Make a new one."
            )
        if about.region and self.region and about.region != self.region:
            raise ConfigurationError(
                f"The short-term key from {self.name} serves {about.region} only, but this client is set to "
                f"{self.region}. Make a key for {self.region}, or use region='{about.region}'."
            )
        return key

    def ask_now(self) -> Secret[str]:
        """The key of this attempt. Raises `ConfigurationError` as `check` does, and for an async function."""
        ask = self.function()
        if ask is None:
            return self.check(self.ask)
        asked = Secret(ask())
        if inspect.isawaitable(asked.reveal()):
            if inspect.iscoroutine(asked.reveal()):
                asked.reveal().close()
            raise ConfigurationError(
                f"{self.name} is an async function. Give it to AsyncClient, or give Client a plain one."
            )
        return self.check(asked)

    async def ask_soon(self) -> Secret[str]:
        """The key of this attempt; a plain function runs away from the event loop."""
        ask = self.function()
        if ask is None:
            return self.check(self.ask)
        if inspect.iscoroutinefunction(ask):
            return self.check(Secret(await ask()))
        import anyio.to_thread

        asked: Secret[Any] = await anyio.to_thread.run_sync(lambda: Secret(ask()))
        return self.check(Secret(await asked.reveal()) if inspect.isawaitable(asked.reveal()) else asked)

    def function(self) -> Callable[[], Any] | None:
        """What is asked for the key; None where the key is a plain one."""
        value = self.ask.reveal()
        return value if callable(value) else None

    def static(self) -> str | None:
        """The key, where it is a plain one."""
        value = self.ask.reveal()
        return value if isinstance(value, str) else None
