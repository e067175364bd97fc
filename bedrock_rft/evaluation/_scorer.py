"""What scores the answers: the same reward as in training, here, in a file, or where it is deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.evaluation._journal import Scored
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores
from bedrock_rft.rewards._targets.in_process_target import InProcessTarget
from bedrock_rft.rewards._targets.resolve import lambda_arn, resolve_target
from bedrock_rft.rewards._targets.target import Target, invoke_until_accepted

__all__ = ["Scorer", "alone", "entry_of", "scorer_of"]

_LONGEST = 900.0
"""Seconds that a reward on this machine may take for a batch: what Lambda allows at most."""
_MEMORY = 1024
_INVOCATIONS = 8
"""Batches that a deployed function is given at once."""


@dataclass(frozen=True)
class Scorer:
    """A reward, ready to be asked.

    Attributes:
        name: what the report calls it.
        key: names its content as well; scores that were kept under another key are not taken over.
        concurrency: how many batches it may score at once.
        score: scores a batch of entries as the service sends them, in their order. Raises `RewardError`.
        close: lets go of what it holds.
    """

    name: str
    key: str
    concurrency: int
    score: Callable[[Sequence[Mapping[str, Any]]], Sequence[Scored]]
    close: Callable[[], None]


def scorer_of(reward: object, client: Any) -> Scorer:
    """Find out how to ask a reward.

    Args:
        reward: a reward, a handler or a function of (event, context); `path/to/file.py:name`; the zip of a Lambda; the
            ARN of a deployed function, or anything with an `.arn`.
        client: a client of this package whose AWS credentials invoke a deployed function, or None.

    Raises:
        ConfigurationError: it is none of these, or cannot be found.
    """
    target = resolve_target(reward, timeout=_timeout(reward), memory=_MEMORY, client=client)
    entry = entry_of(target)

    def score(entries: Sequence[Mapping[str, Any]]) -> list[Scored]:
        result = parse_response(entry(entries, None))
        found = parse_scores(result, [str(one["id"]) for one in entries])
        return [Scored(one.score, dict(one.metrics)) for one in found]

    at_once = 1 if target.arn is None else _INVOCATIONS
    return Scorer(target.name, f"{target.name} {target.fingerprint}", at_once, score, target.close)


def entry_of(target: Target) -> EntryPoint:
    """Return a function of (event, context) that invokes a target, and repeats while a deployed function is busy.

    It raises `RewardError` if the invocation fails.
    """
    if isinstance(target, InProcessTarget):
        return lambda event, _: target.call(event)
    return lambda event, _: invoke_until_accepted(target, event)


def _timeout(reward: object) -> float | None:
    return None if lambda_arn(reward) else _LONGEST


def alone(error: RewardError) -> bool:
    """Whether an error may be about one rollout alone, so that the others of its batch are worth another try."""
    return error.code not in ("timeout", "not_invoked", "busy", "not_loaded")
