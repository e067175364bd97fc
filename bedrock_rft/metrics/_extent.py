"""Range of values in a plot, ignoring rounding errors."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NOTHING", "extent"]

NOTHING = 1e-9
"""Rounding error of a mean whose true value is 0, and relative error of other means."""


def extent(values: Iterable[float]) -> tuple[float, float] | None:
    """Return the minimum and maximum of finite values; equal if they differ by rounding only.

    None where there are none.
    """
    known = list(values)
    if not known:
        return None
    low, high = min(known), max(known)
    size = max(abs(low), abs(high))
    if size <= NOTHING:
        return 0.0, 0.0
    # Use halves, because the range of very large values overflows.
    if high / 2 - low / 2 <= NOTHING * size / 2:
        return high, high
    return low, high
