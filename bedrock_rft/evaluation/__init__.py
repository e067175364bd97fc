"""Models asked the prompts of a data set, scored by the reward they are trained with, and compared.

`client.evaluate(…)` is the way in; it returns an `Evaluation`. Each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.evaluation._advice import Thresholds
    from bedrock_rft.evaluation._report import Comparison, Evaluation, Example, Group, ModelResult
    from bedrock_rft.evaluation._statistics import Difference, Interval

_WHERE = {
    "_advice": ("Thresholds",),
    "_report": ("Comparison", "Evaluation", "Example", "Group", "ModelResult"),
    "_statistics": ("Difference", "Interval"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

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
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.evaluation' has no attribute {name!r}")
    value = getattr(import_module(f"bedrock_rft.evaluation.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
