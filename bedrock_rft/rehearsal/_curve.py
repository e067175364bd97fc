"""What the reward curve of a rehearsal says: can this reward teach anything?

The rehearsal's model is a stand-in that writes right and wrong answers in several forms. Where even that learns
nothing, no model will; where it learns, the reward at least tells such answers apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bedrock_rft._core.findings import Finding

__all__ = ["Curve"]

_SHARE = 5
_FEWEST = 10
_RISE = 0.05
_FULL = 0.95
_SAME = 1e-9


@dataclass(frozen=True)
class Curve:
    """The mean reward of each step.

    Attributes:
        rewards: by step.
        bounds: the lowest score of an answer, and the highest.
        teaching: the share of prompts whose answers differed in score, before much was learned.
    """

    rewards: Sequence[float]
    bounds: tuple[float, float]
    teaching: float

    @property
    def first(self) -> float:
        """The mean over the first fifth of the steps."""
        return fmean(self.rewards[: self._part])

    @property
    def last(self) -> float:
        """The mean over the last fifth."""
        return fmean(self.rewards[-self._part :])

    @property
    def _part(self) -> int:
        return max(1, len(self.rewards) // _SHARE)

    def findings(self) -> list[Finding]:
        """Whether the stand-in learned, and what it means where it did not."""
        went = f"from {self.first:.2f} to {self.last:.2f} over {len(self.rewards):,} steps"
        low, high = self.bounds
        span = high - low
        if span <= _SAME:
            return [
                Finding(
                    "error",
                    "flat",
                    f"Every answer of the rehearsal scored {self.first:.3g}, so it learned nothing",
                    "a reward that cannot tell answers apart teaches nothing to any model",
                    "Look at what the reward compares, and at the form of the reference answers",
                )
            ]
        if min(self.first, self.last) >= low + _FULL * span:
            return [
                Finding(
                    "warning",
                    "saturated",
                    f"The reward was {self.first:.2f} from the first step on",
                    "nearly every answer passes, wrong ones among them",
                    "Make the reward stricter",
                )
            ]
        if len(self.rewards) < _FEWEST:
            return [
                Finding(
                    "unknown",
                    "few_steps",
                    f"The reward went {went}, too few to see a direction",
                    "",
                    "More records, more epochs or a smaller batch_size give more steps",
                )
            ]
        rise = (self.last - self.first) / span
        if rise < -_RISE:
            return [
                Finding(
                    "error",
                    "falls",
                    f"The reward fell {went}",
                    "the updates are too large for this reward, or it pays for the wrong thing",
                    "Lower learning_rate_multiplier, or raise batch_size",
                )
            ]
        if rise < _RISE:
            return [
                Finding(
                    "warning",
                    "stays",
                    f"The reward stayed where it was: {went}",
                    f"{self.teaching:.0%} of the prompts had answers that differ in score",
                    "Give part of the reward for partial success, or run for more steps",
                )
            ]
        why = (
            "the reward tells right answers from wrong ones, and the stand-in found out; how fast a model does is open"
        )
        return [Finding("ok", "learns", f"The reward rose {went}", why)]
