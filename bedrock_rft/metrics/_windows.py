"""Statistics of the health checks: noise of one step, and means of the first, best and last steps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

_NORMAL = 1.4826  # standard deviations of a normal distribution per median absolute deviation
_SHORTEST = 5  # steps of the shortest window; the mean of fewer steps is hardly less noisy than one step
_FIRST = 2  # steps of the shortest first window
_ROUNDING = 1e-9  # relative rounding error, so that a constant series has no trend


def deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled to a standard deviation."""
    middle = statistics.median(values)
    return _NORMAL * statistics.median(abs(value - middle) for value in values)


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of one step around the trend.

    Differences between consecutive steps are squared, because those of a reward that is mostly 0 have the median 0.
    """
    if len(values) <= 1:
        return 0.0
    squares = math.fsum((later - earlier) * (later - earlier) for earlier, later in pairwise(values))
    return math.sqrt(squares / (2 * (len(values) - 1)))


def window_sizes(count: int, shortest: int = _SHORTEST) -> tuple[int, ...]:
    """Return the window sizes to compare: long ones show slow changes in noise, short ones late changes."""
    sizes = [max(1, count // 3)]
    while sizes[-1] // 2 >= shortest:
        sizes.append(sizes[-1] // 2)
    return tuple(sizes)


def rolling_means(values: Sequence[float], size: int) -> list[float]:
    """Return the mean of every `size` consecutive values."""
    sums = [0.0, *accumulate(values)]
    return [(after - before) / size for before, after in zip(sums, sums[size:], strict=False)]


def largest_rise(values: Sequence[float], least: float) -> float:
    """Return the largest rise of at least `least` from first to last steps, in standard errors, over all windows."""
    single = _noise(values)
    largest = 0.0
    late = [(size, statistics.fmean(values[-size:])) for size in window_sizes(len(values))]
    for first in window_sizes(len(values), _FIRST):
        early = statistics.fmean(values[:first])
        for last, mean in late:
            if mean - early >= least:
                largest = max(largest, _in_errors(mean - early, single, 1 / first + 1 / last))
    return largest


def early_rise(values: Sequence[float], least: float) -> float:
    """Return the largest rise of at least `least` from the first steps to all others, in standard errors."""
    single, total, count = _noise(values), math.fsum(values), len(values)
    largest = 0.0
    for first in window_sizes(count, _FIRST):
        early = math.fsum(values[:first])
        rise = (total - early) / (count - first) - early / first
        if rise >= least:
            largest = max(largest, _in_errors(rise, single, 1 / first + 1 / (count - first)))
    return largest


class Fall(NamedTuple):
    """Fall from the best window of `size` values, at index `place`, to the last one, in standard errors."""

    errors: float
    best: float
    last: float
    size: int
    place: int


def falls(values: Sequence[float]) -> list[Fall]:
    """Return the fall from the running maximum to the last steps for each window size, largest window first."""
    found: list[Fall] = []
    single = _noise(values)
    for size in window_sizes(len(values)):
        means = rolling_means(values, size)
        earlier, last = means[:-size] or means[:1], means[-1]
        best = max(earlier)
        place = earlier.index(best)
        # A reward near 0 or 1 is quiet, so the noise since the best steps may exceed the noise of the whole series.
        local = max(single, noise(values[place:]))
        found.append(Fall(_in_errors(best - last, local, 2 / size), best, last, size, place))
    return found


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


def _noise(values: Sequence[float]) -> float:
    return max(noise(values), _ROUNDING * max(map(abs, values)))


def _in_errors(change: float, single: float, weight: float) -> float:
    """Return a change of means in standard errors; `weight` is the sum of 1 / size of both windows."""
    return change / (single * math.sqrt(weight)) if single > 0 else 0.0
