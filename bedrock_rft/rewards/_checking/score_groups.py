"""Means, pairs and noise of the scores that a check collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bedrock_rft._core.findings import Finding
from bedrock_rft.rewards._checking.probes import SHAPES, PayloadShape, Probe
from bedrock_rft.rewards._checking.report import Scores

__all__ = ["SAME", "best_shape", "exceeds_noise", "group_scores", "mean_scores", "noise_only", "pair_scores"]

SAME = 1e-9
"""Scores that differ by less are equal."""


def noise_only(noise: float) -> Finding:
    return Finding(
        "error",
        "not_deterministic",
        f"The same answer scores differently each time, by up to {noise:.3g}, and right answers score no "
        "higher than wrong ones",
        "a reward of noise alone teaches nothing",
        "Seed random numbers, and compare the answer with the reference",
    )


def exceeds_noise(pairs: Sequence[tuple[Probe, float, float | None]], noise: float) -> bool:
    """Return whether right answers score higher than wrong ones by more than the noise of the mean explains."""
    gaps = [right - wrong for _, right, wrong in pairs if wrong is not None]
    return bool(gaps) and fmean(gaps) > noise / len(gaps) ** 0.5


def best_shape(means: Mapping[PayloadShape, tuple[float, float] | None]) -> PayloadShape:
    """Return the documented shape unless right answers stand out more in another one."""
    known: dict[PayloadShape, tuple[float, float]] = {shape: pair for shape, pair in means.items() if pair is not None}
    if not known:
        return SHAPES[0]
    return max(known, key=lambda shape: known[shape][0] - known[shape][1] - SHAPES.index(shape) * SAME)


def mean_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> tuple[float, float] | None:
    right = [value for probe, value in zip(probes, values, strict=True) if probe.kind == "right" and value is not None]
    wrong = [value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong" and value is not None]
    if not right:
        return None
    return fmean(right), fmean(wrong) if wrong else 0.0


def group_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> dict[str, Scores]:
    kinds: dict[str, list[float]] = {}
    for probe, value in zip(probes, values, strict=False):
        if value is not None:
            kinds.setdefault(probe.kind, []).append(value)
    return {kind: Scores.of(found) for kind, found in kinds.items()}


def pair_scores(probes: Sequence[Probe], values: Sequence[float | None]) -> list[tuple[Probe, float, float | None]]:
    wrong = {probe.record: value for probe, value in zip(probes, values, strict=True) if probe.kind == "wrong"}
    return [
        (probe, value, wrong.get(probe.record))
        for probe, value in zip(probes, values, strict=True)
        if probe.kind == "right" and value is not None
    ]
