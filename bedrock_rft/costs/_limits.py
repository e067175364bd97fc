"""Time and cost limits of a job that is watched."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bedrock_rft._core.findings import Finding
from bedrock_rft.costs._job_cost import Cost
from bedrock_rft.costs._ranges import Range
from bedrock_rft.errors import ConfigurationError

_NEAR = 0.8
_JITTER = 1e-6  # of floating-point products: 0.29 * 100 is less than 29


class CostLimits:
    """Limits for the time since a job was created, and for its price. Each is reported at 80 % and at 100 %, once."""

    def __init__(self, max_cost: float | None, max_hours: float | None, on_limit: str) -> None:
        if on_limit not in ("warn", "cancel"):
            raise ConfigurationError("on_limit must be 'warn' or 'cancel'.")
        if on_limit == "cancel" and max_cost is None and max_hours is None:
            raise ConfigurationError("on_limit='cancel' needs a limit: max_cost=… or max_hours=….")
        self._max_cost = Range.of(max_cost, "max_cost").low if max_cost is not None else None
        self._max_hours = Range.of(max_hours, "max_hours").low if max_hours is not None else None
        self._reported: set[str] = set()
        self.cancels = on_limit == "cancel"
        self.reached = False

    @property
    def any(self) -> bool:
        """Return True if there is a limit."""
        return self._max_cost is not None or self._max_hours is not None

    def check(self, cost: Cost) -> Sequence[Finding]:
        """Return the findings that were not returned before, and set `reached`."""
        new: list[Finding] = []
        pairs = (
            ("cost", cost.metered, self._max_cost, cost.currency),
            ("hours", cost.elapsed, self._max_hours, "hours"),
        )
        for name, value, limit, unit in pairs:
            if limit is None:
                continue
            if value is None:
                summary = f"The limit of {limit:,.15g} {unit} cannot be checked"
                new.append(Finding("warning", f"{name}_unknown", summary, cost.basis[0]))
            elif value >= limit:
                self.reached = True
                new.append(_finding("reached", name, value, limit, unit, cost.note, cancels=self.cancels))
            elif value >= _NEAR * limit:
                new.append(_finding("near", name, value, limit, unit, cost.note, cancels=self.cancels))
        fresh = [finding for finding in new if finding.code not in self._reported]
        self._reported |= {finding.code for finding in fresh}
        return fresh


def _finding(state: str, name: str, value: float, limit: float, unit: str, note: str, *, cancels: bool) -> Finding:
    used = f"{_floor(value)} of {limit:,.15g} {unit}, counted from the creation of the job and without rounding"
    used += f"; {note}" if note and name == "cost" else ""
    if state == "reached":
        end = "The job is being cancelled" if cancels else "The job continues. A cancelled job cannot be resumed"
        return Finding("error", f"{name}_limit", f"The limit of {limit:,.15g} {unit} is reached", used, end)
    later = "At the limit the job is cancelled" if cancels else "The job is not cancelled at the limit"
    return Finding(
        "warning", f"{name}_near_limit", f"80 % of the limit of {limit:,.15g} {unit} is reached", used, later
    )


def _floor(value: float) -> str:
    """Write a value with two decimals, or with three digits if it is less than 1, never rounded up to a limit."""
    digits = 2 if value >= 1 or value <= 0 else 2 - math.floor(math.log10(value))
    return f"{math.floor(value * 10**digits + _JITTER) / 10**digits:,.{digits}f}"
