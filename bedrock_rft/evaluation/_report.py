"""The report of an evaluation, as text and HTML."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import WIDTH, clip, wrap, write_text
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.evaluation._page import render_fragment, render_page
from bedrock_rft.evaluation._results import Comparison, EvaluationData

__all__ = ["Evaluation", "format_table"]

_FIRST_WIDTH, _WIDTH = 30, 20
"""Maximum characters of a table's first column and of its other columns."""


@dataclass(frozen=True)
class Evaluation(EvaluationData):
    __doc__ = (EvaluationData.__doc__ or "").replace(
        "Data of an `Evaluation`, without its text and HTML forms.",
        "Result of an evaluation. Print it, display it in a notebook, or write it with `to_html` and `to_json`.",
    )

    def __str__(self) -> str:
        facts = self.facts()
        width = max((len(name) for name, _ in facts), default=0)
        lines = [clip(sanitize_line(self.title))]
        for name, value in facts:
            lines += wrap(f"{name:<{width}}  {sanitize_line(value)}", indent="  ", further=" " * (width + 4))
        lines += ["", *self._model_table(), *[""][: len(self.comparisons)]]
        lines += [line for comparison in self.comparisons for line in _comparison_lines(comparison)]
        lines += [*self._part_table(), *self._group_table(), ""]
        lines += [line for finding in self.findings for line in wrap(f"{finding.level + ':':<8} {finding}")]
        return "\n".join(lines)

    def _model_table(self) -> list[str]:
        ks = sorted({k for model in self.models for k in model.pass_at})
        shown = ks[:1] + ks[-1:][: len(ks) - 1]  # the HTML page has room for all
        missing = any(model.failed for model in self.models)
        head = ["model", "mean", "95 % interval", *(f"pass@{k}" for k in shown), "tokens"]
        rows = [[*head, *["missing", "mean with missing"] * missing]]
        for model in self.models:
            row = [
                model.label,
                _format_score(model.score.value),
                f"[{model.score.low:.3f}, {model.score.high:.3f}]" if model.answers else "",
                *(f"{model.pass_at[k]:.1%}" if k in model.pass_at else "" for k in shown),
                f"{model.prompt_tokens + model.completion_tokens:,}",
            ]
            if missing:
                row += [f"{model.failed:,} ({model.missing_share:.0%})", _format_score(model.score_with_missing.value)]
            rows.append(row)
        return format_table(rows)

    def _part_table(self) -> list[str]:
        if not self.parts:
            return []
        rows = [["part of the reward", *(model.label for model in self.models)]]
        rows += [
            [name, *(f"{model.parts[name]:.3f}" if name in model.parts else "" for model in self.models)]
            for name in self.parts
        ]
        return ["", *format_table(rows)]

    def _group_table(self) -> list[str]:
        if not self.groups:
            return []
        rows = [["field", "prompts", *(model.label for model in self.models)]]
        rows += [
            [f"{group.field} = {group.value}", f"{group.prompts:,}", *map(_format_score, group.means.values())]
            for group in self.groups
        ]
        return ["", *format_table(rows)]

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a self-contained HTML page without scripts, and write it to `path` if given."""
        return write_text(render_page(self), path)

    def _repr_html_(self) -> str:
        return render_fragment(self)


def _comparison_lines(comparison: Comparison) -> list[str]:
    difference = comparison.difference
    interval = difference.interval
    text = f"{comparison.label} against {comparison.base}: {interval.value:+.3f} "
    text += f"[{interval.low:+.3f}, {interval.high:+.3f}], p {difference.p_text}"
    counts = f"better on {difference.better:,}, worse on {difference.worse:,}, equal on {difference.equal:,}"
    return [clip(f"  {sanitize_line(text)}"), f"    {counts}"]


def _format_score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, the first to the left and all others to the right; empty columns are dropped.

    Columns that do not fit into the terminal's width follow below in a second table.
    """
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    cells = [[sanitize_line(row[column], _FIRST_WIDTH if column == 0 else _WIDTH) for column in kept] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(kept))]
    lines: list[str] = []
    start = 1
    while start < len(widths) or not lines:
        end, room = start, WIDTH - 2 - widths[0]
        while end < len(widths) and (room := room - 2 - widths[end]) >= 0:
            end += 1
        columns = [0, *range(start, end)]
        lines += [""] * bool(lines)
        lines += [
            _format_row([row[column] for column in columns], [widths[column] for column in columns]) for row in cells
        ]
        start = end
    return lines


def _format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  " + "  ".join([first, *others]).rstrip()
