"""Judge the health of a job from its metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.local_service import is_local
from bedrock_rft.metrics import _windows as windows
from bedrock_rft.metrics._reward_health import Range, check_range, reward_finding
from bedrock_rft.metrics._series import ROUNDING, TITLES, Run, is_validation
from bedrock_rft.metrics._thresholds import Thresholds

_REWARD, _ENTROPY, _GRADIENT = "critic_rewards_mean", "actor_entropy", "actor_grad_norm"
_LENGTH, _ADVANTAGE, _LOSS = "response_length_mean", "critic_advantages_mean", "actor_pg_loss"
_MAX_BEFORE_SPIKE = 50  # a spike is compared with at most this many preceding steps
_MIN_BEFORE_SPIKE = 8
_HOLD_RATIO = 2.0  # a level holds if it neither doubles nor halves
_STEADY_RATIO = 10.0  # the gradient norm varies more in healthy runs, so it is steady within a factor of ten
_MAX_SHOWN = 3
_LARGEST = 1e100  # larger values are cut, because their squares and sums would overflow

Points = Sequence[tuple[float, float]]


def health(run: Run, thresholds: Thresholds, reward_range: Range | None) -> Findings:
    """Return findings about the health of a job; `Metrics.health` describes the arguments."""
    if reward_range is not None:
        check_range(reward_range, ", or None if unknown")
    title = f"Health of {run.name}{', a rehearsal on the local service' if run.job and is_local(run.job.id) else ''}"
    series = {name: run.series(name) for name in {**dict.fromkeys(run.names), **TITLES}}
    findings = list(_not_finite_findings(series))
    finite = {
        name: [(step, max(-_LARGEST, min(_LARGEST, value))) for step, value in series[name] if math.isfinite(value)]
        for name in TITLES
    }
    step_count = max(map(len, finite.values()), default=0)
    if step_count < thresholds.enough:
        findings.append(
            Finding(
                "unknown",
                "too_few_steps",
                f"There are metrics of {step_count} steps",
                f"a trend needs at least {thresholds.enough} steps",
            )
        )
        return Findings(title, tuple(findings))
    last = max(step for points in finite.values() for step, _ in points)
    findings.append(_reward_trend_finding(finite[_REWARD], _progress(run, last), reward_range, thresholds))
    for name, check in ((_ENTROPY, _entropy_finding), (_GRADIENT, _gradient_finding), (_LENGTH, _length_finding)):
        if len(finite[name]) >= thresholds.enough:
            findings.append(check(finite[name], thresholds))
    if len(finite[_ADVANTAGE]) >= thresholds.enough:
        findings.append(_advantages_finding(finite, max(last, run.total_steps or 0), reward_range, thresholds))
    return Findings(title, tuple(findings))


def _progress(run: Run, last: float) -> float | None:
    """Return the share of the job that is over, or None if it runs and its number of steps is unknown."""
    if run.total_steps is not None and run.total_steps > 0:
        return min(1.0, last / run.total_steps)
    return 1.0 if run.job is None or run.job.is_terminal else None


def _not_finite_findings(series: Mapping[str, Points]) -> Iterator[Finding]:
    for name, points in series.items():
        lost = [(step, value) for step, value in points if not math.isfinite(value)]
        if lost and not is_validation(name):
            summary = f"{TITLES.get(name, name)} is not a finite number: {_format_points(lost)}"
            reason = "a calculation overflowed or divided by 0, so later steps may be worthless"
            remedy = (
                "Use an earlier checkpoint, lower learning_rate_multiplier, and return only finite numbers from the "
                "reward"
            )
            yield Finding("error", "not_finite", summary, reason, remedy)


def _reward_trend_finding(
    points: Points, progress: float | None, reward_range: Range | None, thresholds: Thresholds
) -> Finding:
    if not points:
        return Finding("unknown", "reward_missing", "There are no rewards among the metrics")
    if len(points) < thresholds.enough:
        reason = f"a trend needs at least {thresholds.enough} rewards"
        return Finding("unknown", "reward_trend", f"There are rewards of {len(points)} steps", reason)
    return reward_finding(points, progress, reward_range, thresholds)


def _entropy_finding(points: Points, thresholds: Thresholds) -> Finding:
    early, late, errors = _compare_ends(points, thresholds)
    size = windows.end_size(len(points), thresholds.window)
    evidence = windows.format_ends(f"{early:.3g} nats", f"{late:.3g}", size, f"{len(points)} steps")
    if late < thresholds.entropy_least or (
        late < early * thresholds.entropy_share and errors >= thresholds.change_errors
    ):
        reason = "the model repeats one answer, so it explores and learns little"
        remedy = "Use an earlier checkpoint, lower learning_rate_multiplier, or use more varied prompts or fewer epochs"
        return Finding("warning", "entropy_collapse", f"Entropy has collapsed: {evidence}", reason, remedy)
    if early / _HOLD_RATIO <= late <= early * _HOLD_RATIO:
        return Finding("ok", "entropy", f"Entropy holds: {evidence}")
    return _change_finding("entropy", "Entropy", early, late, evidence)


def _gradient_finding(points: Points, thresholds: Thresholds) -> Finding:
    # Steps without a training signal have no gradient, so they are ignored.
    logs = [(step, math.log(value)) for step, value in points if value > 0]
    size = windows.end_size(len(logs), thresholds.window)
    if len(logs) < thresholds.enough or not any(value > 0 for _, value in points[-size:]):
        size_text = (
            f"0 in the last {size} steps" if len(logs) >= thresholds.enough else f"above 0 in {len(logs)} steps only"
        )
        return Finding("unknown", "gradient", f"The gradient norm is {size_text} of {len(points)}")
    first = math.exp(statistics.median(value for _, value in logs[:size]))
    last = math.exp(statistics.median(value for _, value in logs[-size:]))
    counted = f"{len(logs)} steps{' with a gradient' if len(logs) < len(points) else ''}"
    evidence = windows.format_ends(f"{first:.3g}", f"{last:.3g}", size, counted, "median")
    if last >= first * thresholds.gradient_ratio:
        summary = f"The gradient norm has grown {last / first:,.0f}-fold: {evidence}"
        reason = "training diverges: each step changes the model more than the step before"
        remedy = "Use an earlier checkpoint, and lower learning_rate_multiplier or raise batch_size"
        return Finding("warning", "gradient_grows", summary, reason, remedy)
    spikes = _spikes(logs, thresholds)
    if len(spikes) >= thresholds.spikes:
        summary = f"The gradient norm spikes {len(spikes)} times, {_format_points(spikes)}; {evidence}"
        reason = "training is unstable: single steps may undo progress"
        remedy = "Lower learning_rate_multiplier or raise batch_size, and check the prompts of those steps"
        return Finding("warning", "gradient_spikes", summary, reason, remedy)
    if first / _STEADY_RATIO <= last <= first * _STEADY_RATIO:
        apart = f", except for {_format_points(spikes)}" if spikes else ""
        return Finding("ok", "gradient", f"The gradient norm is steady{apart}: {evidence}")
    return _change_finding("gradient", "The gradient norm", first, last, evidence)


def _spikes(logs: Points, thresholds: Thresholds) -> list[tuple[float, float]]:
    """Return the steps whose gradient norm, given as logarithm, is far above the preceding ones."""
    ratio = math.log(thresholds.spike_ratio)
    values = [value for _, value in logs]
    spikes: list[tuple[float, float]] = []
    for place, (step, value) in enumerate(logs):
        preceding = values[max(0, place - _MAX_BEFORE_SPIKE) : place]
        if len(preceding) < _MIN_BEFORE_SPIKE or value - min(preceding) < ratio:
            continue
        above = value - statistics.median(preceding)
        if above >= max(ratio, thresholds.spike_deviations * windows.deviation(preceding)):
            spikes.append((step, math.exp(value)))
    return spikes


def _length_finding(points: Points, thresholds: Thresholds) -> Finding:
    early, late, errors = _compare_ends(points, thresholds)
    size = windows.end_size(len(points), thresholds.window)
    evidence = windows.format_ends(f"{early:,.0f} tokens", f"{late:,.0f}", size, f"{len(points)} steps")
    if errors >= thresholds.change_errors and late >= early * thresholds.length_ratio:
        reason = "unless the task needs long answers, the reward pays for length, which costs time and tokens"
        remedy = (
            "Read some answers, remove length from the reward or reward brevity, and check that padding does not raise "
            "the score"
        )
        return Finding("warning", "length_runaway", f"Responses keep growing: {evidence}", reason, remedy)
    if errors >= thresholds.change_errors and late < early * thresholds.length_share:
        reason = "unless the task needs short answers only, the model no longer reasons or answers"
        remedy = "Read some answers, check that empty or cut answers earn no reward, and use an earlier checkpoint"
        return Finding("warning", "length_collapse", f"Responses have become very short: {evidence}", reason, remedy)
    if early / _HOLD_RATIO <= late < early * _HOLD_RATIO:
        return Finding("ok", "length", f"Response length holds: {evidence}")
    return _change_finding("length", "Response length", early, late, evidence)


def _change_finding(code: str, title: str, early: float, late: float, evidence: str) -> Finding:
    """Return an `unknown` finding for a change that is too large to be ok and too small or uncertain for an alarm."""
    change = "falls" if late < early else "grows"
    return Finding(
        "unknown", code, f"{title} {change}: {evidence}", "this can be healthy, noise, or the start of a fault"
    )


def _advantages_finding(
    series: dict[str, list[tuple[float, float]]], steps: float, reward_range: Range | None, thresholds: Thresholds
) -> Finding:
    points = series[_ADVANTAGE]
    others = [dict(series[name]) for name in (_LOSS, _GRADIENT)]
    # A mean advantage of 0 alone shows nothing, so check that loss and gradient are 0 too, as without a signal.
    zero = [
        (step, abs(value) < ROUNDING and all(abs(other.get(step, 0.0)) < ROUNDING for other in others))
        for step, value in points
    ]
    signals = sum(abs(value) >= ROUNDING for _, value in points)
    least = thresholds.zero_share * steps
    long = [
        (count, first, last)
        for count, first, last in windows.find_stretches(zero)
        if count >= thresholds.zero_steps and last - first + 1 >= least
    ]
    for count, first, last in long:
        earned = [reward for step, reward in series[_REWARD] if first <= step <= last]
        # No warning if every answer earns the full reward, because then nothing is left to learn.
        if not _is_at_top(earned, reward_range, thresholds):
            summary = f"All advantages are 0 in {count} steps in a row, {first:,.0f} to {last:,.0f}"
            reason = "all answers to a prompt got the same reward, so these steps taught nothing"
            remedy = "Use prompts that the model solves sometimes, or a reward with more than two values"
            return Finding("warning", "advantages_zero", summary, reason, remedy)
    if long:
        return Finding("ok", "advantages", "Advantages are 0 while the reward is at its top; fewer epochs would do")
    if 2 * signals >= len(points):
        summary = f"Rewards differ within groups, so there is a training signal, in {signals} of {len(points)} steps"
        return Finding("ok", "advantages", summary)
    summary = f"The mean advantage is 0 in {len(points) - signals} of {len(points)} steps"
    reason = "this does not show if rewards differ within groups"
    return Finding("unknown", "advantages", summary, reason)


def _is_at_top(rewards: Sequence[float], reward_range: Range | None, thresholds: Thresholds) -> bool:
    if not rewards or reward_range is None:
        return False
    low, high = reward_range
    return low + thresholds.reward_high * (high - low) <= statistics.median(rewards) <= high + ROUNDING


def _compare_ends(points: Points, thresholds: Thresholds) -> tuple[float, float, float]:
    """Return the mean of the first and of the last steps, and their difference in standard errors."""
    values = [value for _, value in points]
    size = windows.end_size(len(values), thresholds.window)
    early, late = statistics.fmean(values[:size]), statistics.fmean(values[-size:])
    error = windows.noise(values) * math.sqrt(2 / size)
    return early, late, abs(late - early) / error if error > 0 else 0.0


def _format_points(points: Points) -> str:
    text = ", ".join(f"{value:.3g} at step {step:,.0f}" for step, value in points[:_MAX_SHOWN])
    return f"{text} and {len(points) - _MAX_SHOWN} more" if len(points) > _MAX_SHOWN else text
