"""Work out the load of a run on the reward function: steps, invocations, seconds and concurrency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import ShortRepr

__all__ = ["Load", "format_duration"]

_NEAR_TIMEOUT = 0.5
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Load(ShortRepr):
    """The load of one run on its reward function.

    The service's number of answers per prompt and of rollouts per invocation are not documented: both are assumptions.

    Attributes:
        records: prompts in the training file.
        n_epochs: passes over them.
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
            f"{self.steps:,} steps, {self.rollouts:,} rollouts in {self.calls:,} invocations, up to "
            f"{self.calls_at_once:,} at once, about {format_duration(self.total_seconds)} in all"
        )

    def findings(self) -> list[Finding]:
        """Return one finding: whether the slowest invocation stays within the function's timeout."""
        assumption = f"with {self.invocation_size} rollouts per invocation, which is an assumption"
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
