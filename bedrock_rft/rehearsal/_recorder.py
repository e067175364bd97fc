"""What a run asks of its reward: every call measured, and the scores of each prompt's answers kept together."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores

__all__ = ["Recorder"]

_STEP = re.compile(r"local-step-(\d+)-(\d+)")


class Recorder:
    """A reward that writes down what it is asked. It answers as the one behind it does.

    Attributes:
        calls: how often it was called.
        rollouts: how many it was given.
        slowest: seconds that one rollout took in the slowest call.
        seconds: that all calls took.
    """

    def __init__(self, entry: EntryPoint, group_size: int) -> None:
        self._entry, self._group_size = entry, group_size
        self._scores: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        self.calls = self.rollouts = 0
        self.slowest = self.seconds = 0.0

    def __call__(self, event: Any, context: Any) -> Any:
        began = time.perf_counter()
        result = self._entry(event, context)
        took = time.perf_counter() - began
        entries = cast("Sequence[Mapping[str, Any]]", event)
        self.calls += 1
        self.rollouts += len(entries)
        self.seconds += took
        self.slowest = max(self.slowest, took / max(1, len(entries)))
        with suppress(RewardError):  # the service says what is wrong with it
            self._keep(parse_scores(parse_response(result), [one["id"] for one in entries]))
        return result

    def _keep(self, found: Sequence[Any]) -> None:
        for verdict in found:
            place = _STEP.fullmatch(verdict.id)
            if place is not None:
                step, number = map(int, place.groups())
                self._scores[step, number // self._group_size].append(verdict.score)

    def groups(self, steps: int) -> list[Sequence[float]]:
        """The scores of the answers to each prompt, over the first so many steps."""
        return [scores for (step, _), scores in sorted(self._scores.items()) if step <= steps]

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest score and the highest."""
        every = [score for scores in self._scores.values() for score in scores]
        return (min(every), max(every)) if every else (0.0, 0.0)
