"""Judge the health of a job from its metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft.metrics import _robust as robust
from bedrock_rft.metrics._series import NOTHING as _NOTHING
from bedrock_rft.metrics._series import TITLES, Run, is_validation
from bedrock_rft.metrics._thresholds import Thresholds

__all__ = ["health"]

_REWARD, _ENTROPY, _GRADIENT = "critic_rewards_mean", "actor_entropy", "actor_grad_norm"
_LENGTH, _ADVANTAGE, _LOSS = "response_length_mean", "critic_advantages_mean", "actor_pg_loss"
_SURE = 2.0  # standard deviations of a trend
_VERY_SURE = 3.0
_CERTAIN = 4.0
_BASELINE = 50  # number of steps before a spike to compare with
_FEWEST = 8
_SHOWN = 3

Points = Sequence[tuple[float, float]]


def health(run: Run, thresholds: Thresholds) -> Findings:
    """Return findings about the health of a job. Checks without enough data are `unknown`."""
    found = list(_not_finite(run))
    known = {name: [point for point in run.series(name) if math.isfinite(point[1])] for name in TITLES}
    counted = max(map(len, known.values()), default=0)
    if counted < thresholds.enough:
        found.append(
            Finding(
                "unknown",
                "too_few_steps",
                f"There are metrics of {counted} steps",
                f"a trend needs at least {thresholds.enough} steps",
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


def _not_finite(run: Run) -> Iterator[Finding]:
    for name in run.names:
        lost = [(step, value) for step, value in run.series(name) if not math.isfinite(value)]
        if lost and not is_validation(name):
            yield Finding(
                "error",
                "not_finite",
                f"{TITLES.get(name, name)} is not a finite number: {_at(lost)}",
                "a calculation overflowed or divided by 0, so later steps may be worthless",
                "Use an earlier checkpoint, lower learning_rate_multiplier, and return only finite numbers from the "
                "reward",
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
            f"The reward stays below {thresholds.reward_low:g}: {evidence}",
            "almost no answer earns a reward, so there is little to learn from",
            "Check the reward on real answers (bedrock_rft.rewards.check), reward partial success, use easier "
            "prompts, or use supervised fine-tuning first",
        )
    if scaled and early >= thresholds.reward_high:
        return Finding(
            "warning",
            "reward_saturated",
            f"The reward is at its maximum from the start: {evidence}",
            "all answers earn the full reward, so there is nothing to learn",
            "Use harder prompts or a stricter reward, and check if wrong answers can earn the reward",
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
            "the model does not learn what the reward measures",
            "Check that the reward separates right from wrong answers (bedrock_rft.rewards.check) and that prompts are "
            "neither too easy nor too hard; then try another learning_rate_multiplier or more epochs",
        )
    return Finding("unknown", "reward_trend", f"There are too few steps to judge the trend of the reward: {evidence}")


def _can_be_flat(values: Sequence[float], total: int | None, thresholds: Thresholds) -> bool:
    """Check if a rise would be visible above the noise by now."""
    if max(values) - min(values) < _NOTHING:
        return True
    count = len(values)
    if count < thresholds.flat_steps or (total is not None and count < total * thresholds.flat_share):
        return False
    # Standard error of the rise of a fitted line, from the noise of one step.
    return _CERTAIN * robust.noise(values) * math.sqrt(12 / count) <= thresholds.flat_visible


def _entropy(points: Points, thresholds: Thresholds) -> Finding:
    values = [value for _, value in points]
    early, late = _ends(values, thresholds.window)
    evidence = f"{early:.3g} nats at first, {late:.3g} lately, over {len(values)} steps"
    if late < max(early * thresholds.entropy_share, thresholds.entropy_least):
        return Finding(
            "warning",
            "entropy_collapse",
            f"Entropy has collapsed: {evidence}",
            "the model repeats one answer, so it explores and learns little",
            "Use an earlier checkpoint, lower learning_rate_multiplier, or use more varied prompts or fewer epochs",
        )
    return Finding("ok", "entropy", f"Entropy has not collapsed: {evidence}")


def _gradient(points: Points, thresholds: Thresholds) -> Finding:
    spikes: list[tuple[float, float]] = []
    for place, (step, value) in enumerate(points):
        # Steps without a training signal have no gradient, so they are ignored.
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
            f"The gradient norm spikes {len(spikes)} times, {_at(spikes)}; the usual value is {usual:.3g}",
            "training is unstable: single steps may undo progress",
            "Lower learning_rate_multiplier or raise batch_size, and check the prompts of those steps",
        )
    return Finding("ok", "gradient", f"The gradient norm has no repeated spikes; its median is {usual:.3g}")


def _length(points: Points, thresholds: Thresholds) -> Finding:
    values = [value for _, value in points]
    early, late = _ends(values, thresholds.window)
    evidence = f"{early:,.0f} tokens at first, {late:,.0f} lately, over {len(values)} steps"
    if late >= early * thresholds.length_ratio and late > 0 and robust.trend(values) >= _VERY_SURE:
        return Finding(
            "warning",
            "length_runaway",
            f"Responses keep growing: {evidence}",
            "unless the task needs long answers, the reward pays for length, which costs time and tokens",
            "Read some answers, remove length from the reward or reward brevity, and check that padding does not raise "
            "the score",
        )
    return Finding("ok", "length", f"Response length does not run away: {evidence}")


def _advantages(known: dict[str, list[tuple[float, float]]], thresholds: Thresholds) -> Finding:
    others = [dict(known[name]) for name in (_LOSS, _GRADIENT)]
    # The mean advantage is always near 0. Without a signal, loss and gradient are 0 as well.
    zero = [
        (step, abs(value) < _NOTHING and all(abs(other.get(step, 0.0)) < _NOTHING for other in others))
        for step, value in known[_ADVANTAGE]
    ]
    long = [stretch for stretch in robust.stretches(zero) if stretch[0] >= thresholds.zero_steps]
    for count, first, last in long:
        earned = [reward for step, reward in known[_REWARD] if first <= step <= last]
        # If every answer earns the full reward, there is nothing left to learn, which is not a problem.
        if not earned or statistics.median(earned) < thresholds.reward_high:
            return Finding(
                "warning",
                "advantages_zero",
                f"All advantages are 0 in {count} steps in a row, {first:,.0f} to {last:,.0f}",
                "all answers to a prompt got the same reward, so these steps taught nothing",
                "Use prompts that the model solves sometimes, or a reward with more than two values",
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
