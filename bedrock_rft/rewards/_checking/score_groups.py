"""Means, pairs and noise of the scores that a check collects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypeAlias

from bedrock_rft.rewards._checking.probes import SHAPES, PayloadShape, Probe
from bedrock_rft.rewards._checking.report import Scores

__all__ = [
    "SAME",
    "ScoredPair",
    "ShapeMeans",
    "best_shape",
    "exceeds_noise",
    "group_scores",
    "mean_scores",
    "pair_scores",
]

SAME = 1e-9
"""Scores that differ by less are equal."""

ScoredPair: TypeAlias = "tuple[Probe, float, float | None]"
"""A right answer with its score, and the score of a wrong answer to the same record."""

ShapeMeans: TypeAlias = "Mapping[PayloadShape, tuple[float, float] | None]"
"""The mean scores of right and of wrong answers by payload shape; None if there were no scores."""


def exceeds_noise(pairs: Sequence[ScoredPair], noise: float) -> bool:
    """Return whether right answers score higher than wrong ones by more than the noise of the mean explains."""
    gaps = [right - wrong for _, right, wrong in pairs if wrong is not None]
    return bool(gaps) and fmean(gaps) > noise / len(gaps) ** 0.5


def best_shape(means: ShapeMeans) -> PayloadShape:
    """Return the documented shape unless right answers stand out more in another one."""
    gaps = {shape: pair[0] - pair[1] - SHAPES.index(shape) * SAME for shape, pair in means.items() if pair is not None}
    return max(SHAPES, key=lambda shape: gaps.get(shape, -math.inf))


def mean_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the means of right and of wrong answers; None without scores of right ones."""
    scores = group_scores(probes, values)
    right, wrong = scores.get("right"), scores.get("wrong")
    return None if right is None else (right.mean, wrong.mean if wrong else 0.0)


def group_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> dict[str, Scores]:
    kinds: dict[str, list[float]] = {}
    for probe, value in zip(probes, values, strict=False):
        if value is not None:
            kinds.setdefault(probe.kind, []).append(value)
    return {kind: Scores.of(found) for kind, found in kinds.items()}


def pair_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> list[ScoredPair]:
    wrong = {probe.record: value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong"}
    return [
        (probe, value, wrong.get(probe.record))
        for probe, value in zip(probes, values, strict=True)
        if probe.kind == "right" and value is not None
    ]
