"""Metrics of a job: series, tables, plots, comparison, health and live views.

`client.jobs.metrics(job)` returns `Metrics`; `compare` lays several over one another. Nothing here opens a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft.metrics._live import Style
    from bedrock_rft.metrics._metrics import Comparison, Gain, Gains, Metrics, compare
    from bedrock_rft.metrics._record import RunRecord
    from bedrock_rft.metrics._selection import RankedCheckpoint
    from bedrock_rft.metrics._sweep import Sweep, Trial
    from bedrock_rft.metrics._thresholds import Thresholds

__all__ = [
    "Comparison",
    "Gain",
    "Gains",
    "Metrics",
    "RankedCheckpoint",
    "RunRecord",
    "Style",
    "Sweep",
    "Thresholds",
    "Trial",
    "compare",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_live": ("Style",),
        "_metrics": ("Comparison", "Gain", "Gains", "Metrics", "compare"),
        "_record": ("RunRecord",),
        "_selection": ("RankedCheckpoint",),
        "_sweep": ("Sweep", "Trial"),
        "_thresholds": ("Thresholds",),
    },
)
