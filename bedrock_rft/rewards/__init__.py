"""Rewards: written as functions of one rollout, checked before a run, and put into a Lambda.

What runs in the Lambda is the standard library only. Each name is loaded when it is first used.
"""

from __future__ import annotations

# What type checkers know by this name; importing `typing` for it would cost a Lambda's cold start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bedrock_rft.rewards._checking.check import check
    from bedrock_rft.rewards._checking.report import Report
    from bedrock_rft.rewards._packaging.archive import Package, PackagedFile
    from bedrock_rft.rewards._packaging.package import package
    from bedrock_rft.rewards._runtime.function import reward
    from bedrock_rft.rewards._runtime.graders.answer_match import Choice, Exact, Matches, Numeric
    from bedrock_rft.rewards._runtime.graders.extraction import after_marker, boxed, final_answer, last_number
    from bedrock_rft.rewards._runtime.graders.json_match import JsonEqual, JsonSchema
    from bedrock_rft.rewards._runtime.graders.llm_judge import Judge, JudgeError
    from bedrock_rft.rewards._runtime.graders.style import Format, Length
    from bedrock_rft.rewards._runtime.graders.unit_tests import PassesTests
    from bedrock_rft.rewards._runtime.handler import Handler
    from bedrock_rft.rewards._runtime.reward import Reward
    from bedrock_rft.rewards._runtime.rollout import Rollout
    from bedrock_rft.rewards._runtime.score import Score

_WHERE = {
    "_runtime.graders.answer_match": ("Choice", "Exact", "Matches", "Numeric"),
    "_checking.check": ("check",),
    "_runtime.graders.unit_tests": ("PassesTests",),
    "_runtime.graders.extraction": ("after_marker", "boxed", "final_answer", "last_number"),
    "_runtime.handler": ("Handler",),
    "_runtime.function": ("reward",),
    "_runtime.graders.json_match": ("JsonEqual", "JsonSchema"),
    "_runtime.graders.llm_judge": ("Judge", "JudgeError"),
    "_packaging.package": ("package",),
    "_packaging.archive": ("Package", "PackagedFile"),
    "_checking.report": ("Report",),
    "_runtime.reward": ("Reward",),
    "_runtime.rollout": ("Rollout",),
    "_runtime.score": ("Score",),
    "_runtime.graders.style": ("Format", "Length"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Choice",
    "Exact",
    "Format",
    "Handler",
    "JsonEqual",
    "JsonSchema",
    "Judge",
    "JudgeError",
    "Length",
    "Matches",
    "Numeric",
    "Package",
    "PackagedFile",
    "PassesTests",
    "Report",
    "Reward",
    "Rollout",
    "Score",
    "after_marker",
    "boxed",
    "check",
    "final_answer",
    "last_number",
    "package",
    "reward",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.rewards' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"bedrock_rft.rewards.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
