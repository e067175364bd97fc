"""Draw panels with matplotlib."""

# Keyword arguments of matplotlib are not annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.metrics._series import COLOURS, Panel, Run, checkpoint_steps, extent, panels, smooth

_MAX_COLUMNS = 3
_NOT_FINITE_COLOUR = "#c62828"


class _NotebookFigure(Figure):
    """Figure that a notebook displays exactly once, with or without pyplot."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        return png.getvalue()


def figure(title: str, runs: Sequence[tuple[str, Run]]) -> Figure:
    """Draw the metrics of labelled jobs, in panels in three columns."""
    drawn, checkpoints = panels(runs), checkpoint_steps(runs)
    column_count = max(1, min(_MAX_COLUMNS, len(drawn)))
    row_count = max(1, math.ceil(len(drawn) / column_count))
    drawing = _NotebookFigure(figsize=(4.0 * column_count, 2.5 * row_count + 0.9), layout="constrained")
    # Escape dollar signs in names, which matplotlib would parse as mathematics.
    drawing.suptitle(sanitize_line(title, 120), fontsize=12, fontweight="bold", parse_math=False)
    grid = drawing.subplots(row_count, column_count, squeeze=False)
    axes = [axis for row in grid for axis in row]
    for axis, panel in zip(axes, drawn, strict=False):
        _draw(axis, panel, checkpoints)
    for axis in axes[: len(drawn)][-column_count:]:
        axis.set_xlabel("step", fontsize=9)
    for axis in axes[len(drawn) :]:
        axis.set_axis_off()
    if not drawn:
        axes[0].text(0.5, 0.5, "no metrics yet", ha="center", va="center")
    _add_legend(drawing, drawn, checkpoints)
    return drawing


def _draw(axis: Axes, panel: Panel, checkpoints: Sequence[tuple[int, int]]) -> None:
    steps = [step for curve in panel.curves for step, _ in curve.points]
    several = len({curve.run for curve in panel.curves}) > 1
    edge: Any = {"transform": axis.get_xaxis_transform(), "clip_on": False}  # marks on the edge of the panel
    for run, saved in checkpoints:
        if min(steps) <= saved <= max(steps):
            if not several:
                axis.axvline(saved, color=_colour(run), linewidth=0.8, linestyle=":", alpha=0.7)
            axis.plot(saved, 0, marker="^", color=_colour(run), markersize=5, **edge)
    for curve in panel.curves:
        style: Any = {"color": _colour(curve.run), "linewidth": 1}
        points = curve.finite_points
        smoothed = smooth(points)
        if curve.validation:
            dots: Any = {"linestyle": "--", "marker": "o", "markersize": 4, "markerfacecolor": "none", "alpha": 0.8}
            axis.plot(*_split_points(points), **style, **dots)
        else:
            axis.plot(
                *_split_points(points), alpha=0.35 if smoothed else 1.0, marker="o" if len(points) == 1 else "", **style
            )
            axis.plot(*_split_points(smoothed), **style | {"linewidth": 1.8})
        for step in curve.not_finite_steps:
            axis.plot(step, 1, marker="x", color=_NOT_FINITE_COLOUR, markersize=6, **edge)
    low, high = extent(value for curve in panel.curves for _, value in curve.finite_points) or (0.0, 1.0)
    if low == high:  # otherwise matplotlib would scale up rounding errors
        margin = abs(high) / 10 or 1.0
        axis.set_ylim(low - margin, high + margin)
    axis.set_title(sanitize_line(panel.title, 60), fontsize=10, parse_math=False)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _colour(run: int) -> str:
    return COLOURS[run % len(COLOURS)]


def _split_points(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _add_legend(drawing: Figure, drawn: Sequence[Panel], checkpoints: Sequence[tuple[int, int]]) -> None:
    curves = [curve for panel in drawn for curve in panel.curves]
    names = {curve.run: curve.label for curve in curves if not curve.validation}
    entries = [
        (Line2D([], [], color=_colour(run), linewidth=1.8), sanitize_line(label, 60))
        for run, label in (names.items() if len({curve.run for curve in curves}) > 1 else ())
    ]
    if any(curve.validation for curve in curves):
        entries.append((Line2D([], [], color="grey", linestyle="--", marker="o", markerfacecolor="none"), "validation"))
    if checkpoints:
        entries.append((Line2D([], [], color="grey", linestyle=":", marker="^"), "checkpoint"))
    if any(curve.not_finite_steps for curve in curves):
        entries.append((Line2D([], [], color=_NOT_FINITE_COLOUR, linestyle="", marker="x"), "not a finite number"))
    if entries:
        lines, labels = zip(*entries, strict=True)
        placed: Any = {"loc": "outside lower center", "ncols": min(4, len(entries)), "fontsize": 9, "frameon": False}
        legend = drawing.legend(lines, labels, **placed)
        for text in legend.get_texts():
            text.set_parse_math(False)
