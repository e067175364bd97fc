"""`Handler`: the entry point of a reward in Lambda. It returns one result for each rollout, even if one fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.rewards._runtime.rollout import finite_float
from bedrock_rft.rewards._runtime.scoring import Scorable, score_batch

__all__ = ["Handler"]

_log = logging.getLogger("bedrock_rft.rewards")
_log.addHandler(logging.NullHandler())

_MARGIN = 2.0
"""Largest safety margin in seconds: scoring ends this long before Lambda's deadline."""


@dataclass(frozen=True)
class Handler:
    """The function that Lambda calls with an event and a context.

    Every rollout gets exactly one result, in the same order and with the same id. A rollout that cannot be scored, or
    for which no time is left, gets the floor, and its metric `reward_error` is 1; otherwise that metric is 0, so the
    mean of the metric is the share of rollouts that failed. The handler prints nothing from the event.

    Attributes:
        reward: the reward that scores each rollout.
        floor: the value of a rollout that cannot be scored.
        concurrency: the number of rollouts that are scored at the same time if the reward is async.
    """

    reward: Scorable
    floor: float = 0.0
    concurrency: int = 16

    def __post_init__(self) -> None:
        finite_float(self.floor, "floor")
        if isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ValueError(f"concurrency must be an integer of at least 1, not {self.concurrency!r}")

    def __call__(self, event: Any, context: Any = None) -> list[dict[str, Any]]:
        """Score the rollouts of one invocation.

        Args:
            event: the rollouts; a single rollout counts as a batch of one.
            context: Lambda's context object; scoring ends before its remaining time does.

        Raises:
            ValueError: the event does not contain rollouts.
        """
        entries = _parse_event(event)
        scores = score_batch(
            self.reward,
            entries,
            floor=self.floor,
            concurrency=self.concurrency,
            seconds=_remaining_seconds(context),
        )
        errors = [score.error for score in scores if score.error is not None]
        if errors:
            _log.warning("%d of %d rollouts got the floor; first error: %s", len(errors), len(scores), errors[0])
        return [
            cast("dict[str, Any]", score.result(_rollout_id(entry)))
            for entry, score in zip(entries, scores, strict=True)
        ]


def _parse_event(event: object) -> Sequence[Any]:
    if isinstance(event, list):
        return cast("Sequence[Any]", event)
    if isinstance(event, dict) and "messages" in event:
        return (cast("Any", event),)
    raise ValueError(
        f"the event must be a list of rollouts, as the service sends it, not {type(cast('Any', event)).__name__}"
    )


def _rollout_id(entry: Any) -> Any:
    return entry.get("id", "") if hasattr(entry, "get") else ""


def _remaining_seconds(context: Any) -> float | None:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if not callable(remaining):
        return None
    seconds = cast("int", remaining()) / 1000
    return seconds - min(_MARGIN, seconds / 10)
