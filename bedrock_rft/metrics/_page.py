"""Render metrics as self-contained HTML for notebooks and pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bedrock_rft._core.findings import escape_html
from bedrock_rft.metrics._series import panels
from bedrock_rft.metrics._svg import COLOURS, chart

if TYPE_CHECKING:
    from bedrock_rft.metrics._compare import Comparison

__all__ = ["STYLE", "charts", "fragment"]

_LOST = "<span style='color:#c62828'>&times; not a finite number</span>"

STYLE = """
.rft-run{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-run .p{display:flex;flex-wrap:wrap;gap:.5rem 1rem}
.rft-run figure{margin:0}
.rft-run figcaption{font-weight:600;font-size:13px;padding-left:46px;max-width:280px;overflow-wrap:anywhere}
.rft-run svg{display:block;overflow:visible;fill:none}
.rft-run svg text{fill:currentColor;opacity:.7;font:10px system-ui,sans-serif}
.rft-run svg .g{stroke:currentColor;opacity:.15}
.rft-run svg .c{opacity:.5}.rft-run svg .c line{stroke-dasharray:2 3}
.rft-run svg .r{opacity:.35}.rft-run svg .m{stroke-width:1.8;stroke-linejoin:round}
.rft-run svg .v{stroke-dasharray:4 3;opacity:.6}.rft-run svg .l{stroke-width:1.5}
.rft-run .k{display:flex;flex-wrap:wrap;gap:0 1.2rem;overflow-wrap:anywhere}
"""


def fragment(comparison: Comparison) -> str:
    """Return the charts of one or more jobs, with title and legend."""
    title = escape_html(comparison.title)
    return f"<div class='rft-run'><style>{STYLE}</style><p><b>{title}</b></p>{charts(comparison)}</div>"


def charts(comparison: Comparison) -> str:
    """Return charts and legend, for an element with the class `rft-run`."""
    drawn = panels(comparison.runs)
    if not drawn:
        return "<p>There are no metrics yet.</p>"
    marks = comparison.checkpoints()
    curves = [curve for panel in drawn for curve in panel.curves]
    legend = [
        *(_swatch(COLOURS[place % len(COLOURS)], label) for place, (label, _) in _named(comparison)),
        *(["<span>○ validation</span>"] if any(curve.validation for curve in curves) else []),
        *(["<span>▲ checkpoint</span>"] if marks else []),
        *([_LOST] if any(curve.lost for curve in curves) else []),
    ]
    key = f"<p class='k'>{''.join(legend)}</p>" if legend else ""
    return f"{key}<div class='p'>{''.join(chart(panel, marks) for panel in drawn)}</div>"


def _named(comparison: Comparison) -> Iterable[tuple[int, tuple[str, object]]]:
    return enumerate(comparison.runs) if len(comparison.runs) > 1 else ()


def _swatch(colour: str, label: str) -> str:
    return f"<span><span style='color:{colour}'>━</span> {escape_html(label)}</span>"
