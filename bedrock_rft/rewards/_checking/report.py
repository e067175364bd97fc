"""The report of a reward check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bedrock_rft._core.findings import Findings
from bedrock_rft.errors import RewardError

__all__ = ["Report", "Scores"]


@dataclass(frozen=True)
class Scores:
    """The scores of one kind of answer.

    Attributes:
        count: the number of scores.
        least: the lowest score.
        mean: their mean.
        greatest: the highest score.
    """

    count: int
    least: float
    mean: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scores:
        """Summarize at least one score."""
        return cls(len(values), min(values), sum(values) / len(values), max(values))

    def __str__(self) -> str:
        if self.least == self.greatest:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f}, from {self.least:.3f} to {self.greatest:.3f}"


@dataclass(frozen=True)
class Report(Findings):
    """The report of a reward check. Print it, or let a notebook show it.

    Attributes:
        target: the name of the reward.
        sample: the number of records that it was tried on.
        invocations: the number of invocations.
        form: the form of right answers with the highest score; empty with `gold=`, or if no form scored.
        scores: the scores by kind of answer.
        shapes: the mean score of right answers by payload shape; None if there was no score.
        seconds: the duration of the slowest invocation.
        seconds_per_rollout: the mean over all rollouts.
        timeout: seconds that an invocation may take.
    """

    target: str = ""
    sample: int = 0
    invocations: int = 0
    form: str = ""
    scores: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    shapes: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    seconds: float = 0.0
    seconds_per_rollout: float = 0.0
    timeout: float = 0.0

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the sample, the scores by kind of answer, and the durations."""
        facts = [("tried on", f"{self.sample} records, {self.invocations} invocations")]
        facts += [(kind, str(scores)) for kind, scores in self.scores.items()]
        if self.form:
            facts.append(("right answers", self.form))
        per_rollout = f"{self.seconds_per_rollout * 1000:.1f} ms per rollout"
        facts.append(("duration", f"{per_rollout}, at most {self.seconds:.2f} s of {self.timeout:g} s"))
        return facts

    def raise_for_errors(self) -> Report:
        """Return the report itself if it has no errors.

        Raises:
            RewardError: it has errors; the message is the first one, and `.report` is the report.
        """
        if self.ok:
            return self
        first = self.errors[0]
        more = f" ({len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        raise RewardError(f"{self.target}: {first}{more}", code=first.code, report=self)
