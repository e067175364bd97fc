"""Findings of an evaluation: verdicts on models, and advice for a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.evaluation._pipeline import Unscored
from bedrock_rft.evaluation._results import Comparison, ModelResult
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["Thresholds", "evaluation_findings"]

_MANY_CUT_OFF = 0.05


@dataclass(frozen=True)
class Thresholds(ShortRepr):
    """Scores of a base model below or above which training makes little sense, as shares of the reward's range.

    Attributes:
        too_low: below it the model hardly ever earns a reward, so there is nothing to reinforce.
        too_high: above it there is hardly anything left to learn.

    Source:
        AWS's user guide, Reinforcement fine-tuning for Amazon Nova models: measure the base model; at 0, fine-tune with
        supervision first; above 95 %, reinforcement fine-tuning may not be needed. 0.05 is this project's choice.
    """

    too_low: float = 0.05
    too_high: float = 0.95


def evaluation_findings(
    results: Sequence[ModelResult],
    comparisons: Sequence[Comparison],
    unscored: Unscored,
    thresholds: Thresholds,
    reward_range: tuple[float, float],
) -> Iterator[Finding]:
    """Yield the findings for all models.

    Args:
        results: the models' results; the first is the base model.
        comparisons: comparisons with the base model.
        unscored: questions without a score, and why.
        thresholds: when a base model is too weak or too good.
        reward_range: lowest and highest score of the reward.
    """
    if results[0].answers:
        yield _base_finding(results[0], thresholds, reward_range)
    for comparison in comparisons:
        yield _comparison_finding(comparison)
    for result in results:
        yield from _answer_findings(result)
    if unscored.unanswered:
        yield _unscored_finding("not_answered", "questions were rejected by the service", unscored.unanswered)
    if unscored.ungraded:
        yield _unscored_finding("not_scored", "answers could not be scored", unscored.ungraded)


def _answer_findings(result: ModelResult) -> Iterator[Finding]:
    if not result.answers:
        yield Finding(
            "error",
            "no_answers",
            f"{result.label} has no scored answer",
            "the service rejected every question, or the reward scored no answer",
            "See the reasons below",
        )
    elif result.failed:
        yield _missing_finding(result)
    if result.cut_off > _MANY_CUT_OFF:
        yield Finding(
            "warning",
            "cut_off",
            f"{result.cut_off:.0%} of the answers of {result.label} ended at the token limit",
            "an unfinished answer seldom scores",
            "Raise max_completion_tokens in sampling=",
        )
    if result.parts.get(ERROR_METRIC, 0.0) > 0:
        yield Finding(
            "warning",
            "reward_errors",
            f"The reward raised on {result.parts[ERROR_METRIC]:.1%} of the answers of {result.label}",
            "these answers count with the lowest score",
            "Run rewards.check on the reward",
        )


def _base_finding(base: ModelResult, thresholds: Thresholds, reward_range: tuple[float, float]) -> Finding:
    """Judge the base model by its interval on the reward's scale, never by the mean alone."""
    lowest, highest = reward_range
    summary = f"{base.label} scores {base.score.value:.3f} [{base.score.low:.3f}, {base.score.high:.3f}] on average"
    scores = [score for answers in base.scores.values() for score in answers]
    if min(scores) < lowest or max(scores) > highest:
        return Finding(
            "unknown",
            "base_scale",
            summary,
            f"scores from {min(scores):g} to {max(scores):g} lie outside reward_range=({lowest:g}, {highest:g}), so "
            "there is no scale to judge them by",
            "Pass the reward's lowest and highest score as reward_range=",
        )
    too_low = lowest + thresholds.too_low * (highest - lowest)
    too_high = lowest + thresholds.too_high * (highest - lowest)
    if base.score.high < too_low:
        return Finding(
            "error",
            "base_too_low",
            summary,
            "reinforcement learns from answers that earn a reward, and hardly any does",
            "Fine-tune with supervision first, use easier prompts, or give partial rewards for partial success",
        )
    if base.score.low > too_high:
        return Finding(
            "warning",
            "base_too_high",
            summary,
            "there is hardly anything left to learn",
            "Fine-tuning may not be needed; otherwise use harder prompts or a stricter reward",
        )
    if base.score.low < too_low or base.score.high > too_high:
        side = f"below {too_low:g}" if base.score.low < too_low else f"above {too_high:g}"
        return Finding(
            "unknown",
            "base_unclear",
            summary,
            f"the true mean may be {side}, where training makes little sense",
            "Evaluate more prompts",
        )
    return Finding("ok", "base_score", summary, "some answers earn a reward, and there is room to improve")


def _comparison_finding(comparison: Comparison) -> Finding:
    interval = comparison.difference.interval
    gain = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    if comparison.verdict == "better":
        return Finding(
            "ok", "better", f"{comparison.label} is better than {comparison.base}: {gain}", comparison.reason
        )
    if comparison.verdict == "worse":
        return Finding(
            "error",
            "worse",
            f"{comparison.label} is worse than {comparison.base}: {gain}",
            comparison.reason,
            "Do not use it; look at the examples of worse answers",
        )
    return Finding(
        "warning",
        "no_verdict",
        f"Not known whether {comparison.label} is better or worse than {comparison.base}: {gain}",
        comparison.reason,
        "Evaluate more prompts before deciding"
        if not comparison.difference_with_missing
        else "Fix the cause of the missing answers, then evaluate again",
    )


def _missing_finding(result: ModelResult) -> Finding:
    total = result.answers + result.failed
    with_missing = result.score_with_missing
    return Finding(
        "warning",
        "missing_answers",
        f"{result.failed:,} of {total:,} answers of {result.label} are missing",
        f"its mean is {result.score.value:.3f} without them, and {with_missing.value:.3f} if each counts as the "
        "lowest score",
    )


def _unscored_finding(code: str, text: str, reasons: Mapping[str, str]) -> Finding:
    first = next(iter(reasons.values()))
    return Finding("warning", code, f"{len(reasons):,} {text}", f"the first reason: {first}")
