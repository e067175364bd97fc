"""Estimate the training signal in answers of the base model.

GRPO compares the answers to one prompt. If all answers of a group have the same score, their advantages are 0, and the
prompt contributes nothing to the step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.evaluation._statistics import agresti_coull, passes

__all__ = ["Groups"]

_LITTLE = 0.2
_SAME_DIGITS = 9
_CONCENTRATIONS = [10 ** (exponent / 8) for exponent in range(-16, 25)]


@dataclass(frozen=True)
class Groups(ShortRepr):
    """The scores of several answers to each prompt.

    Attributes:
        scores: the scores by prompt.
        best: an answer is right if its score is at least this.
        group_size: planned number of answers per prompt in a step.
    """

    scores: Sequence[Sequence[float]]
    best: float
    group_size: int = 8

    @property
    def samples(self) -> int:
        """The smallest number of answers to a prompt."""
        return min(map(len, self.scores))

    @property
    def observed_share(self) -> float:
        """Share of prompts whose answers, as many as there are, differ in score."""
        return sum(len(counts) > 1 for counts in self._counts) / len(self.scores)

    @property
    def signal_share(self) -> float:
        """Expected share of prompts whose answers differ in score in a group of the planned size.

        With at least `group_size` answers per prompt this is the unbiased estimate. With fewer answers and two
        different scores in all, it is the mean under a beta-binomial distribution that is fitted to the prompts. With
        fewer answers and more scores, it is the share for groups of that many answers, a lower bound.
        """
        size = self.group_size
        if self.samples >= size:
            return sum(1 - _chance_of_equal(counts, size) for counts in self._counts) / len(self.scores)
        values = {value for counts in self._counts for value in counts}
        if len(values) > 2:  # noqa: PLR2004 - pass or fail
            return sum(1 - _chance_of_equal(counts, self.samples) for counts in self._counts) / len(self.scores)
        if len(values) < 2:  # noqa: PLR2004 - as above
            return 0.0
        top = max(values)
        pairs = [(counts[top], counts.total()) for counts in self._counts]
        alpha, beta = _fit_beta_binomial(pairs)
        return sum(_expected_difference(alpha + k, beta + n - k, size) for k, n in pairs) / len(pairs)

    @property
    def signal_interval(self) -> tuple[float, float]:
        """The 95 % interval of `signal_share` (Agresti-Coull), with prompts as the unit; never of width 0."""
        return agresti_coull(self.signal_share, len(self.scores))

    @property
    def is_lower_bound(self) -> bool:
        """True if `signal_share` is a lower bound, because there are fewer answers than the planned group size."""
        return self.samples < self.group_size and len({v for counts in self._counts for v in counts}) > 2  # noqa: PLR2004

    @property
    def solved_share(self) -> float:
        """Share of prompts all of whose answers are right."""
        return sum(passes(min(group), self.best) for group in self.scores) / len(self.scores)

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(sum(group) / len(group) for group in self.scores) / len(self.scores)

    @property
    def _counts(self) -> list[Counter[float]]:
        return [Counter(round(score, _SAME_DIGITS) for score in group) for group in self.scores]

    def __str__(self) -> str:
        return (
            f"in groups of {self.group_size}, the answers to {self._share} of the prompts would differ in score "
            f"({self._interval}), estimated from {self.samples} answers each; {self.solved_share:.0%} of the prompts "
            "are solved already"
        )

    @property
    def _share(self) -> str:
        return f"{'at least ' * self.is_lower_bound}{self.signal_share:.0%}"

    @property
    def _interval(self) -> str:
        low, high = self.signal_interval
        return f"95 % interval {low:.0%} to {high:.0%}"

    def findings(self) -> list[Finding]:
        """Return one finding: whether the base model's answers give a training signal."""
        high = self.signal_interval[1]
        reason = (
            f"estimated for groups of {self.group_size} from {self.samples} answers to each of {len(self.scores)} "
            f"prompts ({self._interval})"
        )
        if not self.observed_share:
            level: Severity = "error" if high < _LITTLE else "warning"
            summary = "No prompt has answers of the base model that differ in score"
            reason = f"GRPO compares answers to the same prompt; {reason}"
            remedy = (
                "Give part of the reward for partial success, use prompts of another difficulty, or sample at a higher "
                "temperature"
            )
            return [Finding(level, "no_signal", summary, reason, remedy)]
        summary = f"{self._share} of the prompts would have answers of the base model that differ in score"
        if high < _LITTLE or (self.signal_share < _LITTLE and not self.is_lower_bound):
            reason = f"the others cost rollouts and add no signal; {reason}"
            remedy = "Leave out the prompts that are always right or always wrong"
            return [Finding("warning", "little_signal", f"Only {summary}", reason, remedy)]
        return [Finding("ok", "signal", summary, reason)]


def _chance_of_equal(counts: Counter[float], size: int) -> float:
    """Return the share of the groups of `size` answers, drawn without replacement, that have one score."""
    return sum(math.comb(count, size) for count in counts.values()) / math.comb(counts.total(), size)


def _expected_difference(alpha: float, beta: float, size: int) -> float:
    """Return the chance that `size` answers to a prompt with a beta-distributed pass rate differ."""
    all_pass = math.exp(_log_beta(alpha + size, beta) - _log_beta(alpha, beta))
    all_fail = math.exp(_log_beta(alpha, beta + size) - _log_beta(alpha, beta))
    return max(0.0, 1 - all_pass - all_fail)


def _fit_beta_binomial(pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return the parameters of the most likely beta distribution with the observed mean."""
    mean = sum(passed for passed, _ in pairs) / sum(total for _, total in pairs)

    def log_likelihood(concentration: float) -> float:
        alpha, beta = mean * concentration, (1 - mean) * concentration
        return sum(_log_beta(alpha + k, beta + n - k) - _log_beta(alpha, beta) for k, n in pairs)

    best = max(_CONCENTRATIONS, key=log_likelihood)
    return mean * best, (1 - mean) * best


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
