"""Render metrics as self-contained HTML with inline SVG, for light and dark notebooks and pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bedrock_rft._core.findings import escape_html
from bedrock_rft.metrics._series import COLOURS, Curve, Panel, Run, checkpoint_steps, extent, panels, smooth, thin

_WIDTH, _HEIGHT = 280, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 22
_MANY_TICKS = 4

_NOT_FINITE = "<span style='color:#d83a36'>&times; not a finite number</span>"

STYLE = """
.rft-run{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-run .p{display:flex;flex-wrap:wrap;gap:.5rem 1rem}
.rft-run figure{margin:0;flex:none;width:280px}
.rft-run figcaption{font-weight:600;font-size:13px;padding-left:46px;overflow-wrap:anywhere}
.rft-run svg{display:block;max-width:none;overflow:visible;fill:none}
.rft-run svg text{fill:currentColor;opacity:.7;font:10px system-ui,sans-serif}
.rft-run svg .g{stroke:currentColor;opacity:.15}
.rft-run svg .c{opacity:.5}.rft-run svg .c line{stroke-dasharray:2 3}
.rft-run svg .r{opacity:.35}.rft-run svg .m{stroke-width:1.8;stroke-linejoin:round}
.rft-run svg .v{stroke-dasharray:4 3;opacity:.6}.rft-run svg .l{stroke-width:1.5}
.rft-run .k{display:flex;flex-wrap:wrap;gap:0 1.2rem;overflow-wrap:anywhere}
"""


def fragment(title: str, runs: Sequence[tuple[str, Run]]) -> str:
    """Return the charts of labelled jobs, with title and legend."""
    heading = f"<p><b>{escape_html(title)}</b></p>"
    return f"<div class='rft-run'><style>{STYLE}</style>{heading}{charts(runs)}</div>"


def charts(runs: Sequence[tuple[str, Run]]) -> str:
    """Return charts and legend of labelled jobs, for an element with the class `rft-run`."""
    drawn = panels(runs)
    if not drawn:
        return "<p>There are no metrics yet.</p>"
    checkpoints = checkpoint_steps(runs)
    curves = [curve for panel in drawn for curve in panel.curves]
    labels = [label for label, _ in runs] if len(runs) > 1 else []
    legend = [
        *(
            f"<span><span style='color:{COLOURS[place % len(COLOURS)]}'>━</span> {escape_html(label)}</span>"
            for place, label in enumerate(labels)
        ),
        *(["<span>○ validation</span>"] if any(curve.validation for curve in curves) else []),
        *(["<span>▲ checkpoint</span>"] if checkpoints else []),
        *([_NOT_FINITE] if any(curve.not_finite_steps for curve in curves) else []),
    ]
    key = f"<p class='k'>{''.join(legend)}</p>" if legend else ""
    return f"{key}<div class='p'>{''.join(_chart(panel, checkpoints) for panel in drawn)}</div>"


def _chart(panel: Panel, checkpoints: Iterable[tuple[int, int]]) -> str:
    """Return one panel as SVG."""
    scale = _Scale.for_curves(panel.curves)
    several = len({curve.run for curve in panel.curves}) > 1
    shapes = [_grid(scale), *(_checkpoint_mark(scale, run, step, line=not several) for run, step in checkpoints)]
    shapes += [_curve(scale, curve, len(panel.curves)) for curve in panel.curves]
    title = escape_html(panel.title)
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{title}'>"
        f"{''.join(shapes)}</svg></figure>"
    )


class _Scale:
    """Map steps and values to positions in a panel."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        room = (high / 20 - low / 20) or abs(high) / 10 or 1.0
        self.low, self.high = low - room, high + room
        self.first, self.last = first, last if last > first else first + max(1.0, abs(first))

    @classmethod
    def for_curves(cls, curves: Sequence[Curve]) -> _Scale:
        steps = [step for curve in curves for step, _ in curve.points]
        values = [value for curve in curves for _, value in curve.finite_points]
        return cls(min(steps), max(steps), *(extent(values) or (0.0, 1.0)))

    def x(self, step: float) -> float:
        return _LEFT + (step - self.first) / (self.last - self.first) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        # Use halves, because the range of very large values overflows.
        return _TOP + (self.high / 2 - value / 2) / (self.high / 2 - self.low / 2) * (_HEIGHT - _TOP - _BOTTOM)


def _grid(scale: _Scale) -> str:
    lines = [
        f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{scale.y(at):.1f}' y2='{scale.y(at):.1f}' class='g'/>"
        f"<text x='{_LEFT - 5}' y='{scale.y(at) + 3.5:.1f}' text-anchor='end'>{at:.4g}</text>"
        for at in ticks(scale.low, scale.high)
    ]
    floor = _HEIGHT - _BOTTOM
    for at, anchor in ((scale.first, "start"), (scale.last, "end")):
        lines.append(f"<text x='{scale.x(at):.1f}' y='{floor + 15}' text-anchor='{anchor}'>{at:,.0f}</text>")
    lines.append(f"<text x='{(_LEFT + _WIDTH - _RIGHT) / 2}' y='{floor + 15}' text-anchor='middle'>step</text>")
    return "".join(lines)


def _checkpoint_mark(scale: _Scale, run: int, step: int, *, line: bool) -> str:
    if not scale.first <= step <= scale.last:
        return ""
    x, floor, colour = scale.x(step), _HEIGHT - _BOTTOM, COLOURS[run % len(COLOURS)]
    line_svg = f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{floor}' stroke='{colour}'/>" if line else ""
    return (
        f"<g class='c'><title>checkpoint at step {step:,}</title>{line_svg}"
        f"<path d='M{x:.1f} {floor - 6}l4 6h-8z' fill='{colour}'/></g>"
    )


def _curve(scale: _Scale, curve: Curve, curve_count: int) -> str:
    colour = COLOURS[curve.run % len(COLOURS)]
    label = escape_html(curve.label)
    marks = "".join(
        f"<path d='M{scale.x(step) - 3:.1f} {_TOP - 3}l6 6m0 -6l-6 6' stroke='#c62828' class='l'>"
        f"<title>{label}: not a finite number at step {step:,.0f}</title></path>"
        for step in curve.not_finite_steps
    )
    points = thin(curve.finite_points)
    if curve.validation:
        dots = "".join(_dot(scale, step, value, colour, label) for step, value in points)
        return f"<g><polyline points='{_path(scale, points)}' stroke='{colour}' class='v'/>{dots}{marks}</g>"
    smoothed = thin(smooth(curve.finite_points))
    if len(points) == 1:
        return f"<g>{_dot(scale, *points[0], colour, label)}{marks}</g>"
    raw = f"<polyline points='{_path(scale, points)}' stroke='{colour}' class='{'r' if smoothed else 'm'}'/>"
    smooth_line = f"<polyline points='{_path(scale, smoothed)}' stroke='{colour}' class='m'/>" if smoothed else ""
    title = f"<title>{label}</title>" if curve_count > 1 else ""
    return f"<g>{title}{raw}{smooth_line}{marks}</g>"


def _dot(scale: _Scale, step: float, value: float, colour: str, label: str) -> str:
    return (
        f"<circle cx='{scale.x(step):.1f}' cy='{scale.y(value):.1f}' r='2.5' fill='none' stroke='{colour}'>"
        f"<title>{label}: {value:.4g} at step {step:,.0f}</title></circle>"
    )


def _path(scale: _Scale, points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{scale.x(step):.1f},{scale.y(value):.1f}" for step, value in points)


def ticks(low: float, high: float) -> list[float]:
    """Return two to five round tick values between two bounds."""
    span = high / _MANY_TICKS - low / _MANY_TICKS
    if not span > 0:
        return []
    power = 10.0 ** math.floor(math.log10(span))
    size = next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= span), 10.0 * power)
    first = math.ceil(low / size)
    values = (place * size for place in range(first, math.floor(high / size) + 1))
    # If the bounds differ only by rounding, a round value may lie outside.
    return list(dict.fromkeys(min(max(at, low), high) for at in values))
