"""`Handler`: the entry point of a reward in Lambda. It returns a result for each rollout, even if some fail."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from bedrock_rft.rewards._runtime.deadline import seconds_left
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC, LOG_ERROR_METRIC, Result, finite_float
from bedrock_rft.rewards._runtime.scoring import Scorable, describe_error, score_batch

if TYPE_CHECKING:
    from bedrock_rft.rewards._runtime.rollout_log import RolloutLog

_log = logging.getLogger("bedrock_rft.rewards")
_log.addHandler(logging.NullHandler())

_MAX_RESPONSE_BYTES = 6 * 1024 * 1024
"""Maximum bytes of a response: Lambda's limit minus 100 bytes."""


@dataclass(frozen=True)
class Handler:
    """The function that Lambda calls with an event and a context.

    Every rollout gets exactly one result, in the same order and with the same id. A rollout that cannot be scored, or
    is not scored in time, gets the floor, and its metric `reward_error` is 1; otherwise that metric is 0, so the
    mean of the metric is the share of rollouts that failed. The handler prints nothing from the event.

    Scoring ends 2 s before Lambda's deadline, or after nine tenths of the time if the invocation has less than 20 s. A
    reward that still runs then is interrupted or abandoned. In the second half of the time, a reward that is not async
    begins no rollout if the time left is less than the longest rollout took so far, or less than the limit of its
    graders (`seconds`). Native code that neither releases the interpreter nor checks for signals cannot be interrupted.

    Lambda rejects a response above 6 MB, so metrics are left out of a larger response: first those that are not part of
    the reward, then its parts, then `reward_error`.

    With `record`, an invocation in Lambda records its rollouts after they are scored, in at most half of the time that
    is left and in at most 5 s. If recording fails, the scores do not change, and the metric `rollout_log_error` of each
    rollout is 1. Outside Lambda the handler records nothing; `evaluate`, `rehearse`, `rewards.score` and the local
    service have an argument `record` of their own.

    Attributes:
        reward: the reward that scores each rollout.
        floor: the value of a rollout that cannot be scored.
        concurrency: the number of rollouts that are scored at the same time if the reward is async.
        record: where and how rollouts are recorded; by default they are not recorded.
    """

    reward: Scorable
    floor: float = 0.0
    concurrency: int = 16
    record: RolloutLog | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        finite_float(self.floor, "floor")
        if isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ValueError(f"concurrency must be an integer of at least 1, not {self.concurrency!r}")

        if self.record is not None and not hasattr(self.record, "max_chars"):
            raise ValueError(f"record must be a RolloutLog, not {type(self.record).__name__}")

    def __call__(self, event: Any, context: Any = None) -> list[dict[str, Any]]:
        """Score the rollouts of one invocation.

        Args:
            event: the rollouts; a single rollout counts as a batch of one.
            context: Lambda's context object; scoring ends before the remaining time of the context is over.

        Raises:
            ValueError: the event does not contain rollouts.
        """
        entries = _parse_event(event)
        seconds = seconds_left(context)
        texts: dict[int, str] = {}
        local: Any = getattr(context, "rollout_errors", None)  # outside Lambda, the user sees the texts of exceptions

        def keep_text(place: int, error: BaseException) -> None:
            texts[place] = describe_error(error, with_text=True)

        scored = score_batch(
            self.reward,
            entries,
            floor=self.floor,
            concurrency=self.concurrency,
            seconds=seconds,
            on_error=None if local is None else keep_text,
        )
        scores = [score for score, _ in scored]
        errors = [score.error for score in scores if score.error is not None]
        if errors:
            _log.warning("%d of %d rollouts got the floor; first error: %s", len(errors), len(scores), errors[0])
        if self.record is not None and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            from bedrock_rft.rewards._runtime.rollout_log import ScoredEntry, record_invocation

            whole = [ScoredEntry(entry, *one) for entry, one in zip(entries, scored, strict=True)]
            failed = not record_invocation(self.record, whole, context)
            scores = [replace(one, metrics={**one.metrics, LOG_ERROR_METRIC: float(failed)}) for one in scores]
        ids = [entry.get("id", "") if hasattr(entry, "get") else "" for entry in entries]
        if isinstance(local, dict):
            for place, (name, score) in enumerate(zip(ids, scores, strict=True)):
                if score.error is not None:
                    local[str(name)] = texts.get(place, score.error)
        results = [score.result(name) for name, score in zip(ids, scores, strict=True)]
        return cast("list[dict[str, Any]]", _drop_excess_metrics(results))


def _parse_event(event: object) -> Sequence[Any]:
    if isinstance(event, list):
        return cast("Sequence[Any]", event)
    if isinstance(event, dict) and "messages" in event:
        return (cast("Any", event),)
    raise ValueError(
        f"the event must be a list of rollouts, as the service sends it, not {type(cast('Any', event)).__name__}"
    )


def _drop_excess_metrics(results: list[Result]) -> list[Result]:
    """Leave out metrics until Lambda can send the results, measured with the escapes of the runtimes before 3.12."""
    for kept in (("Reward", ERROR_METRIC), (ERROR_METRIC,), ()):
        if len(json.dumps(results)) <= _MAX_RESPONSE_BYTES:
            break
        _log.warning("metrics were left out, because Lambda sends at most 6 MB; kept: %s", ", ".join(kept) or "none")
        results = [
            Result(
                id=result["id"],
                aggregate_reward_score=result["aggregate_reward_score"],
                metrics_list=[one for one in result["metrics_list"] if one["type"] in kept or one["name"] in kept],
            )
            for result in results
        ]
    return results
