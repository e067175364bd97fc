"""Figures of a rehearsal: the reward curve, the training signal in the base model's answers, and the load.

The local policy chooses among right and wrong answers in several forms. If its reward rises, answers differ in score,
so there is a training signal. GRPO compares the answers to one prompt: equal scores have advantages of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean

from bedrock_rft._core.findings import Finding, JsonReport, Severity
from bedrock_rft._core.group_signal import Signal, count_rewards, group_signal
from bedrock_rft._core.statistics import passes
from bedrock_rft._core.text import ShortRepr

_PARTS = 5  # the first and the last fifth of the steps are compared
_MIN_STEPS = 10
_MIN_RISE = 0.05  # as a share of the range of scores
_NOISE_FACTOR = 2.0  # standard errors
_SATURATED = 0.95
_SAME = 1e-9
_LITTLE = 0.2
_NEAR_TIMEOUT = 0.5
_MINUTE, _HOUR = 60.0, 3600.0


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
        first, last, low, span = self.first, self.last, self.bounds[0], self.bounds[1] - self.bounds[0]
        count = len(self.rewards)
        change = f"from {first:.2f} to {last:.2f} over {count:,} step{'s' * (count != 1)}"
        if span <= _SAME:
            summary = f"All rehearsed answers scored {first:.3g}, so there is no training signal"
            reason = "the local policy wrote right and wrong answers in several forms, all with the same score"
            remedy = (
                "Check what the reward compares, and which forms of answers it accepts. Pass gold= to write the form"
            )
            return [Finding("error", "flat", summary, reason, remedy)]
        if min(first, last) >= low + _SATURATED * span:
            reason = "nearly all answers of the local policy pass, including wrong ones"
            summary = f"The mean reward was {first:.2f} from the first step"
            return [Finding("warning", "saturated", summary, reason, "Make the reward stricter")]
        if len(self.rewards) < _MIN_STEPS:
            summary = f"The mean reward went {change}, which is too few steps to see a direction"
            return [Finding("unknown", "few_steps", summary, "", "Rehearse on more records with limit=")]
        threshold = max(_MIN_RISE * span, _NOISE_FACTOR * self.noise)
        if last - first < -threshold:
            reason = (
                "each update makes answers with higher scores more likely, so the scores do not depend on the answers "
                "alone"
            )
            remedy = "Check that the reward gives the same answer the same score"
            return [Finding("error", "falls", f"The mean reward fell {change}", reason, remedy)]
        if last - first < threshold:
            summary = f"The mean reward did not rise by more than noise: {change}"
            reason = f"{self.signal_share:.0%} of the prompts had answers of the local policy that differ in score"
            return [Finding("warning", "stays", summary, reason, "Give part of the reward for partial success")]
        reason = (
            "answers differ in score, so there is a training signal. This does not show that right answers score "
            "higher than wrong ones, and a real model learns at its own pace"
        )
        return [Finding("ok", "learns", f"The mean reward rose {change}", reason)]


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

    @cached_property
    def signal(self) -> Signal:
        """The estimated share of prompts whose scores differ in a group of the planned size, with its interval."""
        return group_signal(self.scores, self.group_size)

    @property
    def samples(self) -> int:
        """The smallest number of answers to a prompt."""
        return self.signal.samples

    @property
    def observed_share(self) -> float:
        """Share of prompts whose answers, as many as there are, differ in score."""
        return sum(len(count_rewards(scores)) > 1 for scores in self.scores) / len(self.scores)

    @property
    def signal_share(self) -> float:
        """Expected share of prompts whose answers differ in score in a group of the planned size; see `Signal`."""
        return self.signal.share

    @property
    def signal_interval(self) -> tuple[float, float]:
        """The 95 % interval of `signal_share` (Agresti-Coull), with prompts as the unit; never of width 0."""
        return self.signal.low, self.signal.high

    @property
    def is_lower_bound(self) -> bool:
        """True if `signal_share` is a lower bound, because there are fewer answers than the planned group size."""
        return self.signal.is_lower_bound

    @property
    def solved_share(self) -> float:
        """Share of prompts all of whose answers are right."""
        return sum(passes(min(group), self.best) for group in self.scores) / len(self.scores)

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(sum(group) / len(group) for group in self.scores) / len(self.scores)

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
            reason = f"the other prompts cost rollouts and add no signal; {reason}"
            remedy = "Leave out the prompts that are always right or always wrong: see datasets.select"
            return [Finding("warning", "little_signal", f"Only {summary}", reason, remedy)]
        return [Finding("ok", "signal", summary, reason)]


@dataclass(frozen=True)
class Load(JsonReport):
    """The load of one run on its reward function.

    How many answers per prompt and rollouts per invocation the service uses is not documented: both are assumptions.

    Attributes:
        records: prompts in the training file.
        n_epochs: passes over the training file.
        batch_size: prompts per step.
        group_size: answers per prompt; an assumption.
        invocation_size: rollouts per invocation; an assumption.
        seconds: mean seconds per rollout.
        timeout: seconds that an invocation may take.
        slowest: seconds of the slowest measured invocation.
    """

    records: int
    n_epochs: int
    batch_size: int
    group_size: int
    invocation_size: int
    seconds: float
    timeout: float
    slowest: float = 0.0
    _derived = ("steps", "rollouts", "calls", "calls_at_once", "call_seconds")

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.n_epochs * math.ceil(self.records / self.batch_size)

    @property
    def rollouts(self) -> int:
        """Answers that are scored."""
        return self.records * self.n_epochs * self.group_size

    @property
    def calls_at_once(self) -> int:
        """Invocations of one step, which may all run at once: the concurrency that the function needs."""
        return self._calls_of(min(self.batch_size, self.records))

    @property
    def calls(self) -> int:
        """Invocations of the whole run; the last batch of an epoch may be smaller."""
        batches, rest = divmod(self.records, self.batch_size)
        return self.n_epochs * (batches * self._calls_of(self.batch_size) + self._calls_of(rest))

    def _calls_of(self, prompts: int) -> int:
        return math.ceil(prompts * self.group_size / self.invocation_size)

    @property
    def call_seconds(self) -> float:
        """Seconds of the slowest invocation: measured, or a full batch at the mean pace if that is longer."""
        return max(self.slowest, self.seconds * self.invocation_size)

    @property
    def total_seconds(self) -> float:
        """Seconds of all invocations of the run together."""
        return self.seconds * self.rollouts

    def __str__(self) -> str:
        return (
            f"{self.steps:,} step{'s' * (self.steps != 1)}, {self.rollouts:,} rollouts in {self.calls:,} invocations, "
            f"up to {self.calls_at_once:,} at once, about {format_duration(self.total_seconds)} in all"
        )

    def findings(self) -> list[Finding]:
        """Return one finding: whether the slowest invocation stays within the function's timeout."""
        assumption = f"this assumes {self.invocation_size} rollouts per invocation"
        summary = f"The slowest invocation takes about {format_duration(self.call_seconds)} of {self.timeout:g} s"
        if self.call_seconds > self.timeout:
            remedy = "Make the reward faster or async, or raise the function's timeout (900 s at most)"
            return [Finding("error", "too_slow", f"{summary}, so it would time out", assumption, remedy)]
        if self.call_seconds > self.timeout * _NEAR_TIMEOUT:
            remedy = "Raise the function's timeout, or make the reward faster or async"
            return [Finding("warning", "slow", summary, assumption, remedy)]
        return [Finding("ok", "load", summary, assumption)]


def format_duration(seconds: float) -> str:
    """Return a duration with a unit."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"
