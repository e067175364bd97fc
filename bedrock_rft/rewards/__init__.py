"""Rewards: written as functions of one rollout, checked before a run, and put into a Lambda.

What runs in the Lambda is the standard library only. Each name is loaded when it is first used.
"""

from __future__ import annotations

# What type checkers know by this name; importing `typing` for it would cost a Lambda's cold start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bedrock_rft.rewards._check import check
    from bedrock_rft.rewards._code import PassesTests
    from bedrock_rft.rewards._compare import Choice, Exact, Matches, Numeric
    from bedrock_rft.rewards._extract import after_marker, boxed, final_answer, last_number
    from bedrock_rft.rewards._function import reward
    from bedrock_rft.rewards._handler import Handler
    from bedrock_rft.rewards._json import JsonEqual, JsonSchema
    from bedrock_rft.rewards._judge import Judge, JudgeError
    from bedrock_rft.rewards._package import package
    from bedrock_rft.rewards._package_zip import Package, PackagedFile
    from bedrock_rft.rewards._report import Report
    from bedrock_rft.rewards._reward import Reward
    from bedrock_rft.rewards._rollout import Rollout
    from bedrock_rft.rewards._score import Score
    from bedrock_rft.rewards._shape import Format, Length

_WHERE = {
    "_compare": ("Choice", "Exact", "Matches", "Numeric"),
    "_check": ("check",),
    "_code": ("PassesTests",),
    "_extract": ("after_marker", "boxed", "final_answer", "last_number"),
    "_handler": ("Handler",),
    "_function": ("reward",),
    "_json": ("JsonEqual", "JsonSchema"),
    "_judge": ("Judge", "JudgeError"),
    "_package": ("package",),
    "_package_zip": ("Package", "PackagedFile"),
    "_report": ("Report",),
    "_reward": ("Reward",),
    "_rollout": ("Rollout",),
    "_score": ("Score",),
    "_shape": ("Format", "Length"),
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
