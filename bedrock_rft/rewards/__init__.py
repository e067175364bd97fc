"""Rewards: functions of one rollout that can be checked before a run and deployed to Lambda.

The modules behind the names are imported on first use. The Lambda package contains this file and `_runtime` only, so
it imports nothing else.
"""

from __future__ import annotations

from bedrock_rft.rewards._runtime import PUBLIC_NAMES

# Type checkers know this name. Importing it from `typing` would slow down the cold start of the Lambda function.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bedrock_rft.rewards._batch.invoke import Invocation, invoke
    from bedrock_rft.rewards._batch.score import ScoredAnswer, score
    from bedrock_rft.rewards._checking.accuracy import Accuracy, AnswerKind
    from bedrock_rft.rewards._checking.check import check
    from bedrock_rft.rewards._checking.report import Report
    from bedrock_rft.rewards._openai.translate import from_openai
    from bedrock_rft.rewards._openai.write import openai_source
    from bedrock_rft.rewards._packaging.archive import Package, PackagedFile
    from bedrock_rft.rewards._packaging.package import package
    from bedrock_rft.rewards._runtime.formula import Formula
    from bedrock_rft.rewards._runtime.function import reward
    from bedrock_rft.rewards._runtime.graders.answer_match import Choice, Exact, Matches, Numeric
    from bedrock_rft.rewards._runtime.graders.extraction import after_marker, boxed, final_answer
    from bedrock_rft.rewards._runtime.graders.json_match import JsonEqual, JsonSchema
    from bedrock_rft.rewards._runtime.graders.llm_judge import Judge, JudgeError
    from bedrock_rft.rewards._runtime.graders.math_match import MathEqual
    from bedrock_rft.rewards._runtime.graders.numbers import last_number
    from bedrock_rft.rewards._runtime.graders.overlap import Repetition, SetF1, TokenF1
    from bedrock_rft.rewards._runtime.graders.prompted_judge import LabelModel, ScoreModel
    from bedrock_rft.rewards._runtime.graders.style import Format, Length
    from bedrock_rft.rewards._runtime.graders.templated import PythonGrader, Similarity, StringCheck
    from bedrock_rft.rewards._runtime.graders.templates import openai_inputs
    from bedrock_rft.rewards._runtime.graders.tool_call import ToolCall
    from bedrock_rft.rewards._runtime.graders.unit_tests import PassesTests
    from bedrock_rft.rewards._runtime.handler import Handler
    from bedrock_rft.rewards._runtime.reward import Reward
    from bedrock_rft.rewards._runtime.rollout import Rollout, Score
    from bedrock_rft.rewards._runtime.rollout_log import RolloutLog
    from bedrock_rft.rewards._runtime.trl import from_trl, to_trl
    from bedrock_rft.rewards._targets.resolve import load_gold

_NAMES_BY_MODULE = {
    "_batch.invoke": ("Invocation", "invoke"),
    "_batch.score": ("ScoredAnswer", "score"),
    "_checking.accuracy": ("Accuracy", "AnswerKind"),
    "_checking.check": ("check",),
    "_checking.report": ("Report",),
    "_openai.translate": ("from_openai",),
    "_openai.write": ("openai_source",),
    "_packaging.archive": ("Package", "PackagedFile"),
    "_packaging.package": ("package",),
    "_targets.resolve": ("load_gold",),
    **{f"_runtime.{module}": names for module, names in PUBLIC_NAMES.items()},
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "Accuracy",
    "AnswerKind",
    "Choice",
    "Exact",
    "Format",
    "Formula",
    "Handler",
    "Invocation",
    "JsonEqual",
    "JsonSchema",
    "Judge",
    "JudgeError",
    "LabelModel",
    "Length",
    "Matches",
    "MathEqual",
    "Numeric",
    "Package",
    "PackagedFile",
    "PassesTests",
    "PythonGrader",
    "Repetition",
    "Report",
    "Reward",
    "Rollout",
    "RolloutLog",
    "Score",
    "ScoreModel",
    "ScoredAnswer",
    "SetF1",
    "Similarity",
    "StringCheck",
    "TokenF1",
    "ToolCall",
    "after_marker",
    "boxed",
    "check",
    "final_answer",
    "from_openai",
    "from_trl",
    "invoke",
    "last_number",
    "load_gold",
    "openai_inputs",
    "openai_source",
    "package",
    "reward",
    "score",
    "to_trl",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    module = _MODULE_BY_NAME.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.rewards' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"bedrock_rft.rewards.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
