"""What an evaluation found: how good each model is, how sure that is, and where one is better than another."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import WIDTH, Finding, Findings, clip, wrap, write_text
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.evaluation._statistics import Difference, Interval, mean
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["Comparison", "Evaluation", "Example", "Group", "ModelResult", "figure"]


_FIRST, _OTHER = 30, 20
"""Characters of a table's columns."""


@dataclass(frozen=True)
class ModelResult:
    """How one model did.

    Attributes:
        model: its id.
        label: what the report calls it.
        answers: how many of its answers were scored.
        failed: questions that the service did not take, and answers that the reward could not score.
        score: the mean over prompts of their mean score, with its interval.
        pass_at: the chance that one of k answers passes, by k.
        parts: the mean of each part of the reward, as `metrics_list` names them.
        prompt_tokens: asked.
        completion_tokens: answered.
        cut_off: share of answers that ended at the limit of tokens.
        scores: of each prompt's answers, by its place in the data set.
    """

    model: str
    label: str
    answers: int
    failed: int
    score: Interval
    pass_at: Mapping[int, float]
    parts: Mapping[str, float]
    prompt_tokens: int
    completion_tokens: int
    cut_off: float
    scores: Mapping[int, tuple[float, ...]]

    @property
    def prompts(self) -> Mapping[int, float]:
        """The mean score of each prompt."""
        return {index: mean(found) for index, found in self.scores.items()}


@dataclass(frozen=True)
class Comparison:
    """One model beside the first one, on the prompts that both answered.

    Attributes:
        label: the model.
        base: the one it is compared with.
        difference: of the means, positive where the model is better.
    """

    label: str
    base: str
    difference: Difference


@dataclass(frozen=True)
class Group:
    """The prompts whose records agree in one field.

    Attributes:
        field: of the record.
        value: what it holds, or the range it lies in.
        prompts: how many there are.
        means: the mean score of each model, by its label.
    """

    field: str
    value: str
    prompts: int
    means: Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """One prompt on which two models differ.

    Attributes:
        index: its place in the data set, from 0.
        prompt: what was asked last.
        reference: the reference answer, as text.
        label: the model.
        base: the one it is compared with.
        before: an answer of the base, with its score.
        after: an answer of the model, with its score.
        gain: the difference of the prompt's mean scores.
    """

    index: int
    prompt: str
    reference: str
    label: str
    base: str
    before: tuple[str, float]
    after: tuple[str, float]
    gain: float


@dataclass(frozen=True)
class Evaluation(Findings):
    """What an evaluation found. Print it, let a notebook show it, or write it with `to_html` and `to_json`.

    Attributes:
        reward: what scored the answers.
        prompts: how many were asked.
        samples: answers to each.
        pass_mark: the score from which an answer passes.
        models: in the order in which they were given.
        comparisons: each further model with the first.
        groups: by the record fields that were asked for.
        better: where a model gained most.
        worse: where it lost most.
        resumed: answers that an earlier run had.
    """

    reward: str = ""
    prompts: int = 0
    samples: int = 0
    pass_mark: float = 1.0
    models: tuple[ModelResult, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    groups: tuple[Group, ...] = ()
    better: tuple[Example, ...] = ()
    worse: tuple[Example, ...] = ()
    resumed: int = 0

    def __str__(self) -> str:
        lines = [
            clip(sanitize_line(self.title)),
            clip(f"  reward {sanitize_line(self.reward)}"),
            "",
            *self._table(),
            *[""][: len(self.comparisons)],
        ]
        for one in self.comparisons:
            found = one.difference
            lines.append(
                clip(
                    f"  {one.label} against {one.base}: {found.interval.value:+.3f} "
                    f"[{found.interval.low:+.3f}, {found.interval.high:+.3f}], p {found.said}"
                )
            )
            lines.append(f"    better on {found.better:,}, worse on {found.worse:,}, equal on {found.equal:,}")
        lines += [*self._parts(), *self._grouped(), ""]
        lines += [line for finding in self.findings for line in _said(finding)]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        ks = sorted({k for one in self.models for k in one.pass_at})
        shown = ks[:1] + ks[-1:][: len(ks) - 1]  # the others are on the page, which is wider
        rows = [["model", "mean", "95 % interval", *(f"pass@{k}" for k in shown), "tokens", "failed"]]
        rows += [
            [
                one.label,
                figure(one.score.value),
                f"[{one.score.low:.3f}, {one.score.high:.3f}]" if one.answers else "",
                *(f"{one.pass_at[k]:.1%}" if k in one.pass_at else "" for k in shown),
                f"{one.prompt_tokens + one.completion_tokens:,}",
                f"{one.failed:,}" if one.failed else "",
            ]
            for one in self.models
        ]
        return _columns(rows)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of the reward; its errors are among them only where there were any."""
        names = dict.fromkeys(name for one in self.models for name in one.parts)
        return tuple(name for name in names if name != ERROR_METRIC or any(one.parts.get(name) for one in self.models))

    def _parts(self) -> list[str]:
        names = self.parts
        if not names:
            return []
        rows = [["part of the reward", *(one.label for one in self.models)]]
        rows += [
            [name, *(f"{one.parts[name]:.3f}" if name in one.parts else "" for one in self.models)] for name in names
        ]
        return ["", *_columns(rows)]

    def _grouped(self) -> list[str]:
        if not self.groups:
            return []
        rows = [["field", "prompts", *(one.label for one in self.models)]]
        rows += [
            [f"{one.field} = {one.value}", f"{one.prompts:,}", *map(figure, one.means.values())] for one in self.groups
        ]
        return ["", *_columns(rows)]

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A page that stands alone, without scripts, written to `path` where one is given."""
        from bedrock_rft.evaluation._page import page

        return write_text(page(self), path)

    def _repr_html_(self) -> str:
        from bedrock_rft.evaluation._page import fragment

        return fragment(self)


def figure(value: float) -> str:
    """A score as it is shown; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.3f}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table: the first column from the left, all others from the right; what says nothing is left out.

    Columns that a terminal has no room for stand below, in a table of their own.
    """
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    shown = [[sanitize_line(row[place], _FIRST if place == 0 else _OTHER) for place in kept] for row in rows]
    wide = [max(len(row[column]) for row in shown) for column in range(len(kept))]
    lines: list[str] = []
    start = 1
    while start < len(wide) or not lines:
        end, room = start, WIDTH - 2 - wide[0]
        while end < len(wide) and (room := room - 2 - wide[end]) >= 0:
            end += 1
        picked = [0, *range(start, end)]
        lines += [""] * bool(lines)
        lines += [_row([row[column] for column in picked], [wide[column] for column in picked]) for row in shown]
        start = end
    return lines


def _row(cells: Sequence[str], wide: Sequence[int]) -> str:
    first, *others = (
        f"{cell:<{size}}" if column == 0 else f"{cell:>{size}}"
        for column, (cell, size) in enumerate(zip(cells, wide, strict=True))
    )
    return "  " + "  ".join([first, *others]).rstrip()


def _said(finding: Finding) -> Sequence[str]:
    return wrap(f"{finding.level + ':':<8} {finding}")
