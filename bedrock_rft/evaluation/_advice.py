"""What an evaluation means for a run, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bedrock_rft._core.findings import Finding
from bedrock_rft.evaluation._flow import Missed
from bedrock_rft.evaluation._report import Comparison, ModelResult
from bedrock_rft.evaluation._statistics import Difference
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["Thresholds", "advice"]

_MANY_CUT = 0.05


@dataclass(frozen=True)
class Thresholds:
    """From where on a score says something about a run to come.

    Attributes:
        too_low: a base model under it hardly ever earns a reward, so there is nothing to learn from.
        too_high: a base model above it has hardly anything left to learn.

    Source:
        AWS's user guide, Reinforcement fine-tuning for Amazon Nova models: measure the base model; at 0, fine-tune with
        supervision first; above 95 %, reinforcement fine-tuning may not be needed. 0.05 is this project's choice.
    """

    too_low: float = 0.05
    too_high: float = 0.95


def advice(
    results: Sequence[ModelResult],
    comparisons: Sequence[Comparison | None],
    missed: Missed,
    thresholds: Thresholds,
) -> list[Finding]:
    """What the results mean for a run, and what to do about them."""
    base, found = results[0], [_silent(one) for one in results if not one.answers]
    value = base.score.value
    if not base.answers:
        pass
    elif value < thresholds.too_low:
        found.append(
            Finding(
                "error",
                "base_too_low",
                f"{base.label} scores {value:.3f} on average",
                "reinforcement learns from answers that earn something, and hardly any does",
                "Fine-tune with supervision first, take easier prompts, or give part of the reward for partial success",
            )
        )
    elif value > thresholds.too_high:
        found.append(
            Finding(
                "warning",
                "base_too_high",
                f"{base.label} scores {value:.3f} on average already",
                "there is hardly anything left to learn",
                "Perhaps no fine-tuning is needed; else take harder prompts or a stricter reward",
            )
        )
    else:
        found.append(
            Finding("ok", "base_score", f"{base.label} scores {value:.3f} on average", "there is something to learn")
        )
    found += [_verdict(one.label, one.base, one.difference) for one in comparisons if one is not None]
    found += [_cut_off(one) for one in results if one.cut_off > _MANY_CUT]
    found += [_floored(one) for one in results if one.parts.get(ERROR_METRIC, 0.0) > 0]
    if missed.asked:
        found.append(_not_counted("not_answered", "questions were not answered", missed.asked))
    if missed.scored:
        found.append(_not_counted("not_scored", "answers could not be scored", missed.scored))
    return found


def _not_counted(code: str, what: str, reasons: Mapping[str, str]) -> Finding:
    first = next(iter(reasons.values()))
    return Finding("warning", code, f"{len(reasons):,} {what} and count nowhere", f"the first: {first}")


def _verdict(label: str, base: str, found: Difference) -> Finding:
    gain = f"{found.interval.value:+.3f} [{found.interval.low:+.3f}, {found.interval.high:+.3f}]"
    if found.interval.low > 0:
        return Finding("ok", "better", f"{label} is better than {base}: {gain}")
    if found.interval.high < 0:
        return Finding(
            "error", "worse", f"{label} is worse than {base}: {gain}", "", "Do not use it; look at the examples"
        )
    return Finding(
        "warning",
        "no_difference",
        f"{label} and {base} cannot be told apart: {gain}",
        "the interval holds zero",
        "Ask more prompts or samples before deciding",
    )


def _silent(one: ModelResult) -> Finding:
    return Finding("error", "no_answers", f"{one.label} answered nothing", "", "Look at why its questions failed")


def _floored(one: ModelResult) -> Finding:
    return Finding(
        "warning",
        "reward_errors",
        f"the reward could not score {one.parts[ERROR_METRIC]:.1%} of the answers of {one.label}",
        "they count with the floor",
        "Run rewards.check on it",
    )


def _cut_off(one: ModelResult) -> Finding:
    return Finding(
        "warning",
        "cut_off",
        f"{one.cut_off:.0%} of the answers of {one.label} ended at the limit of tokens",
        "what is cut off seldom scores",
        "Raise max_completion_tokens in sampling=",
    )
