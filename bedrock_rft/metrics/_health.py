"""What the numbers of a run say about it: what each means, what shows it, and what to try."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft.metrics import _robust as robust
from bedrock_rft.metrics._extent import NOTHING as _NOTHING
from bedrock_rft.metrics._series import TITLES, is_validation
from bedrock_rft.metrics._thresholds import Thresholds

if TYPE_CHECKING:
    from bedrock_rft.metrics._metrics import Metrics

__all__ = ["health"]

_REWARD, _ENTROPY, _GRADIENT = "critic_rewards_mean", "actor_entropy", "actor_grad_norm"
_LENGTH, _ADVANTAGE, _LOSS = "response_length_mean", "critic_advantages_mean", "actor_pg_loss"
_SURE = 2.0  # deviations of a trend
_VERY_SURE = 3.0
_CERTAIN = 4.0
_BASELINE = 50  # steps before a spike
_FEWEST = 8
_SHOWN = 3

Points = Sequence[tuple[float, float]]


def health(run: Metrics, thresholds: Thresholds) -> Findings:
    """What is wrong with a run, what is as it should be, and what cannot be told yet."""
    found = list(_not_finite(run))
    known = {name: [point for point in run.series(name) if math.isfinite(point[1])] for name in TITLES}
    counted = max(map(len, known.values()), default=0)
    if counted < thresholds.enough:
        found.append(
            Finding(
                "unknown",
                "too_few_steps",
                f"There are numbers of {counted} steps",
                f"fewer than {thresholds.enough} say nothing about where a run goes",
            )
        )
        return Findings(f"Health of {run.name}", tuple(found))
    points = known[_REWARD]
    if len(points) < thresholds.enough:
        found.append(Finding("unknown", "reward_missing", "There are no rewards among the metrics"))
    else:
        found.append(_reward(points, run.total_steps, thresholds))
    for name, check in ((_ENTROPY, _entropy), (_GRADIENT, _gradient), (_LENGTH, _length)):
        if len(known[name]) >= thresholds.enough:
            found.append(check(known[name], thresholds))
    if len(known[_ADVANTAGE]) >= thresholds.enough:
        found.append(_advantages(known, thresholds))
    return Findings(f"Health of {run.name}", tuple(found))


def _not_finite(run: Metrics) -> Iterator[Finding]:
    for name in run.names:
        lost = [(step, value) for step, value in run.series(name) if not math.isfinite(value)]
        if lost and not is_validation(name):
            yield Finding(
                "error",
                "not_finite",
                f"{TITLES.get(name, name)} is not a finite number: {_at(lost)}",
                "a calculation overflowed or divided by 0, and what is learned from then on may be worthless",
                "Go back to a checkpoint from before; lower learning_rate_multiplier, and let the reward return finite "
                "numbers only",
            )


def _reward(points: Points, total: int | None, thresholds: Thresholds) -> Finding:
    values = [value for _, value in points]
    early, late = _ends(values, thresholds.window)
    sure, gain = robust.trend(values), robust.slope(values)
    evidence = f"{early:.2f} at first, {late:.2f} lately, over {len(values)} steps"
    rising = sure >= _SURE and gain >= thresholds.flat_gain
    scaled = min(values) >= -_NOTHING and max(values) <= 1 + _NOTHING
    if scaled and late < thresholds.reward_low and not (sure >= _VERY_SURE and rising):
        return Finding(
            "error",
            "reward_low",
            f"The reward is stuck under {thresholds.reward_low:g}: {evidence}",
            "answers hardly ever earn anything, so there is nothing to learn from",
            "Check the reward on real answers (bedrock_rft.rewards.check), give part of it for partial success, take "
            "easier prompts, or fine-tune with supervision first",
        )
    if scaled and early >= thresholds.reward_high:
        return Finding(
            "warning",
            "reward_saturated",
            f"The reward is at its top from the start: {evidence}",
            "where every answer earns all there is, answers cannot be told apart and nothing is learned",
            "Take harder prompts or a stricter reward; look whether the reward can be had without a right answer",
        )
    if rising:
        return Finding("ok", "reward", f"The reward rises: {evidence}")
    if scaled and late >= thresholds.reward_high:
        return Finding("ok", "reward", f"The reward is high: {evidence}")
    if _can_be_flat(values, total, thresholds):
        return Finding(
            "warning",
            "reward_flat",
            f"The reward does not rise: {evidence}",
            "the model learns nothing that the reward can see",
            "Check that the reward tells good answers from bad ones (bedrock_rft.rewards.check) and that prompts are "
            "neither too easy nor too hard; then try another learning_rate_multiplier or more epochs",
        )
    return Finding("unknown", "reward_trend", f"Whether the reward rises cannot be told yet: {evidence}")


def _can_be_flat(values: Sequence[float], total: int | None, thresholds: Thresholds) -> bool:
    """Whether a rise would have shown by now."""
    if max(values) - min(values) < _NOTHING:
        return True
    count = len(values)
    if count < thresholds.flat_steps or (total is not None and count < total * thresholds.flat_share):
        return False
    # The standard error of a straight line's rise over the run, from the noise of one step.
    return _CERTAIN * robust.noise(values) * math.sqrt(12 / count) <= thresholds.flat_visible


def _entropy(points: Points, thresholds: Thresholds) -> Finding:
    values = [value for _, value in points]
    early, late = _ends(values, thresholds.window)
    evidence = f"{early:.3g} nats at first, {late:.3g} lately, over {len(values)} steps"
    if late < max(early * thresholds.entropy_share, thresholds.entropy_least):
        return Finding(
            "warning",
            "entropy_collapse",
            f"The entropy has collapsed: {evidence}",
            "the model gives one answer again and again, so nothing new is tried and little more is learned",
            "Use an earlier checkpoint; lower learning_rate_multiplier, take more varied prompts, or fewer epochs",
        )
    return Finding("ok", "entropy", f"The entropy holds: {evidence}")


def _gradient(points: Points, thresholds: Thresholds) -> Finding:
    spikes: list[tuple[float, float]] = []
    for place, (step, value) in enumerate(points):
        # Steps without a signal have no gradient; they say nothing about how large one is.
        before = [math.log(earlier) for _, earlier in points[max(0, place - _BASELINE) : place] if earlier > 0]
        if len(before) < _FEWEST or value <= 0:
            continue
        above = math.log(value) - statistics.median(before)
        if above >= math.log(thresholds.spike_ratio) and above >= thresholds.spike_deviations * robust.deviation(
            before
        ):
            spikes.append((step, value))
    usual = statistics.median(value for _, value in points)
    if len(spikes) >= thresholds.spikes:
        return Finding(
            "warning",
            "gradient_spikes",
            f"The gradient norm spikes {len(spikes)} times, {_at(spikes)}, where {usual:.3g} is usual",
            "training is unstable: single steps may undo what was learned",
            "Lower learning_rate_multiplier or raise batch_size, and look at the prompts of those steps",
        )
    return Finding("ok", "gradient", f"The gradient norm is steady about {usual:.3g}")


def _length(points: Points, thresholds: Thresholds) -> Finding:
    values = [value for _, value in points]
    early, late = _ends(values, thresholds.window)
    evidence = f"{early:,.0f} tokens at first, {late:,.0f} lately, over {len(values)} steps"
    if late >= early * thresholds.length_ratio and late > 0 and robust.trend(values) >= _VERY_SURE:
        return Finding(
            "warning",
            "length_runaway",
            f"The responses grow and grow: {evidence}",
            "unless the task calls for it, length is rewarded instead of the answer, and it costs time and tokens",
            "Read some answers; take length out of the reward or reward brevity, and check that a padded answer scores "
            "no better",
        )
    return Finding("ok", "length", f"The response length holds: {evidence}")


def _advantages(known: dict[str, list[tuple[float, float]]], thresholds: Thresholds) -> Finding:
    others = [dict(known[name]) for name in (_LOSS, _GRADIENT)]
    # Their mean is near 0 at all times; that nothing was learned from shows in the loss and the gradient as well.
    zero = [
        (step, abs(value) < _NOTHING and all(abs(other.get(step, 0.0)) < _NOTHING for other in others))
        for step, value in known[_ADVANTAGE]
    ]
    long = [stretch for stretch in robust.stretches(zero) if stretch[0] >= thresholds.zero_steps]
    for count, first, last in long:
        earned = [reward for step, reward in known[_REWARD] if first <= step <= last]
        # Where every answer earns everything there is nothing left to learn, and that is no disease.
        if not earned or statistics.median(earned) < thresholds.reward_high:
            return Finding(
                "warning",
                "advantages_zero",
                f"All advantages are 0 in {count} steps in a row, {first:,.0f} to {last:,.0f}",
                "all answers to a prompt were rewarded alike, so these steps taught nothing",
                "Take prompts that are answered right sometimes, or a reward with more than two values",
            )
    if long:
        return Finding("ok", "advantages", "Advantages are 0 where the reward is at its top; fewer epochs would do")
    return Finding("ok", "advantages", "The advantages tell answers apart")


def _ends(values: Sequence[float], window: int) -> tuple[float, float]:
    size = max(1, min(window, len(values) // 3))
    return statistics.median(values[:size]), statistics.median(values[-size:])


def _at(points: Points) -> str:
    shown = ", ".join(f"{value:.3g} at step {step:,.0f}" for step, value in points[:_SHOWN])
    return f"{shown} and {len(points) - _SHOWN} more" if len(points) > _SHOWN else shown
