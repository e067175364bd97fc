"""Measure the invocations of a reward function, and keep the scores of each prompt's answers together."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.rewards._targets.handler_response import ScoredRollout, parse_response, parse_scores

__all__ = ["Recorder"]

_ROLLOUT_ID = re.compile(r"local-step-(\d+)-(\d+)")


class Recorder:
    """A reward function that measures another one, and returns its results.

    Attributes:
        calls: number of invocations.
        rollouts: number of rollouts.
        slowest: seconds of the slowest invocation.
        seconds: seconds of all invocations.
    """

    def __init__(self, entry: EntryPoint, group_size: int) -> None:
        self._entry, self._group_size = entry, group_size
        self._scores: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        self.calls = self.rollouts = 0
        self.slowest = self.seconds = 0.0

    def __call__(self, event: Any, context: Any) -> Any:
        started = time.perf_counter()
        result = self._entry(event, context)
        duration = time.perf_counter() - started
        entries = cast("Sequence[Mapping[str, Any]]", event)
        self.calls += 1
        self.rollouts += len(entries)
        self.seconds += duration
        self.slowest = max(self.slowest, duration)
        with suppress(RewardError):  # the local service reports an invalid result
            self._keep_scores(parse_scores(parse_response(result), [entry["id"] for entry in entries]))
        return result

    def _keep_scores(self, scored: Sequence[ScoredRollout]) -> None:
        for rollout in scored:
            match = _ROLLOUT_ID.fullmatch(rollout.id)
            if match is not None:
                step, number = map(int, match.groups())
                self._scores[step, number // self._group_size].append(rollout.score)

    def groups(self, steps: int) -> list[Sequence[float]]:
        """Return the scores of the answers to each prompt, over the first `steps` steps."""
        return [scores for (step, _), scores in sorted(self._scores.items()) if step <= steps]

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        scores = [score for group in self._scores.values() for score in group]
        return (min(scores), max(scores)) if scores else (0.0, 0.0)
