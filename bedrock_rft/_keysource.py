"""Where a bearer token comes from: asked for every attempt, judged offline before it is sent."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from bedrock_rft import _keys as keys
from bedrock_rft._secret import Secret
from bedrock_rft.errors import ConfigurationError

__all__ = ["ApiKeyInput", "KeySource"]

ApiKeyInput = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A Bedrock API key, or a function that gives the current one, asked for every attempt."""


@dataclass(frozen=True)
class KeySource:
    """Where a bearer token comes from, and what it must hold."""

    ask: Secret[ApiKeyInput]
    name: str
    region: str = ""

    def check(self, value: object) -> str:
        """Return a key that may be sent now.

        Raises:
            ConfigurationError: it has expired, or serves another region, or is no key.
        """
        key = keys.check(value, self.name)
        about = keys.read(key)
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
        value = self.ask.reveal()
        if not callable(value):
            return Secret(self.check(value))
        asked = value()
        if inspect.isawaitable(asked):
            if inspect.iscoroutine(asked):
                asked.close()
            raise ConfigurationError(
                f"{self.name} is an async function. Give it to AsyncClient, or give Client a plain one."
            )
        return Secret(self.check(asked))

    async def ask_soon(self) -> Secret[str]:
        """The key of this attempt; a plain function runs away from the event loop."""
        value = self.ask.reveal()
        if not callable(value):
            return Secret(self.check(value))
        if inspect.iscoroutinefunction(value):
            return Secret(self.check(await value()))
        import anyio.to_thread

        asked = await anyio.to_thread.run_sync(value)
        return Secret(self.check(await asked if inspect.isawaitable(asked) else asked))

    def static(self) -> str | None:
        """The key, where it is a plain one."""
        value = self.ask.reveal()
        return value if isinstance(value, str) else None
