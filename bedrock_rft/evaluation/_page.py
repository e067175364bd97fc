"""An evaluation as a self-contained HTML page without scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bedrock_rft._core.findings import escape_html, standalone_page
from bedrock_rft.evaluation._results import Comparison, EvaluationData, Example, ModelResult

__all__ = ["render_fragment", "render_page"]

_STYLE = """
.rft-eval{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-eval table{border-collapse:collapse;margin:.5rem 0;font:inherit}
.rft-eval th,.rft-eval td{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #8884}
.rft-eval td.n,.rft-eval th.n{text-align:right;font-variant-numeric:tabular-nums}
.rft-eval pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:12px/1.45 ui-monospace,monospace}
.rft-eval .pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
.rft-eval summary{cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.rft-eval summary span{opacity:.65}
.rft-eval details[open]{margin:.3rem 0 1rem}
.rft-eval .error{color:#c62828}.rft-eval .warning{color:#b26a00}.rft-eval .ok{color:#2e7d32}
"""
_BAR_WIDTH, _BAR_HEIGHT = 200, 10
_PREVIEW_CHARACTERS = 90


def render_page(report: EvaluationData) -> str:
    """Return a complete page."""
    return standalone_page(report.title, render_fragment(report))


def render_fragment(report: EvaluationData) -> str:
    """Return the page's content for a notebook cell."""
    facts = "".join(
        f"<tr><th>{escape_html(name)}</th><td>{escape_html(value)}</td></tr>" for name, value in report.facts()
    )
    parts = [
        f"<h2>{escape_html(report.title)}</h2>",
        f"<table class='facts'>{facts}</table>",
        f"<p>An answer passes if its reward is at least {report.pass_mark:g}.</p>",
        _render_findings(report),
        _render_models(report),
        _render_comparisons(report.comparisons),
        _render_parts(report),
        _render_groups(report),
        _render_examples("Better", report.better),
        _render_examples("Worse", report.worse),
    ]
    return f"<div class='rft-eval'><style>{_STYLE}</style>{''.join(parts)}</div>"


def _render_findings(report: EvaluationData) -> str:
    items = "".join(
        f"<li><b class='{finding.level}'>{finding.level}</b> {escape_html(str(finding))}</li>"
        for finding in report.findings
    )
    return f"<ul>{items}</ul>"


def _render_models(report: EvaluationData) -> str:
    models = report.models
    low, high = report.reward_range
    low = min([low, *(model.score.low for model in models if model.answers)])
    high = max([high, *(model.score.high for model in models if model.answers)])
    ks = sorted({k for model in models for k in model.pass_at})
    missing = any(model.failed for model in models)
    head = ["model", "mean", "", *(f"pass@{k}" for k in ks), "answers"]
    head += [*["missing", "mean with missing"] * missing, "tokens in", "tokens out"]
    rows: list[list[str]] = []
    for model in models:
        row = [
            escape_html(model.label),
            _format_score(model.score.value),
            _render_bar(model, low, high) if model.answers else "",
            *(f"{model.pass_at[k]:.1%}" if k in model.pass_at else "" for k in ks),
            f"{model.answers:,}",
        ]
        if missing:
            row += [f"{model.failed:,} ({model.missing_share:.0%})", _format_score(model.score_with_missing.value)]
        rows.append([*row, f"{model.prompt_tokens:,}", f"{model.completion_tokens:,}"])
    return _render_table(head, rows)


def _render_bar(model: ModelResult, lowest: float, highest: float) -> str:
    """Draw a mean with its interval on the reward's scale."""
    scale = _BAR_WIDTH / (highest - lowest)
    low, value, high = ((edge - lowest) * scale for edge in (model.score.low, model.score.value, model.score.high))
    label = f"mean {model.score.value:.3f}, 95 % interval {model.score.low:.3f} to {model.score.high:.3f}"
    middle = _BAR_HEIGHT / 2 + 3
    return (
        f"<svg width='{_BAR_WIDTH}' height='{_BAR_HEIGHT + 6}' role='img' aria-label='{escape_html(label)}'>"
        f"<title>{escape_html(label)}</title>"
        f"<rect x='0' y='3' width='{_BAR_WIDTH}' height='{_BAR_HEIGHT}' fill='#8883'/>"
        f"<rect x='0' y='3' width='{value:.1f}' height='{_BAR_HEIGHT}' fill='#1f77b4'/>"
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='currentColor' stroke-width='2'/>"
        "</svg>"
    )


def _render_comparisons(comparisons: Sequence[Comparison]) -> str:
    rows = [_comparison_row(comparison) for comparison in comparisons]
    head = ["paired difference", "mean", "95 % interval", "p (Holm)", "verdict", "better", "worse", "equal"]
    return f"<h3>Compared</h3>{_render_table(head, rows)}" if rows else ""


def _comparison_row(comparison: Comparison) -> list[str]:
    difference = comparison.difference
    return [
        f"{escape_html(comparison.label)} against {escape_html(comparison.base)}",
        f"{difference.interval.value:+.3f}",
        f"[{difference.interval.low:+.3f}, {difference.interval.high:+.3f}]",
        escape_html(difference.p_text),
        comparison.verdict,
        f"{difference.better:,}",
        f"{difference.worse:,}",
        f"{difference.equal:,}",
    ]


def _render_parts(report: EvaluationData) -> str:
    rows = [
        [escape_html(name), *(f"{model.parts[name]:.3f}" if name in model.parts else "" for model in report.models)]
        for name in report.parts
    ]
    head = ["part", *(escape_html(model.label) for model in report.models)]
    return f"<h3>Parts of the reward</h3>{_render_table(head, rows)}" if rows else ""


def _render_groups(report: EvaluationData) -> str:
    rows = [
        [
            escape_html(group.field),
            escape_html(group.value),
            f"{group.prompts:,}",
            *map(_format_score, group.means.values()),
        ]
        for group in report.groups
    ]
    head = ["field", "value", "prompts", *(escape_html(model.label) for model in report.models)]
    return f"<h3>By field</h3>{_render_table(head, rows)}" if rows else ""


def _render_examples(title: str, examples: Iterable[Example]) -> str:
    items = "".join(_render_example(example, expanded=number == 0) for number, example in enumerate(examples))
    return f"<h3>{title}</h3>{items}" if items else ""


def _render_example(example: Example, *, expanded: bool) -> str:
    sides = "".join(
        f"<div><p><b>{escape_html(label)}</b> mean {average:.3f}, this answer {answer[1]:.3f}</p>"
        f"<pre>{_render_lines(answer[0])}</pre></div>"
        for label, average, answer in (
            (example.label, example.after_mean, example.after),
            (example.base, example.before_mean, example.before),
        )
    )
    return (
        f"<details{' open' * expanded}><summary>prompt {example.index + 1}, {escape_html(example.label)}: "
        f"{example.gain:+.3f} <span>{escape_html(example.prompt[:_PREVIEW_CHARACTERS])}</span></summary>"
        f"<p><b>Prompt</b></p><pre>{_render_lines(example.prompt)}</pre>"
        f"<p><b>Reference</b></p><pre>{_render_lines(example.reference)}</pre>"
        f"<div class='pair'>{sides}</div></details>"
    )


def _format_score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _render_lines(text: str) -> str:
    return "\n".join(escape_html(line) for line in text.split("\n"))


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th{'' if column == 0 else ' class=n'}>{name}</th>" for column, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{'' if column == 0 else ' class=n'}>{cell}</td>" for column, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
