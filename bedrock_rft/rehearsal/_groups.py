"""What real answers of the base model say about a run to come: which prompts have anything to teach.

GRPO measures every answer against the others to the same prompt. Where all of them score the same, there is no
advantage, and the prompt teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding

__all__ = ["Groups"]

_FEW = 0.2
_SAME = 1e-9


@dataclass(frozen=True)
class Groups:
    """The scores of several answers to each prompt.

    Attributes:
        scores: by prompt.
        best: the score that counts as all right.
    """

    scores: Sequence[Sequence[float]]
    best: float

    @property
    def teaching(self) -> float:
        """The share of prompts whose answers differ in score."""
        return sum(max(group) - min(group) > _SAME for group in self.scores) / len(self.scores)

    @property
    def mastered(self) -> float:
        """The share of prompts all of whose answers are right already."""
        return sum(min(group) >= self.best for group in self.scores) / len(self.scores)

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(sum(group) / len(group) for group in self.scores) / len(self.scores)

    def __str__(self) -> str:
        rest = max(0.0, 1 - self.teaching - self.mastered)
        return (
            f"{self.teaching:.0%} of the prompts have answers that differ in score, {self.mastered:.0%} are all right, "
            f"{rest:.0%} all alike below that"
        )

    def findings(self) -> list[Finding]:
        """Whether there is something to learn from."""
        if not self.teaching:
            return [
                Finding(
                    "error",
                    "no_signal",
                    "No prompt has answers of the base model that differ in score",
                    "GRPO compares answers to the same prompt, so nothing would be learned",
                    "Give part of the reward for partial success, take prompts of other difficulty, or sample hotter",
                )
            ]
        if self.teaching < _FEW:
            return [
                Finding(
                    "warning",
                    "little_signal",
                    f"Only {self.teaching:.0%} of the prompts have answers that differ in score",
                    "the others cost rollouts and teach nothing",
                    "Leave out the prompts that are always right or always wrong",
                )
            ]
        return [Finding("ok", "signal", f"{self.teaching:.0%} of the prompts have answers that differ in score")]
