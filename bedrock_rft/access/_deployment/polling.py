"""Waiting for AWS: what is not ready yet is asked again, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bedrock_rft.errors import APIStatusError

__all__ = ["LONGEST", "patiently", "until"]

T = TypeVar("T")

LONGEST = 180.0
"""Seconds. A new role is known everywhere within some ten of them, a function is ready in less."""

_FIRST, _MOST = 0.5, 5.0


def until(look: Callable[[], T | None]) -> T | None:
    """Look until there is an answer. None where there is none in time."""
    began, pause = time.monotonic(), _FIRST
    while (found := look()) is None:
        if time.monotonic() - began + pause > LONGEST:
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, _MOST)
    return found


def patiently(do: Callable[[], T], again: Callable[[APIStatusError], bool]) -> T:
    """Do something, again where it was too early for it.

    Raises:
        APIStatusError: it was refused for another reason, or for too long.
    """
    refusals: list[APIStatusError] = []

    def once() -> list[T] | None:
        try:
            return [do()]
        except APIStatusError as error:
            if not again(error):
                raise
            refusals[:] = [error]
            return None

    found = until(once)
    if found is None:
        raise refusals[0]
    return found[0]
