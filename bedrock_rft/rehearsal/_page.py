"""A rehearsal as a page: it stands alone, runs no script and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable

from bedrock_rft._core.findings import Finding, escape_html, standalone_page
from bedrock_rft.evaluation._page import render_fragment as evaluated
from bedrock_rft.metrics import compare
from bedrock_rft.metrics._page import STYLE as CHARTS
from bedrock_rft.metrics._page import charts
from bedrock_rft.rehearsal._report import Rehearsal

__all__ = ["fragment", "page"]

_STYLE = """
.rft-rehearsal{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-rehearsal .n{border-left:3px solid #d9730d;padding:.3rem .8rem;margin:.6rem 0}
.rft-rehearsal table{border-collapse:collapse;margin:.5rem 0;font:inherit}
.rft-rehearsal th,.rft-rehearsal td{padding:.15rem 1rem .15rem 0;text-align:left;vertical-align:top}
.rft-rehearsal th{font-weight:600;white-space:nowrap}
.rft-rehearsal li{margin:.25rem 0;overflow-wrap:anywhere}
.rft-rehearsal summary{cursor:pointer}
.rft-rehearsal .error{color:#d03b3b}.rft-rehearsal .warning{color:#b87000}
.rft-rehearsal .ok{color:#2e9e5b}.rft-rehearsal .unknown{opacity:.7}
"""


def page(report: Rehearsal) -> str:
    """The whole page."""
    return standalone_page(report.title, fragment(report))


def fragment(report: Rehearsal) -> str:
    """The same for a notebook's cell."""
    # The curve is drawn below.
    facts = [(name, value) for name, value in report.facts() if name != "rehearsal"]
    rows = "".join(f"<tr><th>{escape_html(name)}</th><td>{escape_html(value)}</td></tr>" for name, value in facts)
    first, rest = report.first, report.findings[len(report.first) :]
    parts = [
        f"<h2>{escape_html(report.title)}: {escape_html(report.verdict)}</h2>",
        f"<p class='n'>{escape_html(report.notice)}</p>",
        f"<h3>Mend first</h3><ol>{_items(first)}</ol>" if first else "",
        f"<table>{rows}</table>",
        f"<ul>{_items(rest)}</ul>" if rest else "",
        _curves(report),
        _base(report),
    ]
    return f"<div class='rft-rehearsal'><style>{_STYLE}</style>{''.join(parts)}</div>"


def _items(findings: Iterable[Finding]) -> str:
    return "".join(f"<li><b class='{one.level}'>{one.level}</b> {escape_html(str(one))}</li>" for one in findings)


def _curves(report: Rehearsal) -> str:
    if report.metrics is None or report.curve is None:
        return ""
    on = f" on {report.rehearsed:,} of {report.records:,} records" if report.rehearsed < report.records else ""
    drawn = charts(compare(report.metrics))
    title = f"<h3>The rehearsed job{on}</h3>"
    return f"{title}<div class='rft-run'><style>{CHARTS}</style>{drawn}</div>"


def _base(report: Rehearsal) -> str:
    if report.evaluation is None:
        return ""
    return f"<details><summary>The base model's answers</summary>{evaluated(report.evaluation)}</details>"
