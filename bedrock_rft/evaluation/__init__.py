"""Evaluate models on a dataset: sample answers, score them with the training reward, and compare.

Start with `client.evaluate(…)`, which returns an `Evaluation`. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.evaluation._advice import Thresholds
    from bedrock_rft.evaluation._report import Evaluation
    from bedrock_rft.evaluation._results import Comparison, Example, Group, ModelResult
    from bedrock_rft.evaluation._statistics import Difference, Interval

_MODULES = {
    "Thresholds": "_advice",
    "Evaluation": "_report",
    "Comparison": "_results",
    "Example": "_results",
    "Group": "_results",
    "ModelResult": "_results",
    "Difference": "_statistics",
    "Interval": "_statistics",
}

__all__ = [
    "Comparison",
    "Difference",
    "Evaluation",
    "Example",
    "Group",
    "Interval",
    "ModelResult",
    "Thresholds",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.evaluation' has no attribute {name!r}")
    value = getattr(import_module(f"bedrock_rft.evaluation.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
