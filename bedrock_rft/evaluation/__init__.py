"""Evaluate models on a dataset: sample answers, score them with the training reward, and compare.

Start with `client.evaluate(…)`, which returns an `Evaluation`. The modules behind the names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft._core.statistics import Difference, Interval
    from bedrock_rft.evaluation._report import Evaluation
    from bedrock_rft.evaluation._results import Comparison, Example, Group, ModelResult
    from bedrock_rft.evaluation._resume_file import read_answers
    from bedrock_rft.evaluation._summary import Thresholds

__all__ = [
    "Comparison",
    "Difference",
    "Evaluation",
    "Example",
    "Group",
    "Interval",
    "ModelResult",
    "Thresholds",
    "read_answers",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_report": ("Evaluation",),
        "_results": ("Comparison", "Difference", "Example", "Group", "Interval", "ModelResult"),
        "_resume_file": ("read_answers",),
        "_summary": ("Thresholds",),
    },
)
