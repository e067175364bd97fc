"""The report of a reward check, and the scores that it summarizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

from bedrock_rft._core.findings import Findings, clip, escape_html, scrollable_table
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._checking.accuracy import Accuracy
from bedrock_rft.rewards._checking.probes import SHAPES, PayloadShape, Probe


@dataclass(frozen=True)
class Scores:
    """The scores of one kind of answer.

    Attributes:
        count: the number of scores.
        least: the lowest score.
        mean: the mean of the scores.
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
        sample: the number of records on which the reward was tried.
        invocations: the number of invocations.
        form: the form of right answers with the highest score; empty with `gold=`, or if no form scored.
        scores: the scores by kind of answer.
        shapes: the mean score of right answers by payload shape; None if there was no score.
        seconds: the duration of the slowest invocation.
        seconds_per_rollout: the mean over all rollouts.
        timeout: seconds that an invocation may take.
        accuracy: false positives and false negatives by kind of answer, if they were measured.
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
    accuracy: Accuracy | None = None

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the sample, the scores by kind of answer, and the durations."""
        if not self.invocations:
            return []
        facts = [("tried on", f"{self.sample} records, {self.invocations} invocations")]
        facts += [(kind, str(scores)) for kind, scores in self.scores.items()]
        if self.form:
            facts.append(("right answers", self.form))
        per_rollout = f"{self.seconds_per_rollout * 1000:.1f} ms per rollout"
        facts.append(("duration", f"{per_rollout}, at most {self.seconds:.2f} s of {self.timeout:g} s"))
        return facts

    def __str__(self) -> str:
        if self.accuracy is None:
            return super().__str__()
        rows = self.accuracy.rows()
        wide = max((len(kind) for kind, *_ in rows), default=0)
        lines = [
            f"  {kind:<{wide}}  {count:>8}  {rate:>4}  {sanitize_line(shown)}" for kind, count, rate, shown in rows
        ]
        return "\n".join([super().__str__(), "  mistakes by kind of answer", *map(clip, lines)])

    def _repr_html_(self) -> str:
        if self.accuracy is None:
            return super()._repr_html_()
        style = "style='text-align:left;white-space:nowrap'"
        rows = [("kind of answer", "mistakes", "rate", "example"), *self.accuracy.rows()]
        cells = ("".join(f"<td {style}>{escape_html(cell)}</td>" for cell in row) for row in rows)
        return super()._repr_html_() + scrollable_table(f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")

    def raise_for_errors(self) -> Report:
        """Return the report itself if it has no errors.

        Raises:
            RewardError: the report has errors. The message is the first error, and `.report` is the report.
        """
        if self.ok:
            return self
        first = self.errors[0]
        more = f" ({len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        raise RewardError(f"{self.target}: {first}{more}", code=first.code, report=self)


SAME = 1e-9
"""Scores that differ by less than this are equal."""

ScoredPair: TypeAlias = "tuple[Probe, float, float | None]"
"""An answer with its score, and the score of a wrong answer to the same record."""

ShapeMeans: TypeAlias = "Mapping[PayloadShape, tuple[float, float] | None]"
"""The mean scores of right and of wrong answers by payload shape; None if there were no scores."""


def exceeds_noise(pairs: Sequence[ScoredPair], noise: float) -> bool:
    """Return whether right answers score higher than wrong answers by more than the noise of the mean explains."""
    gaps = [right - wrong for _, right, wrong in pairs if wrong is not None]
    return bool(gaps) and fmean(gaps) > noise / len(gaps) ** 0.5


def best_shape(means: ShapeMeans) -> PayloadShape:
    """Return the documented payload shape, unless right answers stand out more in another shape."""
    gaps = {shape: pair[0] - pair[1] - SHAPES.index(shape) * SAME for shape, pair in means.items() if pair is not None}
    return max(SHAPES, key=lambda shape: gaps.get(shape, -math.inf))


def mean_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the means of right and of wrong answers; None if right answers have no scores."""
    scores = group_scores(probes, values)
    right, wrong = scores.get("right"), scores.get("wrong")
    return None if right is None else (right.mean, wrong.mean if wrong else 0.0)


def group_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> dict[str, Scores]:
    kinds: dict[str, list[float]] = {}
    for probe, value in zip(probes, values, strict=False):
        if value is not None:
            kinds.setdefault(probe.kind, []).append(value)
    return {kind: Scores.of(found) for kind, found in kinds.items()}


def pair_scores(probes: Sequence[Probe], values: Sequence[float | None], kind: str = "right") -> list[ScoredPair]:
    wrong = {probe.record: value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong"}
    return [
        (probe, value, wrong.get(probe.record))
        for probe, value in zip(probes, values, strict=True)
        if probe.kind == kind and value is not None
    ]
