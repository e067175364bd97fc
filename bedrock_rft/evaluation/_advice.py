"""Findings of an evaluation: verdicts on models, and advice for a training run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.evaluation._pipeline import Unscored
from bedrock_rft.evaluation._results import Comparison, ModelResult
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

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
    """Yield the findings for all models. The first is the base model."""
    if results[0].answers:
        yield _base_finding(results[0], thresholds, reward_range)
    yield from map(_comparison_finding, comparisons)
    for result in results:
        yield from _answer_findings(result)
    for code, summary, reasons in (
        ("not_answered", "questions were rejected by the service", unscored.unanswered),
        ("not_scored", "answers could not be scored", unscored.ungraded),
    ):
        if reasons:
            first = next(iter(reasons.values()))
            yield Finding("warning", code, f"{len(reasons):,} {summary}", f"the first reason: {first}")


def _answer_findings(result: ModelResult) -> Iterator[Finding]:
    label = result.label
    if not result.answers:
        reason = "the service rejected every question, or the reward scored no answer"
        yield Finding("error", "no_answers", f"{label} has no scored answer", reason, "See the reasons below")
    elif result.failed:
        summary = f"{result.failed:,} of {result.answers + result.failed:,} answers of {label} are missing"
        reason = (
            f"its mean is {result.score.value:.3f} without them, and {result.score_with_missing.value:.3f} if each "
        )
        yield Finding("warning", "missing_answers", summary, f"{reason}counts as the lowest score")
    if result.cut_off > _MANY_CUT_OFF:
        summary = f"{result.cut_off:.0%} of the answers of {label} ended at the token limit"
        remedy = "Raise max_completion_tokens in sampling="
        yield Finding("warning", "cut_off", summary, "an unfinished answer seldom scores", remedy)
    if result.parts.get(ERROR_METRIC, 0.0) > 0:
        summary = f"The reward raised on {result.parts[ERROR_METRIC]:.1%} of the answers of {label}"
        reason = "these answers count with the lowest score"
        yield Finding("warning", "reward_errors", summary, reason, "Run rewards.check on the reward")


def _base_finding(base: ModelResult, thresholds: Thresholds, reward_range: tuple[float, float]) -> Finding:
    """Judge the base model by its interval on the reward's scale, never by the mean alone."""
    lowest, highest = reward_range
    summary = f"{base.label} scores {base.score} on average"
    scores = [score for answers in base.scores.values() for score in answers]
    if min(scores) < lowest or max(scores) > highest:
        reason = (
            f"scores from {min(scores):g} to {max(scores):g} lie outside reward_range=({lowest:g}, {highest:g}), so "
            "there is no scale to judge them by"
        )
        remedy = "Pass the reward's lowest and highest score as reward_range="
        return Finding("unknown", "base_scale", summary, reason, remedy)
    too_low = lowest + thresholds.too_low * (highest - lowest)
    too_high = lowest + thresholds.too_high * (highest - lowest)
    if base.score.high < too_low:
        reason = "reinforcement learns from answers that earn a reward, and hardly any does"
        remedy = "Fine-tune with supervision first, use easier prompts, or give partial rewards for partial success"
        return Finding("error", "base_too_low", summary, reason, remedy)
    if base.score.low > too_high:
        reason = "there is hardly anything left to learn"
        remedy = "Fine-tuning may not be needed; otherwise use harder prompts or a stricter reward"
        return Finding("warning", "base_too_high", summary, reason, remedy)
    if base.score.low < too_low or base.score.high > too_high:
        side = f"below {too_low:g}" if base.score.low < too_low else f"above {too_high:g}"
        reason = f"the true mean may be {side}, where training is of little use"
        return Finding("unknown", "base_unclear", summary, reason, "Evaluate more prompts")
    return Finding("ok", "base_score", summary, "some answers earn a reward, and there is room to improve")


def _comparison_finding(comparison: Comparison) -> Finding:
    label, base, reason = comparison.label, comparison.base, comparison.reason
    gain = f"{comparison.difference.interval:+}"
    if comparison.verdict == "better":
        return Finding("ok", "better", f"{label} is better than {base}: {gain}", reason)
    if comparison.verdict == "worse":
        remedy = "Do not use it; look at the examples of worse answers"
        return Finding("error", "worse", f"{label} is worse than {base}: {gain}", reason, remedy)
    summary = f"Not known whether {label} is better or worse than {base}: {gain}"
    remedy = "Evaluate more prompts before deciding"
    if comparison.difference_with_missing:
        remedy = "Fix the cause of the missing answers, then evaluate again"
    return Finding("warning", "no_verdict", summary, reason, remedy)
