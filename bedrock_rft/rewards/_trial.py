"""A reward tried on probes: events sent, answers read, and everything kept that a verdict may need."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._answer import Verdict, delivered, verdicts
from bedrock_rft.rewards._probes import Probe, Shape, entry_of
from bedrock_rft.rewards._targets import Outcome, Target

__all__ = ["Batch", "Trial"]

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
    """

    probes: Sequence[Probe]
    shape: Shape
    size: int
    outcome: Outcome
    verdicts: Sequence[Verdict]
    order: Sequence[str] = ()


@dataclass
class Trial:
    """Sends probes and keeps what came back.

    Attributes:
        batches: every invocation.
        errors: what went wrong, the first of each kind, by its code, with how often.
        mutated: whether the handler changed the event it was given; harmless, since each gets its own.
    """

    target: Target
    records: Sequence[Mapping[str, Any]]
    seed: int = 0
    batches: list[Batch] = field(default_factory=list[Batch])
    errors: dict[str, tuple[RewardError, int]] = field(default_factory=dict[str, tuple[RewardError, int]])
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
            if outcome.error is not None:
                raise outcome.error
            result = delivered(outcome.result)
            found = verdicts(result, [*names, *strangers])
        except RewardError as error:
            self._note(error)
            batch = Batch(probes, shape, size, outcome, ())
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

    def _note(self, error: RewardError) -> None:
        first, count = self.errors.get(error.code, (error, 0))
        self.errors[error.code] = (first, count + 1)

    def _reordered(self) -> None:
        self._note(RewardError("The results come in another order than the rollouts", code="reordered"))

    def _name(self) -> str:
        self._count += 1
        return _ODD[self._count % len(_ODD)].format(self._count)
