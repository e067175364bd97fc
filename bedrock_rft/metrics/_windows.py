"""Statistics of the health checks: noise of one step, and means of the first, best and last steps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

_NORMAL = 1.4826  # standard deviations of a normal distribution per median absolute deviation
_SHORTEST = 5  # steps of the shortest window; the mean of fewer steps is hardly less noisy than one step
_FIRST = 2  # steps of the shortest first window
_CUT = 3.0  # upper quartiles of a difference, beyond which it is cut
_CORRELATED = 40  # steps that show a correlation of the noise
_DOUBT = 8.0  # steps; the correlation is estimated too high by about this number over the number of steps
_MOST_CORRELATED = 0.9
_ROUNDING = 1e-9  # relative rounding error, so that a constant series has no trend


def deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled to a standard deviation."""
    middle = statistics.median(values)
    return _NORMAL * statistics.median(abs(value - middle) for value in values)


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of one step around the trend, from squared differences of consecutive steps."""
    if len(values) <= 1:
        return 0.0
    squares = math.fsum((later - earlier) * (later - earlier) for earlier, later in pairwise(values))
    return math.sqrt(squares / (2 * (len(values) - 1)))


def correlated_noise(values: Sequence[float], *, ended: bool) -> tuple[float, float]:
    """Return the standard deviation of one step, and the correlation of consecutive steps from 0 to 0.9.

    The correlation follows from the sizes of differences over two steps and over one, without the slope of the trend.
    Large differences are cut, so that a collapse does not count as correlation. A few steps do not show it: then it is
    0 if the job has ended, and estimated with caution if more steps will follow.
    """
    changes = [later - earlier for earlier, later in pairwise(values)]
    slope = statistics.median(changes)
    longest = _CUT * sorted(abs(change - slope) for change in changes)[len(changes) * 3 // 4] or math.inf
    one, two = (
        statistics.fmean(
            min((later - earlier - lag * slope) ** 2, lag * longest**2) / 2
            for earlier, later in zip(values, values[lag:], strict=False)
        )
        for lag in (1, 2)
    )
    few = len(values) < _CORRELATED
    found = 0.0 if one == 0 or (few and ended) else two / one - 1 - (0 if few else _DOUBT / len(values))
    correlation = min(_MOST_CORRELATED, max(0.0, found))
    return math.sqrt(one / (1 - correlation)), correlation


def mean_error(single: float, correlation: float, size: int) -> float:
    """Return the standard error of a mean of consecutive steps; their noise is an autoregressive process of order 1."""
    free = 1 - correlation
    factor = (1 + correlation) / free - 2 * correlation * (1 - correlation**size) / (size * free * free)
    return single * math.sqrt(factor / size)


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
    plain: float  # errors for noise without correlation; the window with the most shows the fall best


def falls(values: Sequence[float], *, ended: bool = True) -> list[Fall]:
    """Return the fall from the running maximum to the last steps for each window size, largest window first."""
    found: list[Fall] = []
    single, correlated = _noise(values), correlated_noise(values, ended=ended)
    for size in window_sizes(len(values)):
        means = rolling_means(values, size)
        earlier, last = means[:-size] or means[:1], means[-1]
        best = max(earlier)
        place = earlier.index(best)
        # A reward near 0 or 1 is quiet, so the noise since the best steps may exceed the noise of the whole series.
        local = max(single, noise(values[place:]))
        plain = _in_errors(best - last, local, 2 / size)
        inflation = max(1.0, mean_error(*correlated, size) * math.sqrt(size) / local) if local > 0 else 1.0
        found.append(Fall(plain / inflation, best, last, size, place, plain))
    return found


def stretches(steps: Sequence[tuple[float, bool]]) -> list[tuple[int, float, float]]:
    """Return runs of consecutive marked steps, longest first: length, first step, last step."""
    runs = ([step for step, _ in run] for marked, run in groupby(steps, itemgetter(1)) if marked)
    found = [(len(run), run[0], run[-1]) for run in runs]
    return sorted(found, key=lambda stretch: (-stretch[0], stretch[1]))


def _noise(values: Sequence[float]) -> float:
    return max(noise(values), _ROUNDING * max(map(abs, values)))


def _in_errors(change: float, single: float, weight: float) -> float:
    """Return a change of means in standard errors; `weight` is the sum of 1 / size of both windows."""
    return change / (single * math.sqrt(weight)) if single > 0 else 0.0
