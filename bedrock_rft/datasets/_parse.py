"""Lines of JSON, read strictly, many at a time.

Between two values that are read together stands a mark. No file can hold it, since nobody can know it beforehand; so if
marks stand between every two values, and nowhere else, what stands between two marks is one value, whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from jiter import from_json

__all__ = ["parsed", "together"]

_FIRST_MARK = 10**17 + int.from_bytes(os.urandom(7), "big")  # a number, since it is read twice as fast as a string

_LONG = 1 << 13  # bytes: from here on, to copy parts together takes longer than to read them one by one


def _mark(number: int) -> int:
    """One of several marks."""
    return _FIRST_MARK + number


def _fence(number: int) -> bytes:
    """A mark as it stands between two values."""
    return b",%d," % _mark(number)


def parsed(text: bytes) -> Any:
    """Read JSON, strictly where Python's reader is lenient.

    Raises:
        ValueError: it has NaN, a lone surrogate, bytes that are not UTF-8, a key twice, or too many levels or digits.
    """
    return from_json(text, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)


def together(parts: Sequence[bytes], between: Sequence[bytes] = ()) -> list[list[Any]]:
    """Read values of JSON as columns, as many as stand in each part.

    Args:
        parts: each is one value, or several; at least one.
        between: what stands between the values of each part.

    Raises:
        ValueError: a part is something else, or is not strict JSON.
    """
    if not between and len(parts[0]) > _LONG:
        return [[parsed(part) for part in parts]]
    # The brackets are part of the first and the last, so that the whole need not be copied once more.
    text = _fence(0).join((b"[" + parts[0], *parts[1:-1], parts[-1] + b"]")) if len(parts) > 1 else b"[%b]" % parts[0]
    for number, piece in enumerate(between, 1):
        text = text.replace(piece, _fence(number))
    found: list[Any] = parsed(text)
    width = len(between) + 1
    marks = [_mark(number % width) for number in range(1, width + 1)] * len(parts)
    if len(found) != 2 * len(marks) - 1 or found[1::2] != marks[:-1]:
        raise ValueError("What stands between two marks is not one value.")
    return [found[place :: 2 * width] for place in range(0, 2 * width, 2)]
