"""Compare models on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft.evaluation._results import Comparison, ModelResult, Verdict
from bedrock_rft.evaluation._statistics import (
    LEVEL,
    MIN_PROMPTS,
    Difference,
    PairedTest,
    cluster_units,
    holm,
    mean,
    mean_interval,
    sign_flip_test,
)

__all__ = ["ScoreScale", "compare_with_base"]

_MISSING_TOLERANCE = 0.05
"""Largest difference in the share of missing answers with which two models are compared."""


@dataclass(frozen=True)
class ScoreScale:
    """Scale of the scores in an evaluation.

    Attributes:
        low: lowest possible score, which a missing answer counts as.
        high: highest possible score.
        samples: planned answers to each prompt and model.
        seed: random seed of resampling and permutations.
    """

    low: float
    high: float
    samples: int
    seed: int

    def mean_with_missing(self, scores: Sequence[float]) -> float:
        """Return the mean score of a prompt with each missing answer counted as the lowest score."""
        return mean([*scores, *[self.low] * (self.samples - len(scores))])


@dataclass(frozen=True)
class _Pair:
    """Paired results of one model and the base model.

    Attributes:
        result: the model.
        answered: test and interval on the prompts that both answered.
        complete: the same on all prompts, missing answers counted as the lowest score; None if none is missing.
        missing_differs: True if the models miss different shares of answers.
    """

    result: ModelResult
    answered: _Gains
    complete: _Gains | None
    missing_differs: bool


@dataclass(frozen=True)
class _Gains:
    values: Sequence[float]
    units: Sequence[float]
    test: PairedTest


def compare_with_base(
    results: Sequence[ModelResult], clusters: Mapping[int, str], scale: ScoreScale
) -> list[Comparison]:
    """Compare each further model with the first one.

    There is a verdict if the sign-flip test is significant at 5 % after Holm's correction over the models, on at least
    6 different prompts, and if missing answers cannot explain the difference.

    Args:
        results: the models' results; the first is the base.
        clusters: cluster of each prompt, by its position in the dataset.
        scale: scale of the scores.
    """
    base = results[0]
    pairs = [
        _pair(base, other, clusters, scale)
        for other in results[1:]
        if any(index in base.scores for index in other.scores)
    ]
    adjusted = holm([pair.answered.test.p for pair in pairs])
    complete = [pair.complete or pair.answered for pair in pairs]
    adjusted_complete = holm([gains.test.p for gains in complete])
    return [
        _comparison(base, pair, p, with_missing, scale)
        for pair, p, with_missing in zip(pairs, adjusted, adjusted_complete, strict=True)
    ]


def _pair(base: ModelResult, other: ModelResult, clusters: Mapping[int, str], scale: ScoreScale) -> _Pair:
    before, after = base.prompts, other.prompts
    both = [index for index in before if index in after]
    answered = _gains([after[index] - before[index] for index in both], both, clusters, scale)
    if not base.failed and not other.failed:
        return _Pair(other, answered, None, missing_differs=False)
    every = list(clusters)
    filled = [
        scale.mean_with_missing(other.scores.get(index, ())) - scale.mean_with_missing(base.scores.get(index, ()))
        for index in every
    ]
    missing = [(len(base.scores.get(index, ())) - len(other.scores.get(index, ()))) / scale.samples for index in every]
    differs = (
        abs(other.missing_share - base.missing_share) > _MISSING_TOLERANCE
        or _gains(missing, every, clusters, scale).test.p < LEVEL
    )
    return _Pair(other, answered, _gains(filled, every, clusters, scale), differs)


def _gains(values: Sequence[float], indices: Sequence[int], clusters: Mapping[int, str], scale: ScoreScale) -> _Gains:
    units = cluster_units(values, [clusters[index] for index in indices])
    # The units' deviations are linearised around their mean; the test needs plain sums, which have the same total.
    sums: dict[str, float] = {}
    for value, index in zip(values, indices, strict=True):
        sums[clusters[index]] = sums.get(clusters[index], 0.0) + value
    return _Gains(values, units, sign_flip_test(list(sums.values()), scale.seed))


def _comparison(
    base: ModelResult, pair: _Pair, adjusted: float, adjusted_complete: float, scale: ScoreScale
) -> Comparison:
    difference = _difference(pair.answered, adjusted, scale)
    complete = None if pair.complete is None else _difference(pair.complete, adjusted_complete, scale)
    verdict, reason = _judge(difference, len(pair.answered.units))
    if complete is not None and verdict != "undecided":
        with_missing, _ = _judge(complete, len((pair.complete or pair.answered).units))
        if pair.missing_differs:
            verdict, reason = (
                "undecided",
                (
                    f"{pair.result.missing_share:.0%} of its answers are missing, and {base.missing_share:.0%} of "
                    f"those of {base.label}, so the models were not scored on the same prompts"
                ),
            )
        elif with_missing != verdict:
            verdict, reason = (
                "undecided",
                (
                    f"the difference is {complete.interval.value:+.3f} and not significant if missing answers count as "
                    "the lowest score"
                ),
            )
    return Comparison(pair.result.label, base.label, difference, verdict, reason, complete)


def _judge(difference: Difference, prompts: int) -> tuple[Verdict, str]:
    if prompts < MIN_PROMPTS:
        count = f"{prompts} different prompt{'s' * (prompts != 1)}"
        return "undecided", f"{count} cannot show a difference; it takes at least {MIN_PROMPTS}"
    if difference.adjusted_p >= LEVEL:
        return "undecided", f"the difference is within chance (p {difference.p_text})"
    return ("better" if difference.interval.value > 0 else "worse"), f"p {difference.p_text}"


def _difference(gains: _Gains, adjusted: float, scale: ScoreScale) -> Difference:
    width = scale.high - scale.low
    better, worse = sum(gain > 0 for gain in gains.values), sum(gain < 0 for gain in gains.values)
    return Difference(
        interval=mean_interval(gains.units, (-width, width), scale.seed),
        p=gains.test.p,
        adjusted_p=adjusted,
        smallest_p=gains.test.smallest,
        better=better,
        worse=worse,
        equal=len(gains.values) - better - worse,
    )
