"""Between which values a picture lies, where what is only rounding is no difference."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NOTHING", "extent"]

NOTHING = 1e-9
"""Rounding of a mean whose true value is 0; and of any other, as a share of it."""


def extent(values: Iterable[float]) -> tuple[float, float] | None:
    """The lowest and the highest of some finite values; the same twice where they differ by rounding alone.

    None where there are none.
    """
    known = list(values)
    if not known:
        return None
    low, high = min(known), max(known)
    size = max(abs(low), abs(high))
    if size <= NOTHING:
        return 0.0, 0.0
    # Halves, since the span of very large values would be infinite.
    if high / 2 - low / 2 <= NOTHING * size / 2:
        return high, high
    return low, high
