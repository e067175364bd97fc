"""A reward as a Lambda function: a batch of rollouts in, one result for each out, whatever happens to one of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._runtime.rollout import Rollout
from bedrock_rft.rewards._runtime.score import number
from bedrock_rft.rewards._runtime.scoring import batch

__all__ = ["Handler"]

_log = logging.getLogger("bedrock_rft.rewards")
_log.addHandler(logging.NullHandler())

_MARGIN = 2.0
"""Seconds before Lambda's own deadline by which the answer should be on its way."""


@dataclass(frozen=True)
class Handler:
    """The entry point that Lambda calls with an event and a context.

    Every rollout gets exactly one result, in order and under its own id. One that cannot be scored, or that there is
    no time left for, gets the floor, and its metric `reward_error` is 1; every other's is 0, so that the mean of that
    metric is the share that failed. Nothing of the event is printed.

    Attributes:
        reward: what scores a rollout.
        floor: the value of one that cannot be scored.
        concurrency: how many are scored at once where the reward is async.
    """

    reward: Reward
    floor: float = 0.0
    concurrency: int = 16

    def __post_init__(self) -> None:
        number(self.floor, "floor")
        if isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ValueError(f"concurrency is how many rollouts are scored at once, at least 1, not {self.concurrency}")

    def __call__(self, event: Any, context: Any = None) -> list[dict[str, Any]]:
        """Answer one invocation.

        Args:
            event: the rollouts; a single one is taken as a batch of one.
            context: Lambda's; its remaining time is kept to.

        Raises:
            ValueError: the event holds no rollouts at all.
        """
        entries = _entries(event)
        scores = batch(
            self.reward,
            [partial(Rollout.read, entry) for entry in entries],
            floor=self.floor,
            concurrency=self.concurrency,
            seconds=_seconds(context),
        )
        failed = [score.error for score in scores if score.error is not None]
        if failed:
            _log.warning("%d of %d rollouts got the floor; the first: %s", len(failed), len(scores), failed[0])
        return [
            cast("dict[str, Any]", score.result(_identity(entry))) for entry, score in zip(entries, scores, strict=True)
        ]


def _entries(event: object) -> Sequence[Any]:
    kind = type(event).__name__
    if isinstance(event, list):
        return cast("Sequence[Any]", event)
    if isinstance(event, dict) and "messages" in event:
        return (cast("Any", event),)
    raise ValueError(f"the event is {kind}; the service sends an array of rollouts")


def _identity(entry: Any) -> Any:
    return entry.get("id", "") if hasattr(entry, "get") else ""


def _seconds(context: Any) -> float | None:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if not callable(remaining):
        return None
    left = cast("int", remaining()) / 1000
    return left - min(_MARGIN, left / 10)
