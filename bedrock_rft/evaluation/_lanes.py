"""How many are asked at once: as many as the service takes. It gives way at once and comes back slowly (AIMD)."""

from __future__ import annotations

import asyncio
import time

from typing_extensions import Self

__all__ = ["Lanes"]

_BACK_OFF = 0.7
_EASE = 1.0
"""Seconds within which several refusals count as one: they are about the same moment."""


class Lanes:
    """A limit on concurrency that follows what the service says. Used as `async with lanes:`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._active = 0
        self._paused_until = 0.0
        self._eased = -_EASE
        self._free = asyncio.Condition()

    @property
    def limit(self) -> float:
        """How many may be under way now."""
        return self._limit

    async def __aenter__(self) -> Self:
        async with self._free:
            await self._free.wait_for(lambda: self._active < max(1, int(self._limit)))
            self._active += 1
        while (pause := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be put off meanwhile
            await asyncio.sleep(pause)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._free:
            self._active -= 1
            self._free.notify_all()

    def answered(self) -> None:
        """One was answered: a little more may be asked."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def refused(self, pause: float = 0.0) -> None:
        """The service has too much to do: ask less at once, and nothing at all for `pause` seconds."""
        now = time.monotonic()
        self._paused_until = max(self._paused_until, now + pause)
        if now - self._eased >= _EASE:
            self._eased = now
            self._limit = max(1.0, self._limit * _BACK_OFF)
