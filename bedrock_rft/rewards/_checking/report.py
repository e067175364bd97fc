"""What a check of a reward found."""

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
        count: how many were scored.
        least: the lowest.
        mean: their mean.
        greatest: the highest.
    """

    count: int
    least: float
    mean: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scores:
        """Sum up some scores, at least one."""
        return cls(len(values), min(values), sum(values) / len(values), max(values))

    def __str__(self) -> str:
        if self.least == self.greatest:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f}, from {self.least:.3f} to {self.greatest:.3f}"


@dataclass(frozen=True)
class Report(Findings):
    """What a check of a reward found. Print it, or let a notebook show it.

    Attributes:
        target: what was checked.
        sample: how many records it was tried on.
        invocations: how often it was invoked.
        form: how the right answer was written, where it scored highest.
        scores: by kind of answer.
        shapes: the mean score of right answers by payload shape; None where there was no answer that can be read.
        seconds: of the slowest invocation.
        seconds_per_rollout: over all invocations.
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
        """The scores by kind of answer, and how long it took."""
        found = [("tried on", f"{self.sample} records, {self.invocations} invocations")]
        found += [(kind, str(scores)) for kind, scores in self.scores.items()]
        if self.form:
            found.append(("right is written", self.form))
        per = f"{self.seconds_per_rollout * 1000:.1f} ms a rollout"
        found.append(("took", f"{per}, at most {self.seconds:.2f} s of {self.timeout:g} s"))
        return found

    def raise_for_errors(self) -> Report:
        """Return the report itself where it has no error.

        Raises:
            RewardError: it has; the message is the first, and the report is its `.report`.
        """
        if self.ok:
            return self
        first = self.errors[0]
        more = f" ({len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        raise RewardError(f"{self.target}: {first}{more}", code=first.code, report=self)
