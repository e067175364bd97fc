"""What scores the answers: the same reward as in training, here or where it is deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._config import Config
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._journal import Scored
from bedrock_rft.rewards import Handler, Reward

__all__ = ["Scorer", "scorer_of"]


@dataclass(frozen=True)
class Scorer:
    """A reward, ready to be asked.

    Attributes:
        name: what the report calls it; scores that were kept under another name are not taken over.
        concurrency: how many batches it may score at once.
        score: scores a batch of entries as the service sends them, in their order. Raises `RewardError`.
    """

    name: str
    concurrency: int
    score: Callable[[Sequence[Mapping[str, Any]]], Sequence[Scored]]


def scorer_of(reward: object, config: Config) -> Scorer:
    """Find out how to ask a reward.

    Args:
        reward: a reward, a handler, `path/to/file.py:handler_name`, an ARN, or something deployed that has one.
        config: whose AWS credentials invoke a deployed function.

    Raises:
        ConfigurationError: it is none of these.
    """
    del config
    handler = Handler(reward) if isinstance(reward, Reward) else reward
    if isinstance(handler, Handler):
        return Scorer(repr(handler.reward), 1, lambda entries: _scored(handler(entries)))
    raise ConfigurationError(f"reward is {type(reward).__name__}; pass a reward, a handler, its file or its ARN.")


def _scored(results: Sequence[Mapping[str, Any]]) -> list[Scored]:
    return [
        Scored(float(one["aggregate_reward_score"]), {part["name"]: part["value"] for part in one["metrics_list"]})
        for one in results
    ]
