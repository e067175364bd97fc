"""An evaluation as a page: it stands alone, runs no script and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bedrock_rft._core.findings import escape_html, standalone_page
from bedrock_rft.evaluation._report import Evaluation, Example, ModelResult, figure

__all__ = ["fragment", "page"]

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
_WIDTH, _BAR = 200, 10
_GLIMPSE = 90


def page(report: Evaluation) -> str:
    """The whole page."""
    return standalone_page(report.title, fragment(report))


def fragment(report: Evaluation) -> str:
    """The same for a notebook's cell."""
    parts = [
        f"<h2>{escape_html(report.title)}</h2>",
        f"<p>Scored by <code>{escape_html(report.reward)}</code>; an answer passes from {report.pass_mark:g} on.</p>",
        _findings(report),
        _models(report.models),
        _comparisons(report),
        _parts(report),
        _groups(report),
        _examples("Better", report.better),
        _examples("Worse", report.worse),
    ]
    return f"<div class='rft-eval'><style>{_STYLE}</style>{''.join(parts)}</div>"


def _findings(report: Evaluation) -> str:
    items = "".join(
        f"<li><b class='{finding.level}'>{finding.level}</b> {escape_html(str(finding))}</li>"
        for finding in report.findings
    )
    return f"<ul>{items}</ul>"


def _models(models: Sequence[ModelResult]) -> str:
    ks = sorted({k for one in models for k in one.pass_at})
    failed = any(one.failed for one in models)
    head = ["model", "mean", "", *(f"pass@{k}" for k in ks), "answers", *["failed"] * failed, "tokens in", "tokens out"]
    rows = [
        [
            escape_html(one.label),
            figure(one.score.value),
            _bar(one) if one.answers else "",
            *(f"{one.pass_at[k]:.1%}" if k in one.pass_at else "" for k in ks),
            f"{one.answers:,}",
            *[f"{one.failed:,}"] * failed,
            f"{one.prompt_tokens:,}",
            f"{one.completion_tokens:,}",
        ]
        for one in models
    ]
    return _table(head, rows)


def _bar(one: ModelResult) -> str:
    """A mean with its interval, between 0 and 1."""
    low, value, high = (min(1.0, max(0.0, edge)) * _WIDTH for edge in (one.score.low, one.score.value, one.score.high))
    label = f"mean {one.score.value:.3f}, 95 % interval {one.score.low:.3f} to {one.score.high:.3f}"
    middle = _BAR / 2 + 3
    return (
        f"<svg width='{_WIDTH}' height='{_BAR + 6}' role='img' aria-label='{escape_html(label)}'>"
        f"<title>{escape_html(label)}</title>"
        f"<rect x='0' y='3' width='{_WIDTH}' height='{_BAR}' fill='#8883'/>"
        f"<rect x='0' y='3' width='{value:.1f}' height='{_BAR}' fill='#1f77b4'/>"
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='currentColor' stroke-width='2'/>"
        "</svg>"
    )


def _comparisons(report: Evaluation) -> str:
    rows = [
        [
            f"{escape_html(one.label)} against {escape_html(one.base)}",
            f"{one.difference.interval.value:+.3f}",
            f"[{one.difference.interval.low:+.3f}, {one.difference.interval.high:+.3f}]",
            escape_html(one.difference.said),
            f"{one.difference.better:,}",
            f"{one.difference.worse:,}",
            f"{one.difference.equal:,}",
        ]
        for one in report.comparisons
    ]
    head = ["paired difference", "mean", "95 % interval", "p", "better", "worse", "equal"]
    return f"<h3>Compared</h3>{_table(head, rows)}" if rows else ""


def _parts(report: Evaluation) -> str:
    rows = [
        [escape_html(name), *(f"{one.parts[name]:.3f}" if name in one.parts else "" for one in report.models)]
        for name in report.parts
    ]
    head = ["part", *(escape_html(one.label) for one in report.models)]
    return f"<h3>Parts of the reward</h3>{_table(head, rows)}" if rows else ""


def _groups(report: Evaluation) -> str:
    rows = [
        [escape_html(one.field), escape_html(one.value), f"{one.prompts:,}", *map(figure, one.means.values())]
        for one in report.groups
    ]
    head = ["field", "value", "prompts", *(escape_html(one.label) for one in report.models)]
    return f"<h3>By field</h3>{_table(head, rows)}" if rows else ""


def _examples(title: str, examples: Iterable[Example]) -> str:
    shown = "".join(
        f"<details{' open' * (place == 0)}><summary>prompt {one.index + 1}, {escape_html(one.label)}: {one.gain:+.3f}"
        f" <span>{escape_html(one.prompt[:_GLIMPSE])}</span></summary>"
        f"<p><b>Prompt</b></p><pre>{_lines(one.prompt)}</pre>"
        f"<p><b>Reference</b></p><pre>{_lines(one.reference)}</pre>"
        f"<div class='pair'><div><p><b>{escape_html(one.base)}</b> {one.before[1]:.3f}</p>"
        f"<pre>{_lines(one.before[0])}</pre></div>"
        f"<div><p><b>{escape_html(one.label)}</b> {one.after[1]:.3f}</p><pre>{_lines(one.after[0])}</pre></div></div>"
        "</details>"
        for place, one in enumerate(examples)
    )
    return f"<h3>{title}</h3>{shown}" if shown else ""


def _lines(text: str) -> str:
    return "\n".join(escape_html(line) for line in text.split("\n"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th{'' if place == 0 else ' class=n'}>{name}</th>" for place, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{'' if place == 0 else ' class=n'}>{cell}</td>" for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
