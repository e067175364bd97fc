"""A reward checked before any money is spent: what would a run on it suffer from?"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from statistics import fmean
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._read import read_numbered
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.rewards._checking.findings import of_errors, of_prints, of_scores, of_shapes, of_speed
from bedrock_rft.rewards._checking.probes import FORMS, SHAPES, Probe, Shape, probes_of
from bedrock_rft.rewards._checking.report import Report, Scores
from bedrock_rft.rewards._checking.trial import Batch, Trial
from bedrock_rft.rewards._targets.resolve import resolve_target, reward_name
from bedrock_rft.rewards._targets.target import Target

__all__ = ["check"]

_BATCH = 16
_FEW = 4
_READ = 20_000
_LONGEST = 900
_LARGE = 5_200_000
"""Bytes of an event near Lambda's 6 MB."""
_SAME = 1e-9
_SLIGHTLY = 1e-3


def check(
    reward: object,
    dataset: str | os.PathLike[str] | Iterable[Any],
    *,
    size: int = 20,
    gold: Callable[[Mapping[str, Any]], str] | None = None,
    timeout: float | None = None,
    memory: int = 1024,
    client: Any = None,
    seed: int = 0,
) -> Report:
    """Try a reward on records of your own, and say what a run on it would suffer from.

    It is given the reference answer in several forms, wrong answers, empty, cut off, very long and hostile ones, in
    every payload shape that the service is known to send, one by one and many at once, twice.

    A reward or a function is run in this process, where one that never ends is given up, but one that ends the process
    does end it. A file is run in a process of its own with an empty environment, and a deployed function is invoked.

    Args:
        reward: a reward, a handler or a function of (event, context); `path/to/file.py:name`; the zip of a Lambda, as
            `path/to/file.zip` or `path/to/file.zip:module.name`; or the ARN of a deployed function, or anything with an
            `.arn`.
        dataset: a path, or records.
        size: how many records it is tried on.
        gold: writes the right answer to a record, where it is more than its reference answer in some form.
        timeout: seconds that an invocation may take; else the deployed function's own, or 300.
        memory: megabytes that a file may use.
        client: a `Client`, or botocore's for Lambda; else a deployed function is invoked with botocore's own chain.
        seed: of the choice of records and of wrong answers.

    Raises:
        DatasetError: there are no records, or they cannot be read.
        ConfigurationError: there is no such reward.
    """
    if timeout is not None and not 0 < timeout <= _LONGEST:
        raise ConfigurationError(f"timeout is {timeout}; Lambda allows more than 0 and at most {_LONGEST} seconds.")
    records, rows = _sample(dataset, size, seed)
    name = reward_name(reward)
    try:
        target = resolve_target(reward, timeout=timeout, memory=memory, client=client)
    except ConfigurationError as error:
        if not callable(reward):
            raise
        return Report(f"Check of {name}", (Finding("error", "not_a_handler", error.message),), target=name)
    try:
        return _Check(target, records, rows, gold, seed).report()
    finally:
        target.close()


def _sample(dataset: object, size: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Some records, and what the user knows each by."""
    if isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"size is {size}; it is how many records the reward is tried on, at least 1.")
    records = list(islice(read_numbered(dataset), _READ))
    if not records:
        raise DatasetError("There are no records to try the reward on.")
    chosen = random.Random(seed).sample(records, min(size, len(records)))  # noqa: S311 - a sample
    unit = "line" if isinstance(dataset, (str, os.PathLike)) else "record"
    return [record for _, record in chosen], [f"{unit} {number}{_own(record)}" for number, record in chosen]


def _own(record: Mapping[str, Any]) -> str:
    name = record.get("id")
    return f" (id {sanitize_line(str(name), 40)})" if isinstance(name, (str, int)) else ""


class _Check:
    """One check, step by step; each asks what the steps before could not tell."""

    def __init__(
        self,
        target: Target,
        records: Sequence[Mapping[str, Any]],
        rows: Sequence[str],
        gold: Callable[[Mapping[str, Any]], str] | None,
        seed: int,
    ) -> None:
        self._target, self._records, self._gold, self._seed = target, records, gold, seed
        self._trial = Trial(target, records, rows, seed)

    def report(self) -> Report:
        form, means = self._shapes()
        shape = _best(means)
        probes = probes_of(self._records, FORMS[form], self._gold, self._seed)
        values = [] if self._trial.hopeless else self._trial.scores(probes, shape, size=_BATCH)
        scores = _grouped(probes, values)
        findings = of_errors(self._trial)
        if scores:
            findings += of_scores(scores, _pairs(probes, values), self._trial.rows)
            findings += of_shapes(means)
            findings += self._again(probes, values, shape)
            findings += self._alone(probes, values, shape)
            findings += self._one_bad(shape)
            findings += self._large(shape)
            findings += of_prints(self._trial, self._records)
        findings += of_speed(self._trial)
        if not any(finding.level in ("error", "warning") for finding in findings):
            findings.append(Finding("ok", "sound", "Right answers score highest, and every shape is read"))
        sent = [batch for batch in self._trial.batches if batch.verdicts]
        rollouts = sum(len(batch.probes) for batch in sent) or 1
        return Report(
            f"Check of {self._target.name}",
            tuple(findings),
            target=self._target.name,
            sample=len(self._records),
            invocations=len(self._trial.batches) + self._trial.alone,
            form="" if self._gold else form,
            scores=scores,
            shapes={name: None if pair is None else pair[0] for name, pair in means.items()},
            seconds=max((batch.outcome.seconds for batch in self._trial.batches), default=0.0),
            seconds_per_rollout=sum(batch.outcome.seconds for batch in sent) / rollouts,
            timeout=self._target.timeout,
        )

    def _shapes(self) -> tuple[str, dict[Shape, tuple[float, float] | None]]:
        """In which form right answers score best, and how right and wrong ones score in each shape then."""
        few = self._records[: max(_FEW, min(8, len(self._records)))]
        strings = any(isinstance(record.get("reference_answer"), str) for record in few)
        shapes: list[Shape] = [shape for shape in SHAPES if strings or not shape.endswith("wrapped")]
        best: tuple[float, str, dict[Shape, tuple[float, float] | None]] = (-math.inf, next(iter(FORMS)), {})
        for form, spelled in [*FORMS.items()][: 1 if self._gold else None]:
            probes = [one for one in probes_of(few, spelled, self._gold, self._seed) if one.kind in ("right", "wrong")]
            means: dict[Shape, tuple[float, float] | None] = {}
            for shape in shapes:
                if self._trial.hopeless:
                    break
                means[shape] = _pair(probes, self._trial.scores(probes, shape, size=_BATCH))
            known = [pair for pair in means.values() if pair is not None]
            # Of forms that tell right from wrong equally well, the one that scores highest.
            gains = [pair[0] - pair[1] + pair[0] * _SLIGHTLY for pair in known]
            # One that is the wrong way round everywhere says more than one in which right and wrong are alike.
            gain = max([*gains, *(-3 * _SLIGHTLY * low for low in gains if low < 0)], default=-math.inf)
            if gain > best[0] + _SAME:
                best = gain, form, means
        return best[1], best[2]

    def _again(self, probes: Sequence[Probe], values: Sequence[float | None], shape: Shape) -> list[Finding]:
        """The same once more: is it the same?"""
        second = self._trial.scores(probes, shape, size=_BATCH)
        moved = [
            abs(one - other) for one, other in zip(values, second, strict=True) if one is not None and other is not None
        ]
        worst = max(moved, default=0.0)
        if worst <= _SAME:
            return []
        count = sum(gap > _SAME for gap in moved)
        return [
            Finding(
                "warning",
                "not_deterministic",
                f"{count} of {len(moved)} answers scored differently the second time, by up to {worst:.3g}",
                "noise in the reward is noise in the advantage; a judge has some, a rule has none",
                "Seed what is random; for a judge set temperature to 0, or ask it more than once",
            )
        ]

    def _alone(self, probes: Sequence[Probe], values: Sequence[float | None], shape: Shape) -> list[Finding]:
        """Is an answer scored alone as among others?"""
        places = [place for place, probe in enumerate(probes) if probe.kind in ("right", "wrong")][:_FEW]
        for place in places:
            batch = self._trial.send([probes[place]], shape)
            value = values[place]
            if not batch.verdicts:
                return [
                    Finding(
                        "error",
                        "single",
                        "A batch of one rollout is not answered as it should be",
                        f"how many rollouts the service sends at once is not documented; {_why(batch)}",
                    )
                ]
            if value is not None and abs(batch.verdicts[0].score - value) > _MOVED:
                return [
                    Finding(
                        "warning",
                        "depends_on_batch",
                        f"An answer scores {batch.verdicts[0].score:.3g} alone and {value:.3g} among others",
                        "the reward sees more than the one rollout",
                        "Keep nothing between rollouts",
                    )
                ]
        return []

    def _one_bad(self, shape: Shape) -> list[Finding]:
        """Do rollouts without a reference, or without messages, take the whole batch with them?"""
        probes = [Probe("right", place, "1") for place in range(min(_FEW, len(self._records)))]
        bare = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
        strangers: list[dict[str, Any]] = [
            {"id": "no-reference", "messages": bare, "metadata": {}},
            {"id": "no-answer", "messages": [], "metadata": {"reference_answer": None}},
        ]
        before = dict(self._trial.errors)
        batch = self._trial.send(probes, shape, extra=strangers)
        if batch.verdicts:
            return []
        self._trial.errors = before
        return [
            Finding(
                "error",
                "one_bad_rollout",
                "One rollout without a reference answer or an assistant's message costs the whole batch its scores",
                _why(batch),
                "Catch what goes wrong with one rollout; a Reward's handler does",
            )
        ]

    def _large(self, shape: Shape) -> list[Finding]:
        """Is an event near Lambda's limit answered?"""
        each = _LARGE // _BATCH
        text = "word " * (each // 5)
        probes = [Probe("huge", place % len(self._records), text) for place in range(_BATCH)]
        before = dict(self._trial.errors)
        batch = self._trial.send(probes, shape)
        if batch.verdicts:
            return []
        self._trial.errors = before
        return [
            Finding(
                "error",
                "large_payload",
                f"An event of {batch.size / 1e6:.1f} MB is not answered",
                _why(batch),
                "Long answers make large events; keep the work per character small, and the answer short",
            )
        ]


_MOVED = 0.05


def _why(batch: Batch) -> str:
    return batch.error.message.rstrip(".") if batch.error is not None else ""


def _best(means: Mapping[Shape, tuple[float, float] | None]) -> Shape:
    """The shape to go on with: the documented one, unless only others tell right from wrong."""
    known: dict[Shape, tuple[float, float]] = {shape: pair for shape, pair in means.items() if pair is not None}
    if not known:
        return SHAPES[0]
    return max(known.items(), key=lambda one: one[1][0] - one[1][1] - SHAPES.index(one[0]) * _SAME)[0]


def _pair(probes: Sequence[Probe], values: Sequence[float | None]) -> tuple[float, float] | None:
    right = [value for probe, value in zip(probes, values, strict=True) if probe.kind == "right" and value is not None]
    wrong = [value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong" and value is not None]
    if not right:
        return None
    return fmean(right), fmean(wrong) if wrong else 0.0


def _grouped(probes: Sequence[Probe], values: Sequence[float | None]) -> dict[str, Scores]:
    kinds: dict[str, list[float]] = {}
    for probe, value in zip(probes, values, strict=False):
        if value is not None:
            kinds.setdefault(probe.kind, []).append(value)
    return {kind: Scores.of(found) for kind, found in kinds.items()}


def _pairs(probes: Sequence[Probe], values: Sequence[float | None]) -> list[tuple[Probe, float, float | None]]:
    wrong = {probe.record: value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong"}
    return [
        (probe, value, wrong.get(probe.record))
        for probe, value in zip(probes, values, strict=True)
        if probe.kind == "right" and value is not None
    ]
