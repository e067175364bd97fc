"""Robust statistics, which outliers do not affect."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["deviation", "noise", "slope", "stretches", "trend"]

_NORMAL = 1.4826  # standard deviations of a normal distribution per median absolute deviation
_MAX_VALUES = 200  # values compared in pairs


def deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled to a standard deviation."""
    middle = statistics.median(values)
    return _NORMAL * statistics.median(abs(value - middle) for value in values)


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise, from differences of consecutive values."""
    steps = [later - earlier for earlier, later in pairwise(values)]
    return _NORMAL * statistics.median(map(abs, steps)) / math.sqrt(2) if steps else 0.0


def trend(values: Sequence[float]) -> float:
    """Return the Mann-Kendall trend statistic in standard deviations; negative if values fall."""
    values = _blocks(values)
    count = len(values)
    score = sum(
        (later > earlier) - (later < earlier) for place, earlier in enumerate(values) for later in values[place + 1 :]
    )
    ties = (values.count(value) for value in set(values))
    spread = (count * (count - 1) * (2 * count + 5) - sum(tie * (tie - 1) * (2 * tie + 5) for tie in ties)) / 18
    return score / math.sqrt(spread) if spread > 0 else 0.0


def slope(values: Sequence[float]) -> float:
    """Return the rise from first to last value, by the Theil-Sen slope."""
    values = _blocks(values)
    slopes = [
        (values[later] - earlier) / (later - place)
        for place, earlier in enumerate(values)
        for later in range(place + 1, len(values))
    ]
    return statistics.median(slopes) * (len(values) - 1) if slopes else 0.0


def stretches(steps: Sequence[tuple[float, bool]]) -> list[tuple[int, float, float]]:
    """Return runs of consecutive marked steps, longest first: length, first step, last step."""
    found: list[tuple[int, float, float]] = []
    last = False
    for step, marked in steps:
        if marked and last:
            count, first, _ = found.pop()
            found.append((count + 1, first, step))
        elif marked:
            found.append((1, step, step))
        last = marked
    return sorted(found, key=lambda stretch: (-stretch[0], stretch[1]))


def _blocks(values: Sequence[float]) -> list[float]:
    """Reduce values to a maximum number, each the median of a part."""
    size = -(-len(values) // _MAX_VALUES)
    if size <= 1:
        return list(values)
    return [statistics.median(values[start : start + size]) for start in range(0, len(values), size)]
