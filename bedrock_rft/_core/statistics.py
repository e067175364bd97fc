"""Statistics of scores: means with intervals, paired differences, permutation tests, pass@k.

The sampling unit is the prompt, not the answer, because new data brings new prompts. Records with the same messages are
one unit: a copy of a prompt adds no information.
"""

from __future__ import annotations

import math
import operator
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bedrock_rft._core.text import ShortRepr

LEVEL = 0.05
"""Significance level of the verdicts; intervals cover 1 - LEVEL."""
MIN_PROMPTS = 6
"""With 5 prompts the smallest p of a two-sided sign-flip test is 2/32, so no result could be significant."""

_Z = NormalDist().inv_cdf(1 - LEVEL / 2)
_RULE_OF_THREE = 3.0
_RESAMPLES, _FEWEST_RESAMPLES, _RESAMPLED_VALUES = 2000, 400, 4_000_000
_FLIPS, _FEWEST_FLIPS, _FLIPPED_BYTES = 9999, 1999, 5_000_000
_MAX_SUMS, _MAX_SUM_STEPS, _FIRST_CHECK = 70_000, 1_000_000, 12
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Interval(ShortRepr):
    """A value with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, spec: str) -> str:
        """Return the value and its interval; `+` shows the signs."""
        return f"{self.value:{spec}.3f} [{self.low:{spec}.3f}, {self.high:{spec}.3f}]"


@dataclass(frozen=True)
class PairedTest:
    """The p-value of a two-sided sign-flip permutation test, and the smallest one that the test could have returned."""

    p: float
    smallest: float


@dataclass(frozen=True)
class Difference(ShortRepr):
    """A paired difference of two models on the same prompts.

    Attributes:
        interval: the mean difference with its confidence interval.
        p: two-sided p-value of a sign-flip permutation test over prompts.
        adjusted_p: the p-value after Holm's correction for the number of models compared.
        smallest_p: the smallest p-value that the test could have returned.
        better: number of prompts with a higher mean score.
        worse: number of prompts with a lower mean score.
        equal: number of all other prompts.
    """

    interval: Interval
    p: float
    adjusted_p: float
    smallest_p: float
    better: int
    worse: int
    equal: int

    @property
    def p_text(self) -> str:
        """The adjusted p-value for display, no more precise than the test can resolve."""
        return p_text(self.adjusted_p)


def p_text(p: float) -> str:
    """Return a p-value for display."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - as many digits as are shown


def mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN for no values."""
    return math.fsum(values) / len(values) if values else math.nan


def cluster_units(values: Sequence[float], clusters: Sequence[str]) -> list[float]:
    """Return one value for each cluster, with the same mean as `values`, for methods that need independent values."""
    grouped: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        grouped.setdefault(cluster, []).append(value)
    if len(grouped) == len(values):
        return list(values)
    overall, size = mean(values), len(values) / len(grouped)
    return [overall + len(group) / size * (mean(group) - overall) for group in grouped.values()]


def share_interval(units: Sequence[float], answers: int) -> Interval:
    """Return the Agresti-Coull interval for the mean of shares, one for each prompt; `answers` is the total number.

    Near 0 and 1 it covers the true share more often than Wilson's interval. The effective sample size lies between the
    prompts and the answers.

    Source: Agresti and Coull 1998; Korn and Graubard 1998 for the effective sample size.
    """
    count, share = len(units), mean(units)
    effective = float(count)
    if answers > count > 1:
        variance = _variance(units, share)
        if variance > 0:
            shrink = (_Z / t_quantile(count - 1)) ** 2
            effective = min(max(share * (1 - share) * count / variance * shrink, count), answers)
    return Interval(share, *agresti_coull(share, effective))


def agresti_coull(share: float, size: float) -> tuple[float, float]:
    """Return the interval of a share by the Agresti-Coull method, for a sample size that need not be whole."""
    total = size + _Z**2
    centre = (share * size + _Z**2 / 2) / total
    half = _Z * math.sqrt(centre * (1 - centre) / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(units: Sequence[float], bounds: tuple[float, float], seed: int) -> Interval:
    """Return the mean of one value for each prompt with a studentised bootstrap interval.

    The interval stays within the bounds, the lowest and highest possible value. If all values are equal, the
    interval follows the rule of three: a different value has a share of at most 3 / n.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5.
    """
    count, value = len(units), mean(units)
    low, high = min(bounds[0], *units), max(bounds[1], *units)
    error = math.sqrt(_variance(units, value) / count)
    if error <= _TOLERANCE * max(abs(low), abs(high)):
        reach = min(1.0, _RULE_OF_THREE / count)
        return Interval(value, value - reach * (value - low), value + reach * (high - value))
    ratios = sorted(_studentised_means(units, value, seed))
    last = len(ratios) - 1
    lower, upper = ratios[round(last * LEVEL / 2)], ratios[round(last * (1 - LEVEL / 2))]
    return Interval(value, min(value, max(low, value - error * upper)), max(value, min(high, value - error * lower)))


def sign_flip_test(gains: Sequence[float], seed: int) -> PairedTest:
    """Test whether paired differences are symmetric around zero, by all sign patterns or many random ones."""
    changed = [abs(gain) for gain in gains if abs(gain) > _TOLERANCE]
    if not changed:
        return PairedTest(1.0, 1.0)
    observed = abs(math.fsum(gain for gain in gains if abs(gain) > _TOLERANCE))
    scale = max(changed)
    exact = _signed_sums([gain / scale for gain in changed])
    if exact is not None:
        limit = observed / scale - _TOLERANCE * len(changed)
        extreme = sum(ways for total, ways in exact.items() if abs(total) >= limit)
        return PairedTest(min(1.0, extreme / 2 ** len(changed)), 2 / 2 ** len(changed))
    flips = max(_FEWEST_FLIPS, min(_FLIPS, 8 * _FLIPPED_BYTES // len(changed)))
    limit = observed - _TOLERANCE * scale * len(changed)
    extreme = sum(abs(total) >= limit for total in _sign_flip_sums(changed, flips, seed))
    return PairedTest((extreme + 1) / (flips + 1), 1 / (flips + 1))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple tests by Holm's step-down method, in the given order."""
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def pass_at_k(pass_count: int, samples: int, k: int) -> float:
    """Return the unbiased estimate of the chance that at least one of `k` answers passes (Chen et al. 2021)."""
    if samples - pass_count < k:
        return 1.0
    return 1.0 - math.comb(samples - pass_count, k) / math.comb(samples, k)


def passes(score: float, mark: float) -> bool:
    """Return whether a score reaches the pass mark, despite rounding errors, as in 0.7 + 0.2 + 0.1 for 1."""
    return score >= mark or math.isclose(score, mark, rel_tol=1e-9, abs_tol=1e-9)


def _variance(units: Sequence[float], value: float) -> float:
    return math.fsum((unit - value) ** 2 for unit in units) / max(1, len(units) - 1)


def _studentised_means(units: Sequence[float], value: float, seed: int) -> Iterator[float]:
    """Yield (resampled mean - mean) / resampled standard error; infinite if a resample has no variance."""
    count = len(units)
    rng = random.Random(seed)  # noqa: S311 - statistics
    # Centred values keep the sum of squares exact enough for a fast one-pass variance.
    centred = [unit - value for unit in units]
    for _ in range(max(_FEWEST_RESAMPLES, min(_RESAMPLES, _RESAMPLED_VALUES // count))):
        resample = rng.choices(centred, k=count)
        shift = sum(resample) / count
        variance = (sum(map(operator.mul, resample, resample)) - count * shift * shift) / (count - 1)
        if variance > _TOLERANCE * shift * shift:
            yield shift / math.sqrt(variance / count)
        else:
            yield math.copysign(math.inf, shift) if shift else 0.0


def _signed_sums(gains: Sequence[float]) -> Counter[float] | None:
    """Count the sums over all sign patterns; None if there are too many distinct sums to enumerate."""
    sums = Counter({0: 1})
    steps = 0
    for place, gain in enumerate(gains):
        if place == _FIRST_CHECK and len(sums) == 2**place and 2 ** len(gains) > _MAX_SUMS:
            return None  # no two sums were equal so far, so there will be too many
        step = round(gain / _TOLERANCE)
        following: Counter[int] = Counter()
        for total, ways in sums.items():
            following[total + step] += ways
            following[total - step] += ways
        sums = following
        steps += len(sums)
        if len(sums) > _MAX_SUMS or steps > _MAX_SUM_STEPS:
            return None
    return Counter({total * _TOLERANCE: ways for total, ways in sums.items()})


def _sign_flip_sums(gains: Sequence[float], flips: int, seed: int) -> Iterator[float]:
    """Yield sums with random signs, eight values at a time from a table of their 256 sums."""
    rng = random.Random(seed)  # noqa: S311 - statistics
    tables: list[list[float]] = []
    for start in range(0, len(gains), 8):
        pairs = list(enumerate(gains[start : start + 8]))
        tables.append([math.fsum(gain if byte >> place & 1 else -gain for place, gain in pairs) for byte in range(256)])
    for _ in range(flips):
        signs = rng.randbytes(len(tables))
        yield sum(table[byte] for table, byte in zip(tables, signs, strict=True))


def t_quantile(degrees: int) -> float:
    """Return the upper quantile of Student's t for a two-sided interval (Abramowitz and Stegun 26.7.5)."""
    if degrees == 1:
        return math.tan(math.pi * (0.5 - LEVEL / 2))
    if degrees == 2:  # noqa: PLR2004 - closed form
        return (1 - LEVEL) * math.sqrt(2 / (1 - (1 - LEVEL) ** 2))
    z, v = _Z, degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
