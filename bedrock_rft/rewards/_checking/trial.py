"""Send probes to a reward and keep every response and every error."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._checking.probes import PayloadShape, Probe, payload_entry
from bedrock_rft.rewards._targets.handler_response import ScoredRollout, parse_response, parse_scores
from bedrock_rft.rewards._targets.target import Outcome, Target, invoke_until_accepted

BATCH = 16
"""Number of answers in one invocation."""
_WHOLE_BATCH = {"raised", "died"}
"""Codes of errors that cost a whole batch its scores, and that one rollout may cause."""

_ID_PATTERNS = ("{}", "rollout-{}", "a/b c?{}", "\u00e9\u4e2d-{}", "x" * 120 + "{}", "{}.0")
_BUSY_ATTEMPTS = 4


@dataclass(frozen=True)
class Batch:
    """One invocation: the probes, and a result for each of them unless there is an error."""

    probes: Sequence[Probe]
    shape: PayloadShape
    outcome: Outcome
    scored: Sequence[ScoredRollout]
    error: RewardError | None = None

    @property
    def reason(self) -> str:
        """The error as a clause."""
        return self.error.message.rstrip(".") if self.error is not None else ""


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of one kind: the first error, their number, and the first error's event, which begins with its probes."""

    error: RewardError
    count: int = 1
    shapes: frozenset[PayloadShape] = frozenset()
    event: Sequence[Mapping[str, Any]] = ()
    probes: Sequence[Probe] = ()


@dataclass
class Trial:
    """Send probes to a target and keep the responses. `rows` names each record for the user, such as by its line."""

    target: Target
    records: Sequence[Mapping[str, Any]]
    rows: Sequence[str]
    seed: int = 0
    batches: list[Batch] = field(default_factory=list[Batch])
    errors: dict[tuple[str, str | None], ErrorGroup] = field(default_factory=dict[tuple[str, str | None], ErrorGroup])
    extra_invocations: int = 0
    """Number of invocations that searched for the rollout that causes an error."""
    on_invocation: Callable[[], object] | None = None
    """Function that is called after each invocation."""
    stop_after: int = 3
    """Number of failed invocations after which none is likely to succeed."""
    _ids: int = 0
    _stays_busy: bool = False

    def send(
        self, probes: Sequence[Probe], shape: PayloadShape, *, extra: Sequence[Any] = (), keep_error: bool = True
    ) -> Batch:
        """Send probes as one event, followed by `extra` entries."""
        ids = [self._next_id() for _ in probes] + [entry["id"] for entry in extra]
        named = zip(probes, ids, strict=False)
        event = [*(payload_entry(probe, self.records[probe.record], name, shape) for probe, name in named), *extra]
        outcome = self._invoke(event)
        if self.on_invocation is not None:
            self.on_invocation()
        try:
            result, scored = _parse(outcome, ids)
        except RewardError as error:
            if keep_error:
                self._add_error(ErrorGroup(error, 1, frozenset({shape}), event, probes))
            batch = Batch(probes, shape, outcome, (), error)
        else:
            batch = Batch(probes, shape, outcome, scored[: len(probes)])
            if [item["id"] for item in result] != ids:
                reordered = RewardError("The results come in another order than the rollouts", code="reordered")
                self._add_error(ErrorGroup(reordered))
        self.batches.append(batch)
        return batch

    def scores(self, probes: Sequence[Probe], shape: PayloadShape) -> list[float | None]:
        """Return the score of each probe, sent in batches in random order; None if there is no score."""
        places = list(range(len(probes)))
        random.Random(self.seed).shuffle(places)  # noqa: S311 - an order
        found: list[float | None] = [None] * len(probes)
        for start in range(0, len(places), BATCH):
            if self.is_hopeless:
                break
            chosen = places[start : start + BATCH]
            batch = self.send([probes[place] for place in chosen], shape)
            for place, scored in zip(chosen, batch.scored, strict=False):
                found[place] = scored.score
        return found

    @property
    def is_hopeless(self) -> bool:
        """True if every invocation so far has failed, so that more of them would show nothing new."""
        return len(self.batches) >= self.stop_after and not any(batch.scored for batch in self.batches)

    @property
    def slowest(self) -> float:
        """The duration of the slowest invocation in seconds."""
        return max((batch.outcome.seconds for batch in self.batches), default=0.0)

    def working_shapes(self) -> set[PayloadShape]:
        """Return the payload shapes in which at least one invocation succeeded."""
        return {batch.shape for batch in self.batches if batch.scored}

    def find_culprit(self, group: ErrorGroup) -> Probe | None:
        """Find the probe that alone causes an error, by halving the event; return None if no single probe does."""
        ids = [entry["id"] for entry in group.event]
        if group.error.rollout is not None:
            place = ids.index(group.error.rollout)
            return group.probes[place] if place < len(group.probes) else None
        if group.error.code not in _WHOLE_BATCH:
            return None
        places = list(range(len(group.probes)))
        while len(places) > 1:
            half, rest = places[: len(places) // 2], places[len(places) // 2 :]
            places = half if self._causes(group, half) else rest
        return group.probes[places[0]] if places and self._causes(group, places) else None

    def _invoke(self, event: object) -> Outcome:
        """Invoke the target, with retries while a deployed function is busy.

        If the function is still busy after the retries, later calls do not retry.
        """
        if self.target.arn is None or self._stays_busy:
            return self.target.invoke(event)
        outcome = invoke_until_accepted(self.target, event, attempts=_BUSY_ATTEMPTS)
        self._stays_busy = outcome.error is not None and outcome.error.code == "busy"
        return outcome

    def _causes(self, group: ErrorGroup, places: Sequence[int]) -> bool:
        """Return whether some entries of an event cause the same error."""
        event = [group.event[place] for place in places]
        self.extra_invocations += 1
        outcome = self.target.invoke(event)
        try:
            _parse(outcome, [entry["id"] for entry in event])
        except RewardError as error:
            return _error_key(error) == _error_key(group.error)
        return False

    def _add_error(self, group: ErrorGroup) -> None:
        key = _error_key(group.error)
        first = self.errors.get(key)
        if first is not None:
            group = replace(first, count=first.count + 1, shapes=first.shapes | group.shapes)
        self.errors[key] = group

    def _next_id(self) -> str:
        self._ids += 1
        return _ID_PATTERNS[self._ids % len(_ID_PATTERNS)].format(self._ids)


def _parse(outcome: Outcome, ids: Sequence[str]) -> tuple[list[Any], list[ScoredRollout]]:
    """Return the parsed response and its scores. Raises `RewardError`."""
    result = parse_response(outcome.unwrap())
    return result, parse_scores(result, ids)


def _error_key(error: RewardError) -> tuple[str, str | None]:
    return error.code, error.cause
