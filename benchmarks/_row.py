"""One row of the table: the values of two sides, their ratio or difference, and the target."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["ms", "MB"]

HEAD = f"{'benchmark':<17}{'ours':>10}{'peer':>12}   {'figure (min..max)':<24}{'target':>9}  met"


@dataclass(frozen=True)
class Row:
    """The rounds of a benchmark.

    Attributes:
        name: what was measured.
        unit: of both sides.
        ours: one value for each round.
        peer: values of the other side; None if it has none.
        figure: `ratio` ours by peer, `over` ours less peer, `ours` alone.
        target: what the median of the figures may be at most.
        why: the text to print instead of a missing peer.
    """

    name: str
    unit: Unit
    ours: list[float]
    peer: list[float] | None
    figure: Literal["ratio", "over", "ours"]
    target: float
    why: str = "missing"

    @property
    def figures(self) -> list[float]:
        """Return one figure for each round."""
        if self.figure == "ours":
            return self.ours
        pairs = list(zip(self.ours, self.peer or [], strict=False))
        return [ours / peer if self.figure == "ratio" else ours - peer for ours, peer in pairs]

    @property
    def met(self) -> bool | None:
        """Return whether the target is met, or None if there is no ratio."""
        return statistics.median(self.figures) <= self.target if self.figures else None

    def __str__(self) -> str:
        peer = self._value(statistics.median(self.peer)) if self.peer else self.why
        met = {True: "yes", False: "NO", None: "-"}[self.met]
        return (
            f"{self.name:<17}{self._value(statistics.median(self.ours)):>10}{peer:>12}   {self._spread():<24}"
            f"{self._shown(self.target):>9}  {met}"
        )

    def _spread(self) -> str:
        found = self.figures
        if not found:
            return "-"
        low, high = (self._shown(edge(found)).removesuffix(self.unit).rstrip() for edge in (min, max))
        return f"{self._shown(statistics.median(found))} ({low}..{high})"

    def _shown(self, figure: float) -> str:
        if self.figure == "ratio":
            return f"{figure:.2f}"
        return ("+" if self.figure == "over" and figure >= 0 else "") + self._value(figure)

    def _value(self, value: float) -> str:
        return f"{value:.{2 if abs(value) < 10 else 0}f} {self.unit}"  # noqa: PLR2004 - three digits are enough

    def as_json(self) -> dict[str, Any]:
        """Return a line of JSON with every round."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer,
            "figure": self.figure,
            "median": statistics.median(self.figures) if self.figures else None,
            "min": min(self.figures, default=None),
            "max": max(self.figures, default=None),
            "target": self.target,
            "met": self.met,
        }
