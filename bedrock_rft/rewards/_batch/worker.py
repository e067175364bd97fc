"""Score batches in a worker: a thread, another process, or another machine."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._batch.recorder import RolloutRecorder, score_and_record
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC
from bedrock_rft.rewards._targets.handler_response import ScoredRollout
from bedrock_rft.rewards._targets.resolve import resolve_target
from bedrock_rft.rewards._targets.target import Target, invoke_until_accepted

Result = tuple[float | None, Mapping[str, float], str | None]
"""The score of an answer, the values of `metrics_list`, and why there is no score or why the score is the floor."""

_CONCERNS_ALL = ("timeout", "not_invoked", "busy", "not_loaded")
_MAX_TARGETS = 8

_targets: OrderedDict[tuple[str, int], Target] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ScoringTask:
    """A reward to score with, and a key by which a worker keeps its target between batches."""

    key: str
    reward: Any
    timeout: float | None
    memory: int
    client: Any = None
    recorder: RolloutRecorder | None = None


def score_entries(task: ScoringTask, entries: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Score a batch, or each of its answers alone. Raise a `RewardError` that affects every answer."""
    try:
        return score_together(task, entries)
    except RewardError as error:
        if not concerns_single_answer(error):
            raise
        return [_score_one(task, entry) for entry in entries]


def concerns_single_answer(error: RewardError) -> bool:
    """Return whether an error may concern one answer only, so that the other answers of the batch may be scored."""
    return error.code not in _CONCERNS_ALL


def close_targets(key: str) -> None:
    """Close the targets of a task in this process."""
    with _lock:
        closing = [_targets.pop(place) for place in list(_targets) if place[0] == key]
    for target in closing:
        target.close()


def score_together(task: ScoringTask, entries: Sequence[Mapping[str, Any]], models: Sequence[str] = ()) -> list[Result]:
    """Score a batch, in order, and record it with its models. Raises `RewardError` if an answer has no score."""
    event = [{**entry, "id": str(place)} for place, entry in enumerate(entries)]  # ids may occur twice
    target = _target(task)
    began = time.perf_counter()
    outcome = invoke_until_accepted(target, event)
    result = outcome.unwrap()
    seconds = time.perf_counter() - began
    scores = score_and_record(result, entries, [entry["id"] for entry in event], task.recorder, seconds, models)
    return [(one.score, one.metrics, floor_reason(one, outcome.errors)) for one in scores]


def floor_reason(scored: ScoredRollout, errors: Mapping[str, str]) -> str | None:
    """Return why a rollout got the floor, or None if the reward scored it."""
    if not scored.metrics.get(ERROR_METRIC, 0.0) > 0:
        return None
    return sanitize_line(errors.get(scored.id, "the reward raised; the log of its function has the reason"), 500)


def _score_one(task: ScoringTask, entry: Mapping[str, Any]) -> Result:
    try:
        return score_together(task, [entry])[0]
    except RewardError as error:
        if not concerns_single_answer(error):
            raise
        return None, {}, error.message


def _target(task: ScoringTask) -> Target:
    """Return the target of a task for this thread, because a subprocess handles one batch at a time."""
    place = (task.key, threading.get_ident())
    with _lock:
        if place in _targets:
            _targets.move_to_end(place)
            return _targets[place]
    made = resolve_target(task.reward, timeout=task.timeout, memory=task.memory, client=task.client)
    with _lock:
        _targets[place] = made
        oldest = _targets.popitem(last=False)[1] if len(_targets) > _MAX_TARGETS * 4 else None
    if oldest is not None:
        oldest.close()
    return made
