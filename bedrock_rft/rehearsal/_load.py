"""What a run will ask of the reward function: how many steps, calls and seconds, and how many calls at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding

__all__ = ["Load"]

_NEAR = 0.5
_HOUR = 3600.0


@dataclass(frozen=True)
class Load:
    """The work of one run.

    How many answers the service samples to a prompt, and how many it sends in one call, is not documented: both are
    assumptions.

    Attributes:
        records: prompts in the training file.
        n_epochs: passes over them.
        batch_size: prompts per step.
        group_size: answers to each prompt; an assumption.
        invocation_size: rollouts in one call of the function; an assumption.
        seconds: that the slowest of the measured calls took for one rollout.
        timeout: seconds that the function may take.
    """

    records: int
    n_epochs: int
    batch_size: int
    group_size: int
    invocation_size: int
    seconds: float
    timeout: float

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
        """Calls that one step makes, all at once in the worst case: the concurrency the function needs."""
        return math.ceil(self.batch_size * self.group_size / self.invocation_size)

    @property
    def calls(self) -> int:
        """Calls of the whole run."""
        return self.steps * self.calls_at_once

    @property
    def call_seconds(self) -> float:
        """Seconds that a full call takes at the measured pace, one rollout after the other."""
        return self.seconds * self.invocation_size

    @property
    def total_seconds(self) -> float:
        """Seconds that the function is busy over the whole run."""
        return self.seconds * self.rollouts

    @staticmethod
    def said(seconds: float) -> str:
        """A duration in words."""
        return _spoken(seconds)

    def __str__(self) -> str:
        return (
            f"{self.steps:,} steps, {self.rollouts:,} rollouts in {self.calls:,} calls, {self.calls_at_once:,} at "
            f"once, about {_spoken(self.total_seconds)} in all"
        )

    def findings(self) -> list[Finding]:
        """What that means for the function's settings."""
        assumed = f"with {self.invocation_size} rollouts to a call, which is an assumption"
        if self.call_seconds > self.timeout:
            return [
                Finding(
                    "error",
                    "too_slow",
                    f"A call takes about {_spoken(self.call_seconds)}, and the function may take {self.timeout:g} s",
                    assumed,
                    "Make the reward faster or async, or raise the function's timeout (900 s at most)",
                )
            ]
        if self.call_seconds > self.timeout * _NEAR:
            return [
                Finding(
                    "warning",
                    "slow",
                    f"A call takes about {_spoken(self.call_seconds)} of the {self.timeout:g} s the function may take",
                    assumed,
                    "Raise the function's timeout, or make the reward faster or async",
                )
            ]
        return [
            Finding("ok", "load", f"A call takes about {_spoken(self.call_seconds)} of {self.timeout:g} s", assumed)
        ]


def _spoken(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:  # noqa: PLR2004 - two minutes are still counted in seconds
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"
