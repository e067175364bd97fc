"""Statistics of the health checks: noise of one step, and means of the first, best and last steps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

_NORMAL_RATIO = 1.4826  # standard deviations of a normal distribution per median absolute deviation
_MIN_WINDOW = 5  # steps of the shortest window; the mean of fewer steps is hardly less noisy than one step
_MIN_FIRST_WINDOW = 2  # steps of the shortest window at the beginning
_CUT_QUARTILES = 3.0  # a difference is cut at this many upper quartiles
_MIN_CORRELATED = 40  # fewer steps do not show a correlation of the noise
_CORRELATION_BIAS = 8.0  # the estimate of the correlation is too high by about this number over the number of steps
_MAX_CORRELATION = 0.9
_ROUNDING = 1e-9  # relative rounding error, so that a constant series has no trend


def deviation(values: Sequence[float]) -> float:
    """Return the median absolute deviation, scaled to a standard deviation."""
    middle = statistics.median(values)
    return _NORMAL_RATIO * statistics.median(abs(value - middle) for value in values)


def noise(values: Sequence[float]) -> float:
    """Return the standard deviation of one step around the trend, from squared differences of consecutive steps."""
    if len(values) <= 1:
        return 0.0
    squares = math.fsum((later - earlier) * (later - earlier) for earlier, later in pairwise(values))
    return math.sqrt(squares / (2 * (len(values) - 1)))


def correlated_noise(values: Sequence[float], *, ended: bool) -> tuple[float, float]:
    """Return the standard deviation of one step, and the correlation of consecutive steps from 0 to 0.9.

    The correlation follows from the sizes of differences over two steps and over one, without the slope of the trend.
    Large differences are cut, so that a collapse does not count as correlation. With few steps the estimate is unsure:
    the correlation is then 0 if the job has ended, and otherwise the estimate without a correction of its bias.
    """
    changes = [later - earlier for earlier, later in pairwise(values)]
    slope = statistics.median(changes)
    longest = _CUT_QUARTILES * sorted(abs(change - slope) for change in changes)[len(changes) * 3 // 4] or math.inf
    one, two = (
        statistics.fmean(
            min((later - earlier - lag * slope) ** 2, lag * longest**2) / 2
            for earlier, later in zip(values, values[lag:], strict=False)
        )
        for lag in (1, 2)
    )
    few = len(values) < _MIN_CORRELATED
    estimate = 0.0 if one == 0 or (few and ended) else two / one - 1 - (0 if few else _CORRELATION_BIAS / len(values))
    correlation = min(_MAX_CORRELATION, max(0.0, estimate))
    return math.sqrt(one / (1 - correlation)), correlation


def mean_error(single: float, correlation: float, size: int) -> float:
    """Return the standard error of a mean of consecutive steps; their noise is an autoregressive process of order 1."""
    free = 1 - correlation
    factor = (1 + correlation) / free - 2 * correlation * (1 - correlation**size) / (size * free * free)
    return single * math.sqrt(factor / size)


def window_sizes(count: int, shortest: int = _MIN_WINDOW) -> tuple[int, ...]:
    """Return the window sizes to compare: long ones show slow changes in noise, short ones late changes."""
    sizes = [max(1, count // 3)]
    while sizes[-1] // 2 >= shortest:
        sizes.append(sizes[-1] // 2)
    return tuple(sizes)


def end_size(count: int, window: int) -> int:
    """Return the number of steps at each end of a run that are compared: a window, and at most a third of the run."""
    return max(1, min(window, count // 3))


def format_ends(first: str, last: str, size: int, steps: str, average: str = "mean") -> str:
    """Return the values at both ends of a run as text that names the steps that each is of."""
    if size == 1:
        return f"{first} in the first step, {last} in the last, over {steps}"
    return f"{first} in the first {size} steps, {last} in the last {size} ({average}s), over {steps}"


def rolling_means(values: Sequence[float], size: int) -> list[float]:
    """Return the mean of every `size` consecutive values."""
    sums = [0.0, *accumulate(values)]
    return [(after - before) / size for before, after in zip(sums, sums[size:], strict=False)]


def largest_rise(values: Sequence[float], least: float) -> float:
    """Return the largest rise of at least `least` from first to last steps, in standard errors, over all windows."""
    single = _noise_with_rounding(values)
    largest = 0.0
    late = [(size, statistics.fmean(values[-size:])) for size in window_sizes(len(values))]
    for first in window_sizes(len(values), _MIN_FIRST_WINDOW):
        early = statistics.fmean(values[:first])
        for last, mean in late:
            if mean - early >= least:
                largest = max(largest, _in_errors(mean - early, single, 1 / first + 1 / last))
    return largest


def early_rise(values: Sequence[float], least: float) -> float:
    """Return the largest rise of at least `least` from the first steps to all others, in standard errors."""
    single, total, count = _noise_with_rounding(values), math.fsum(values), len(values)
    largest = 0.0
    for first in window_sizes(count, _MIN_FIRST_WINDOW):
        early = math.fsum(values[:first])
        rise = (total - early) / (count - first) - early / first
        if rise >= least:
            largest = max(largest, _in_errors(rise, single, 1 / first + 1 / (count - first)))
    return largest


class Fall(NamedTuple):
    """Fall from the best window of `size` values, which starts at index `place`, to the last window."""

    errors: float  # the fall in standard errors
    best: float
    last: float
    size: int
    place: int
    plain: float  # `errors` for noise without correlation; the fall with the most is shown


def find_falls(values: Sequence[float], *, ended: bool = True) -> list[Fall]:
    """Return the fall from the best steps to the last steps for each window size, largest window first."""
    results: list[Fall] = []
    single, correlated = _noise_with_rounding(values), correlated_noise(values, ended=ended)
    for size in window_sizes(len(values)):
        means = rolling_means(values, size)
        earlier, last = means[:-size] or means[:1], means[-1]
        best = max(earlier)
        place = earlier.index(best)
        # A reward near 0 or 1 is quiet, so the noise since the best steps may exceed the noise of the whole series.
        local = max(single, noise(values[place:]))
        plain = _in_errors(best - last, local, 2 / size)
        inflation = max(1.0, mean_error(*correlated, size) * math.sqrt(size) / local) if local > 0 else 1.0
        results.append(Fall(plain / inflation, best, last, size, place, plain))
    return results


def find_stretches(steps: Sequence[tuple[float, bool]]) -> list[tuple[int, float, float]]:
    """Return runs of consecutive marked steps, longest first: length, first step, last step."""
    runs = ([step for step, _ in run] for marked, run in groupby(steps, itemgetter(1)) if marked)
    results = [(len(run), run[0], run[-1]) for run in runs]
    return sorted(results, key=lambda stretch: (-stretch[0], stretch[1]))


def _noise_with_rounding(values: Sequence[float]) -> float:
    return max(noise(values), _ROUNDING * max(map(abs, values)))


def _in_errors(change: float, single: float, weight: float) -> float:
    """Return a change of means in standard errors; `weight` is the sum of 1 / size of both windows."""
    return change / (single * math.sqrt(weight)) if single > 0 else 0.0
