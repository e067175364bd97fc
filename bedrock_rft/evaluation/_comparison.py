"""Compare models on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.statistics import (
    LEVEL,
    MIN_PROMPTS,
    Difference,
    PairedTest,
    cluster_units,
    holm,
    mean,
    mean_interval,
    p_text,
    sign_flip_test,
)
from bedrock_rft.evaluation._results import Comparison, ModelResult, Verdict

_MISSING_TOLERANCE = 0.05
"""Largest difference in the share of missing answers with which two models are compared."""


@dataclass(frozen=True)
class ScoreScale:
    """The lowest and the highest score, the planned number of answers per prompt, and the random seed."""

    low: float
    high: float
    samples: int
    seed: int

    def fill_missing(self, scores: Sequence[float], *, highest: bool = False) -> list[float]:
        """Return the scores of a prompt with each missing answer counted as the lowest or as the highest score."""
        return [*scores, *[self.high if highest else self.low] * (self.samples - len(scores))]


@dataclass(frozen=True)
class _Gains:
    """Differences from the base model by prompt, with one unit for each cluster of equal prompts."""

    values: Sequence[float]
    units: Sequence[float]
    test: PairedTest

    @classmethod
    def of(cls, gains: Mapping[int, float], clusters: Mapping[int, str], seed: int) -> _Gains:
        units = cluster_units(list(gains.values()), [clusters[index] for index in gains])
        # The interval uses deviations of the units, linearised around their mean. The test uses plain sums of the
        # units.
        sums: dict[str, float] = {}
        for index, gain in gains.items():
            sums[clusters[index]] = sums.get(clusters[index], 0.0) + gain
        return cls(list(gains.values()), units, sign_flip_test(list(sums.values()), seed))

    def difference(self, adjusted_p: float, scale: ScoreScale) -> Difference:
        width = scale.high - scale.low
        better, worse = sum(gain > 0 for gain in self.values), sum(gain < 0 for gain in self.values)
        return Difference(
            interval=mean_interval(self.units, (-width, width), scale.seed),
            p=self.test.p,
            adjusted_p=adjusted_p,
            smallest_p=self.test.smallest,
            better=better,
            worse=worse,
            equal=len(self.values) - better - worse,
        )


@dataclass(frozen=True)
class _Pair:
    """Differences from the base model: on answered prompts, and on all prompts with scores filled in."""

    result: ModelResult
    answered: _Gains
    complete: _Gains  # missing answers get the lowest score
    unfavourable: _Gains  # a bound: missing answers get the score that counts against the difference in `answered`
    missing_differs: bool = False


def compare_with_base(
    results: Sequence[ModelResult], clusters: Mapping[int, str], scale: ScoreScale
) -> list[Comparison]:
    """Compare each further model with the first model. `clusters` maps positions of prompts to their clusters."""
    base, *others = results
    pairs = [_pair(base, other, clusters, scale) for other in others if not base.scores.keys().isdisjoint(other.scores)]
    adjusted = [
        holm([gains.test.p for gains in several])
        for several in zip(*((pair.answered, pair.complete, pair.unfavourable) for pair in pairs), strict=True)
    ]
    return [_comparison(base, pair, ps, scale) for pair, *ps in zip(pairs, *adjusted, strict=True)]


def _pair(base: ModelResult, other: ModelResult, clusters: Mapping[int, str], scale: ScoreScale) -> _Pair:
    before, after = base.prompts, other.prompts
    answered = _Gains.of(
        {index: after[index] - before[index] for index in before if index in after}, clusters, scale.seed
    )
    if not base.failed and not other.failed:
        return _Pair(other, answered, answered, answered)
    scores = {index: (base.scores.get(index, ()), other.scores.get(index, ())) for index in clusters}
    filled = {
        index: mean(scale.fill_missing(new)) - mean(scale.fill_missing(old)) for index, (old, new) in scores.items()
    }
    missing = {index: (len(old) - len(new)) / scale.samples for index, (old, new) in scores.items()}
    rises = mean(answered.values) > 0
    against = {
        index: mean(scale.fill_missing(new, highest=not rises)) - mean(scale.fill_missing(old, highest=rises))
        if old or new
        else 0.0
        for index, (old, new) in scores.items()
    }
    differs = abs(other.missing_share - base.missing_share) > _MISSING_TOLERANCE
    differs = differs or _Gains.of(missing, clusters, scale.seed).test.p < LEVEL
    complete, unfavourable = (_Gains.of(gains, clusters, scale.seed) for gains in (filled, against))
    return _Pair(other, answered, complete, unfavourable, differs)


def _comparison(base: ModelResult, pair: _Pair, adjusted: Sequence[float], scale: ScoreScale) -> Comparison:
    label, gains = pair.result.label, (pair.answered, pair.complete, pair.unfavourable)
    difference = pair.answered.difference(adjusted[0], scale)
    verdict, reason = _judge(difference.interval.value, difference.adjusted_p, pair.answered)
    if not base.failed and not pair.result.failed:
        return Comparison(label, base.label, difference, verdict, reason)
    complete = pair.complete.difference(adjusted[1], scale)
    others = [_judge(mean(each.values), p, each)[0] for each, p in zip(gains[1:], adjusted[1:], strict=True)]
    objection = ""
    if pair.missing_differs:
        objection = (
            f"{pair.result.missing_share:.0%} of its answers and {base.missing_share:.0%} of the answers of "
            f"{base.label} are missing, so the models were not scored on the same prompts"
        )
    elif others[0] != verdict:
        objection = (
            f"the difference is {complete.interval.value:+.3f} and not significant if missing answers count as the "
            "lowest score"
        )
    elif others[1] != verdict:
        low, high = (label, base.label) if verdict == "better" else (base.label, label)
        objection = (
            f"the difference is {mean(pair.unfavourable.values):+.3f} and not significant if missing answers of {low} "
            f"count as the lowest score and those of {high} as the highest"
        )
    if objection and verdict != "undecided":
        verdict, reason = "undecided", objection
    return Comparison(label, base.label, difference, verdict, reason, complete)


def _judge(difference: float, p: float, gains: _Gains) -> tuple[Verdict, str]:
    prompts = len(gains.units)
    if prompts < MIN_PROMPTS:
        count = f"{prompts} different prompt{'s' * (prompts != 1)}"
        return "undecided", f"{count} cannot show a difference; it takes at least {MIN_PROMPTS}"
    if p >= LEVEL:
        return "undecided", f"the difference is within chance (p {p_text(p)})"
    return ("better" if difference > 0 else "worse"), f"p {p_text(p)}"
