"""A reward tried on probes: events sent, answers read, and everything kept that a verdict may need."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._checking.probes import Probe, Shape, entry_of
from bedrock_rft.rewards._targets.handler_response import ScoredRollout, parse_response, parse_scores
from bedrock_rft.rewards._targets.target import Outcome, Target

__all__ = ["Batch", "Trial", "Trouble"]

_WHOLE = {"raised", "died"}
"""What costs a whole batch its scores, and may be one rollout's doing."""

_ODD = ("{}", "rollout-{}", "a/b c?{}", "\u00e9\u4e2d-{}", "x" * 120 + "{}", "{}.0")


@dataclass(frozen=True)
class Batch:
    """One invocation.

    Attributes:
        probes: what was sent, in order.
        shape: how.
        size: bytes of the event.
        outcome: what came of it.
        verdicts: what it said of each probe; empty where it said nothing that can be read.
        order: the ids of the answer, in the order in which they came.
        error: why there are no verdicts.
    """

    probes: Sequence[Probe]
    shape: Shape
    size: int
    outcome: Outcome
    verdicts: Sequence[ScoredRollout]
    order: Sequence[str] = ()
    error: RewardError | None = None


@dataclass(frozen=True)
class Trouble:
    """One kind of thing that went wrong.

    Attributes:
        error: the first of its kind.
        count: how many invocations it was in.
        event: that it came of, the rollouts of the probes first.
        probes: of that event.
    """

    error: RewardError
    count: int = 1
    event: Sequence[Mapping[str, Any]] = ()
    probes: Sequence[Probe] = ()


@dataclass
class Trial:
    """Sends probes and keeps what came back.

    Attributes:
        rows: what the user knows each record by, such as its line.
        batches: every invocation.
        errors: what went wrong, by its code and the type of what was raised.
        alone: how often it was invoked to find out which rollout is to blame, beside the batches.
    """

    target: Target
    records: Sequence[Mapping[str, Any]]
    rows: Sequence[str]
    seed: int = 0
    batches: list[Batch] = field(default_factory=list[Batch])
    errors: dict[tuple[str, str | None], Trouble] = field(default_factory=dict[tuple[str, str | None], Trouble])
    alone: int = 0
    _count: int = 0

    def send(self, probes: Sequence[Probe], shape: Shape, *, extra: Sequence[Any] = ()) -> Batch:
        """Send probes as one event, with `extra` entries that are no probes after them."""
        names = [self._name() for _ in probes]
        event = [
            entry_of(probe, self.records[probe.record], name, shape) for probe, name in zip(probes, names, strict=True)
        ]
        event += extra
        size = len(json.dumps(event))
        outcome = self.target.invoke(event)
        strangers = [entry["id"] for entry in extra]
        try:
            result, found = _read(outcome, [*names, *strangers])
        except RewardError as error:
            self._note(Trouble(error, 1, event, probes))
            batch = Batch(probes, shape, size, outcome, (), error=error)
        else:
            batch = Batch(probes, shape, size, outcome, found[: len(names)], [item["id"] for item in result])
            if batch.order != [*names, *strangers]:
                self._reordered()
        self.batches.append(batch)
        return batch

    def scores(self, probes: Sequence[Probe], shape: Shape, *, size: int) -> list[float | None]:
        """The score of each probe, sent `size` at a time and mixed; None where there was none."""
        places = list(range(len(probes)))
        random.Random(self.seed).shuffle(places)  # noqa: S311 - an order
        found: list[float | None] = [None] * len(probes)
        for start in range(0, len(places), size):
            chosen = places[start : start + size]
            batch = self.send([probes[place] for place in chosen], shape)
            for place, verdict in zip(chosen, batch.verdicts, strict=False):
                found[place] = verdict.score
            if not batch.verdicts and self.hopeless:
                break
        return found

    @property
    def hopeless(self) -> bool:
        """Whether three invocations have failed and none has worked: more of them would say no more."""
        return len(self.batches) >= 3 and not any(batch.verdicts for batch in self.batches)  # noqa: PLR2004 - as it says

    def culprit(self, trouble: Trouble) -> Probe | None:
        """The probe that brings an error about by itself, where one does; found by halving the event."""
        names = [entry["id"] for entry in trouble.event]
        if trouble.error.rollout is not None:
            place = names.index(trouble.error.rollout)
            return trouble.probes[place] if place < len(trouble.probes) else None
        if trouble.error.code not in _WHOLE:
            return None
        places = list(range(len(trouble.probes)))
        while len(places) > 1:
            half = places[: len(places) // 2]
            rest = places[len(places) // 2 :]
            # Where the first half is answered, the second need not be asked, unless nothing is left but it.
            places = half if self._brings(trouble, half) else rest
        return trouble.probes[places[0]] if places and self._brings(trouble, places) else None

    def _brings(self, trouble: Trouble, places: Sequence[int]) -> bool:
        """Whether some of an event's rollouts bring about the same error."""
        event = [trouble.event[place] for place in places]
        self.alone += 1
        outcome = self.target.invoke(event)
        try:
            _read(outcome, [entry["id"] for entry in event])
        except RewardError as error:
            return _kind(error) == _kind(trouble.error)
        return False

    def _note(self, trouble: Trouble) -> None:
        first = self.errors.get(_kind(trouble.error))
        self.errors[_kind(trouble.error)] = replace(first, count=first.count + 1) if first else trouble

    def _reordered(self) -> None:
        self._note(Trouble(RewardError("The results come in another order than the rollouts", code="reordered")))

    def _name(self) -> str:
        self._count += 1
        return _ODD[self._count % len(_ODD)].format(self._count)


def _read(outcome: Outcome, names: Sequence[str]) -> tuple[list[Any], list[ScoredRollout]]:
    """What was answered, and the verdicts in it. Raises `RewardError`."""
    if outcome.error is not None:
        raise outcome.error
    result = parse_response(outcome.result)
    return result, parse_scores(result, names)


def _kind(error: RewardError) -> tuple[str, str | None]:
    return error.code, error.cause
