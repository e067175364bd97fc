"""Metrics of a job: series, tables, plots, comparison, health and live views.

`client.jobs.metrics(job)` returns `Metrics`; `compare` lays several over one another. Nothing here opens a socket.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.metrics._compare import Comparison, compare
    from bedrock_rft.metrics._live import Style
    from bedrock_rft.metrics._metrics import Metrics
    from bedrock_rft.metrics._thresholds import Thresholds

_WHERE = {
    "_live": ("Style",),
    "_compare": ("Comparison", "compare"),
    "_metrics": ("Metrics",),
    "_thresholds": ("Thresholds",),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = ["Comparison", "Metrics", "Style", "Thresholds", "compare"]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.metrics' has no attribute {name!r}")
    value = getattr(import_module(f"bedrock_rft.metrics.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
