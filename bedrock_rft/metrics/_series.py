"""Series to plot: metrics as curves, grouped in panels."""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

COLOURS = ("#2f7fc1", "#d9730d", "#2e9e5b", "#c2379b", "#8f6fd6", "#9a7b1f", "#1fa3a3", "#c94a4a")
"""Distinguishable with most colour-vision deficiencies, on light and dark pages."""

ROUNDING = 1e-9
"""Tolerances for rounding: absolute for means of 0, relative for other means."""

TITLES = {
    "critic_rewards_mean": "reward",
    "actor_entropy": "entropy (nats)",
    "actor_grad_norm": "gradient norm",
    "response_length_mean": "response length (tokens)",
    "critic_advantages_mean": "advantage",
    "actor_pg_loss": "policy loss",
}
"""Documented metrics in display order, with their titles."""


KNOWN = (*TITLES, *(name for name in TrainingMetrics.model_fields if name not in {*TITLES, "step", "total_steps"}))
"""Metrics that `TrainingMetrics` has a field for."""

_OPTIONAL_PANELS = {"critic_advantages_mean", "actor_pg_loss"}
"""Metrics that are always 0 with some trainers. Their panels are left out if all values are 0."""

_VALIDATION = re.compile(r"(?:full_)?(?:val|valid|validation|eval|test)(?:[_./-]|$)", re.IGNORECASE)
_MIN_SMOOTHED = 20  # curves with fewer points are not smoothed
_SMOOTHED_SHARE = 12  # a moving average covers one twelfth of the points
_KIND = re.compile(r"reward|entropy|length")
_MAX_DRAWN = 400  # maximum number of points of a curve; a panel has fewer columns
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-~=+*#"
_NOT_FINITE = "!"
_LARGEST = 1e300  # larger values are treated as infinite, because their sums would overflow


class Run(Protocol):
    """Metrics of one job, as plots and health checks read them; see `Metrics`."""

    @property
    def job(self) -> Job | None: ...

    @property
    def name(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def total_steps(self) -> int | None: ...

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]: ...

    def series(self, name: str) -> tuple[tuple[float, float], ...]: ...


@dataclass(frozen=True)
class Curve:
    """One metric of the `run`-th job, as pairs of step and value. Values may be NaN or infinite."""

    label: str
    points: tuple[tuple[float, float], ...]
    run: int = 0
    validation: bool = False

    @property
    def finite_points(self) -> tuple[tuple[float, float], ...]:
        """Return the points with finite values."""
        return tuple(point for point in self.points if abs(point[1]) < _LARGEST)

    @property
    def not_finite_steps(self) -> tuple[float, ...]:
        """Return the steps whose value is NaN or infinite."""
        return tuple(step for step, value in self.points if not abs(value) < _LARGEST)


@dataclass(frozen=True)
class Panel:
    """Curves that share axes."""

    title: str
    curves: tuple[Curve, ...]


def is_validation(name: str) -> bool:
    """Check if a metric belongs to the validation file: by a prefix, because the names are not documented."""
    return _VALIDATION.match(name) is not None


def number(value: object) -> float | None:
    """Return a value as a float, or None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def extent(values: Iterable[float]) -> tuple[float, float] | None:
    """Return the minimum and maximum of finite values, equal if they differ by rounding only; None without values."""
    numbers = list(values)
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    size = max(abs(low), abs(high))
    if size <= ROUNDING:
        return 0.0, 0.0
    # Use halves, because the range of very large values overflows.
    if high / 2 - low / 2 <= ROUNDING * size / 2:
        return high, high
    return low, high


def panels(runs: Sequence[tuple[str, Run]]) -> tuple[Panel, ...]:
    """Return one panel for each metric that any of the jobs has, with labelled curves."""
    curves: dict[str, list[Curve]] = {}
    for index, (label, run) in enumerate(runs):
        training = [name for name in run.names if not is_validation(name)]
        for name in run.names:
            validation = is_validation(name)
            shown = label if len(runs) > 1 else "validation" if validation else "training"
            if points := run.series(name):
                panel = _panel_name(name, training) if validation else name
                curves.setdefault(panel, []).append(Curve(shown, points, index, validation))
    for name in _OPTIONAL_PANELS & curves.keys():
        if all(abs(value) < ROUNDING for curve in curves[name] for _, value in curve.points):
            del curves[name]
    ordered = [*(name for name in TITLES if name in curves), *(name for name in curves if name not in TITLES)]
    return tuple(Panel(TITLES.get(name, name), tuple(curves[name])) for name in ordered)


def checkpoint_steps(runs: Sequence[tuple[str, Run]]) -> tuple[tuple[int, int], ...]:
    """Return the checkpoints of all jobs as pairs of a job's index and a step."""
    steps = ((index, one.step_number) for index, (_, run) in enumerate(runs) for one in run.checkpoints)
    return tuple((index, step) for index, step in steps if step is not None)


def _panel_name(name: str, training: Sequence[str]) -> str:
    """Return the training metric that shares a panel with a validation metric, or its own name."""
    name_without_prefix = _VALIDATION.sub("", name, count=1)
    for other in training:
        if name_without_prefix and (other == name_without_prefix or other.endswith(f"_{name_without_prefix}")):
            return other
    kind = _KIND.search(name_without_prefix)
    return next((other for other in training if kind is not None and other in TITLES and kind.group() in other), name)


def smooth(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return a centred moving average, or no points if there are too few to smooth."""
    if len(points) < _MIN_SMOOTHED:
        return ()
    half = max(1, len(points) // _SMOOTHED_SHARE // 2)
    sums = list(itertools.accumulate((value for _, value in points), initial=0.0))
    smoothed: list[tuple[float, float]] = []
    for place, (step, _) in enumerate(points):
        start, stop = max(0, place - half), min(len(points), place + half + 1)
        smoothed.append((step, (sums[stop] - sums[start]) / (stop - start)))
    return tuple(smoothed)


def thin(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Reduce points, keeping the minimum and maximum of each part, so that spikes stay."""
    if len(points) <= _MAX_DRAWN:
        return tuple(points)
    size = -(-len(points) // (_MAX_DRAWN // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=operator.itemgetter(1)), max(stretch, key=operator.itemgetter(1))}
        kept += sorted(ends)
    return tuple(kept)


def sparkline(values: Sequence[float], width: int, *, unicode: bool = True) -> str:
    """Return values as bars, each a mean if there are more values than columns. NaN and infinity are `!`."""
    shades = _BARS if unicode else _PLAIN
    finite = [value for value in values if math.isfinite(value)]
    low, high = extent(finite) or (0.0, 0.0)
    span = high / 2 - low / 2  # halves, because the range of very large values overflows
    count = min(len(values), width)
    edges = [len(values) * index // count for index in range(count + 1)] if count else []
    bars: list[str] = []
    for start, stop in itertools.pairwise(edges):
        mean = sum(value / (stop - start) for value in values[start:stop])
        if not math.isfinite(mean):
            bars.append(_NOT_FINITE)
        elif not span:
            bars.append(shades[len(shades) // 2 - 1])
        else:
            height = int((mean / 2 - low / 2) / span * len(shades))
            bars.append(shades[min(len(shades) - 1, max(0, height))])
    return "".join(bars)
