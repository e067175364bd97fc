"""Score answers with the reward that trains, in this process, in a file, or deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.evaluation._resume_file import AnswerScore
from bedrock_rft.rewards._targets.entry_point import EntryPoint, InProcessTarget
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores
from bedrock_rft.rewards._targets.resolve import lambda_arn, resolve_target
from bedrock_rft.rewards._targets.target import Target, invoke_until_accepted

__all__ = ["Scorer", "as_entry_point", "concerns_single_answer", "create_scorer"]

_LOCAL_TIMEOUT = 900.0
"""Seconds for a batch on this machine; the longest timeout of a Lambda function."""
_LOCAL_MEMORY_MB = 1024
_LAMBDA_INVOCATIONS = 8
"""Concurrent invocations of a deployed function."""
_CONCERNS_ALL = ("timeout", "not_invoked", "busy", "not_loaded")


@dataclass(frozen=True)
class Scorer:
    """A reward that is ready to score.

    Attributes:
        name: the reward's name in the report.
        key: identifies the reward and its code; scores kept under another key are not reused.
        concurrency: number of batches to score at once.
        score: scores a batch of entries in the service's format, in order. Raises `RewardError`.
        close: releases resources.
    """

    name: str
    key: str
    concurrency: int
    score: Callable[[Sequence[Mapping[str, Any]]], Sequence[AnswerScore]]
    close: Callable[[], None]


def create_scorer(reward: object, client: Any) -> Scorer:
    """Resolve a reward, as `resolve_target` does, and return its scorer."""
    timeout = None if lambda_arn(reward) else _LOCAL_TIMEOUT
    target = resolve_target(reward, timeout=timeout, memory=_LOCAL_MEMORY_MB, client=client)
    entry_point = as_entry_point(target)

    def score(entries: Sequence[Mapping[str, Any]]) -> list[AnswerScore]:
        response = parse_response(entry_point(entries, None))
        scores = parse_scores(response, [str(entry["id"]) for entry in entries])
        return [AnswerScore(result.score, dict(result.metrics)) for result in scores]

    concurrency = 1 if target.arn is None else _LAMBDA_INVOCATIONS
    return Scorer(target.name, f"{target.name} {target.fingerprint}", concurrency, score, target.close)


def as_entry_point(target: Target) -> EntryPoint:
    """Return a function of (event, context) that invokes a target, again while it is busy. Raises `RewardError`."""
    if isinstance(target, InProcessTarget):
        return lambda event, _: target.call(event)
    return lambda event, _: invoke_until_accepted(target, event).unwrap()


def concerns_single_answer(error: RewardError) -> bool:
    """Return whether an error may concern one answer only, so that the others of its batch are worth another try."""
    return error.code not in _CONCERNS_ALL
