"""Judge the reward curve of a rehearsed job.

The local policy chooses among right and wrong answers in several forms. If its reward rises, answers differ in score,
so there is a training signal. The curve shows nothing about the learning rate, entropy, length or time of a real run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.text import ShortRepr

__all__ = ["Curve"]

_PARTS = 5  # the first and the last fifth of the steps are compared
_MIN_STEPS = 10
_MIN_RISE = 0.05  # as a share of the range of scores
_NOISE_FACTOR = 2.0  # standard errors
_SATURATED = 0.95
_SAME = 1e-9


@dataclass(frozen=True)
class Curve(ShortRepr):
    """The mean reward of each step.

    Attributes:
        rewards: the mean reward by step.
        bounds: the lowest and the highest score of an answer.
        signal_share: share of prompts whose answers differed in score, during the first quarter of the run.
    """

    rewards: Sequence[float]
    bounds: tuple[float, float]
    signal_share: float

    @property
    def first(self) -> float:
        """The mean over the first fifth of the steps."""
        return fmean(self.rewards[: self._part])

    @property
    def last(self) -> float:
        """The mean over the last fifth of the steps."""
        return fmean(self.rewards[-self._part :])

    @property
    def noise(self) -> float:
        """The standard error of `last - first`, estimated from the differences between successive steps."""
        squares = [(after - before) ** 2 for before, after in pairwise(self.rewards)]
        return math.sqrt(fmean(squares) / self._part) if squares else 0.0

    @property
    def _part(self) -> int:
        return max(1, len(self.rewards) // _PARTS)

    def findings(self) -> list[Finding]:
        """Return one finding: the direction of the curve, and its likely cause."""
        level, code, summary, reason, remedy = self._judge()
        return [Finding(level, code, summary, reason, remedy)]

    def _judge(self) -> tuple[Severity, str, str, str, str]:
        first, last, low, span = self.first, self.last, self.bounds[0], self.bounds[1] - self.bounds[0]
        change = f"from {first:.2f} to {last:.2f} over {len(self.rewards):,} steps"
        if span <= _SAME:
            summary = f"All rehearsed answers scored {first:.3g}, so there is no training signal"
            reason = "the local policy wrote right and wrong answers in several forms, all with the same score"
            remedy = "Check what the reward compares, and the form of the answers it accepts; gold= can write them"
            return "error", "flat", summary, reason, remedy
        if min(first, last) >= low + _SATURATED * span:
            reason = "nearly all answers of the local policy pass, including wrong ones"
            summary = f"The mean reward was {first:.2f} from the first step"
            return "warning", "saturated", summary, reason, "Make the reward stricter"
        if len(self.rewards) < _MIN_STEPS:
            summary = f"The mean reward went {change}, which is too few steps to see a direction"
            return "unknown", "few_steps", summary, "", "Rehearse on more records with limit="
        threshold = max(_MIN_RISE * span, _NOISE_FACTOR * self.noise)
        if last - first < -threshold:
            reason = (
                "each update makes answers with higher scores more likely, so the scores do not depend on the answers "
                "alone"
            )
            remedy = "Check that the reward gives the same answer the same score"
            return "error", "falls", f"The mean reward fell {change}", reason, remedy
        if last - first < threshold:
            summary = f"The mean reward did not rise by more than noise: {change}"
            reason = f"{self.signal_share:.0%} of the prompts had answers of the local policy that differ in score"
            return "warning", "stays", summary, reason, "Give part of the reward for partial success"
        reason = (
            "answers differ in score, so there is a training signal. This does not show that right answers score "
            "higher than wrong ones, and a real model learns at its own pace"
        )
        return "ok", "learns", f"The mean reward rose {change}", reason, ""
