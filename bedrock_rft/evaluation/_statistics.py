"""What can be said of scores: means with their intervals, paired differences, pass@k.

Prompts are what is sampled from a population, not answers: intervals resample prompts, each with all of its answers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Difference", "Interval", "Resamples", "bootstrap", "difference", "mean", "pass_at_k"]

_WORK = 4_000_000
_MOST = 2000
_LEAST = 200
_TAIL = 0.025


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference:
    """A paired difference: the same prompts, two models.

    Attributes:
        interval: of the mean difference.
        p: two-sided, from the share of resamples on the other side of zero.
        better: prompts on which the mean score is higher.
        worse: prompts on which it is lower.
        equal: the rest.
    """

    interval: Interval
    p: float
    better: int
    worse: int
    equal: int

    @property
    def said(self) -> str:
        """The p value as it is printed: no smaller than resampling can tell."""
        return "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"  # noqa: PLR2004 - as many digits as are shown


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of `size` prompts, the same for the same seed: fewer where there are very many prompts.

    They are drawn anew each time they are gone through: all at once they would fill tens of megabytes.
    """

    size: int
    seed: int

    def __iter__(self) -> Iterator[list[int]]:
        rng = random.Random(self.seed)  # noqa: S311 - statistics
        for _ in range(max(_LEAST, min(_MOST, _WORK // max(1, self.size)))):
            yield rng.choices(range(self.size), k=self.size)


def bootstrap(values: Sequence[float], drawn: Iterable[Sequence[int]]) -> Interval:
    """The mean of one value for each prompt, with the percentiles of its resampled means."""
    return _interval(mean(values), _means(values, drawn))


def difference(before: Sequence[float], after: Sequence[float], drawn: Iterable[Sequence[int]]) -> Difference:
    """By how much `after` is higher than `before`, prompt by prompt."""
    gains = [later - earlier for earlier, later in zip(before, after, strict=True)]
    found = _means(gains, drawn)
    below = sum(value <= 0 for value in found) / len(found)
    above = sum(value >= 0 for value in found) / len(found)
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return Difference(
        _interval(mean(gains), found), min(1.0, 2 * min(below, above)), better, worse, len(gains) - better - worse
    )


def pass_at_k(passed: int, samples: int, k: int) -> float:
    """The chance that one of `k` answers passes, estimated without bias from `samples` of which `passed` did.

    Source: Chen et al., Evaluating Large Language Models Trained on Code, 2021.
    """
    if samples - passed < k:
        return 1.0
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def _means(values: Sequence[float], drawn: Iterable[Sequence[int]]) -> list[float]:
    pick = values.__getitem__
    return sorted(sum(map(pick, places)) / len(places) for places in drawn)


def _interval(value: float, ordered: Sequence[float]) -> Interval:
    last = len(ordered) - 1
    return Interval(value, ordered[round(last * _TAIL)], ordered[round(last * (1 - _TAIL))])
