"""What there is to draw: the metrics of runs as named curves, those that belong together in one panel."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedrock_rft.types.events import TrainingMetrics

if TYPE_CHECKING:
    from bedrock_rft.metrics._metrics import Metrics

__all__ = ["KNOWN", "TITLES", "Curve", "Panel", "is_validation", "number", "panels", "smooth", "thinned"]

TITLES = {
    "critic_rewards_mean": "reward",
    "actor_entropy": "entropy (nats)",
    "actor_grad_norm": "gradient norm",
    "response_length_mean": "response length (tokens)",
    "critic_advantages_mean": "advantage",
    "actor_pg_loss": "policy loss",
}
"""What is documented, in the order in which it is looked at, and what it is called for people."""


KNOWN = (*TITLES, *(name for name in TrainingMetrics.model_fields if name not in {*TITLES, "step", "total_steps"}))
"""The metrics that this version has a field for."""

_VALIDATION = re.compile(r"(?:full_)?(?:val|valid|validation|eval|test)(?:[_./-]|$)", re.IGNORECASE)
_FEW = 20  # points that need no smoothing
_SHARE = 12  # of the points in one average
_KIND = re.compile(r"reward|entropy|length")
_DRAWN = 400  # points of a curve, more than a small panel has columns
_LARGEST = 1e300  # what is beyond is drawn as infinite: sums and differences of it would be


@dataclass(frozen=True)
class Curve:
    """One metric of one run.

    Attributes:
        label: what it is called in a legend.
        points: step and value; the value may be NaN or infinite.
        run: the place of its run among those compared.
        validation: whether it was measured on the validation file.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    run: int = 0
    validation: bool = False

    @property
    def finite(self) -> tuple[tuple[float, float], ...]:
        """The points that can be drawn."""
        return tuple(point for point in self.points if abs(point[1]) < _LARGEST)

    @property
    def lost(self) -> tuple[float, ...]:
        """The steps whose value is NaN or infinite."""
        return tuple(step for step, value in self.points if not abs(value) < _LARGEST)


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    title: str
    curves: tuple[Curve, ...]


def is_validation(name: str) -> bool:
    """Whether a metric is one of the validation file. The service's names are not documented: they go by prefix."""
    return _VALIDATION.match(name) is not None


def number(value: object) -> float | None:
    """A value as a number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def panels(runs: Sequence[tuple[str, Metrics]]) -> tuple[Panel, ...]:
    """What to draw of runs, with what each is called: a panel for each metric that any of them has."""
    found: dict[str, list[Curve]] = {}
    for place, (label, run) in enumerate(runs):
        training = [name for name in run.names if not is_validation(name)]
        for name in run.names:
            points = run.series(name)
            if not points:  # its steps have no number, while others have
                continue
            validation = is_validation(name)
            home = _home(name, training) if validation else name
            called = label if len(runs) > 1 else "validation" if validation else "training"
            found.setdefault(home, []).append(Curve(called, points, place, validation))
    ordered = sorted(found, key=lambda name: list(TITLES).index(name) if name in TITLES else len(TITLES))
    return tuple(Panel(TITLES.get(name, name), tuple(found[name])) for name in ordered)


def _home(name: str, training: Sequence[str]) -> str:
    """The training metric that a validation metric is drawn with; itself where there is none of its kind."""
    bare = _VALIDATION.sub("", name, count=1)
    for other in training:
        if bare and (other == bare or other.endswith(f"_{bare}")):
            return other
    kind = _KIND.search(bare)
    return next((other for other in training if kind is not None and other in TITLES and kind.group() in other), name)


def smooth(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """A moving average about each point, of a twelfth of them; nothing where there are too few to need one."""
    if len(points) < _FEW:
        return ()
    half = max(1, len(points) // _SHARE // 2)
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    drawn: list[tuple[float, float]] = []
    for place, (step, _) in enumerate(points):
        start, stop = max(0, place - half), min(len(points), place + half + 1)
        drawn.append((step, (sums[stop] - sums[start]) / (stop - start)))
    return tuple(drawn)


def thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """As many points as can be told apart: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= _DRAWN:
        return tuple(points)
    size = -(-len(points) // (_DRAWN // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=operator.itemgetter(1)), max(stretch, key=operator.itemgetter(1))}
        kept += sorted(ends)
    return tuple(kept)
