"""Lines of JSON, read strictly, many at a time.

Between two values that are read together stands a mark. No file can hold it, since nobody can know it beforehand; so if
marks stand between every two values, and nowhere else, what stands between two marks is one value, whole.
"""

from __future__ import annotations

import os
from typing import Any

from jiter import from_json

__all__ = ["fence", "mark", "parsed", "together"]

_SECRET = os.urandom(8).hex()


def mark(number: int) -> str:
    """One of several marks."""
    return f"x{_SECRET}.{number}"


def fence(number: int) -> bytes:
    """A mark as it stands between two values."""
    return f',"{mark(number)}",'.encode()


_MARK = mark(0)
_BETWEEN = fence(0) + b"\n"  # which keeps the reader's line numbers


def parsed(text: bytes) -> Any:
    """Read JSON, strictly where Python's reader is lenient.

    Raises:
        ValueError: it has NaN, a lone surrogate, bytes that are not UTF-8, a key twice, or too many levels or digits.
    """
    return from_json(text, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)


def together(block: bytes, start: int, end: int) -> list[Any]:
    """Read the lines from here to there, each one value of JSON.

    Raises:
        ValueError: one is not, or is not strict JSON.
    """
    text = b"".join((b"[", memoryview(block)[start:end], b"]")).replace(b"\n", _BETWEEN)
    feeds = (len(text) - 2 - (end - start)) // (len(_BETWEEN) - 1)
    values: list[Any] = parsed(text)
    if len(values) != 2 * feeds + 1 or values[1::2] != [_MARK] * feeds:
        raise ValueError("A value begins on one line and ends on another, or there are several on one.")
    return values[::2]
