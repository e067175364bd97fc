"""Judge the trend of the reward from means of its first, best and last steps, in units of its noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import cast

from bedrock_rft._core.findings import Finding
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.metrics import _windows as windows
from bedrock_rft.metrics._series import ROUNDING
from bedrock_rft.metrics._thresholds import Thresholds

Range = tuple[float, float]

_MARGIN_ERRORS = 2.0  # standard errors of a bound: about one mean in 40 lies above its bound
_THIRDS_SHARE = 2 / 3  # share of a steady rise that the means of the first and last third show
_HIGH_SHARE = 0.8  # a reward of at least this share is fine without a rise, because little room is left
_DOUBT_ERRORS = 3.0  # standard errors of a change that may be noise, but a reward with such a change is not called flat
_QUICK_TIME = (
    1 / 40
)  # time constant of a quick learner as a share of the job: it reaches its plateau in the first tenth
_PLATEAU_SHARE = 0.5  # a reward below this share is flat even if it rose in the first steps and then kept its level
_KEPT_SHARE = 2 / 3  # a reward that has lost more than a third of its gain is not called rising


def check_range(value: object, alternative: str = "") -> None:
    """Raise `ConfigurationError` unless a reward range is a pair of finite numbers, the lower first."""
    pair = cast("Sequence[object]", value) if isinstance(value, (tuple, list)) else ()
    edges = [edge for edge in pair if isinstance(edge, (int, float)) and math.isfinite(edge)]
    if not (len(pair) == len(edges) == 2 and edges[0] < edges[1]):  # noqa: PLR2004 - low and high
        hint = f"Use the reward's lowest and highest score, such as (0, 1){alternative}."
        raise ConfigurationError(f"reward_range is {value!r}. {hint}")


class _Reward:
    """Rewards and their trend: means, rise and fall in standard errors, and the conclusions from them."""

    def __init__(
        self, values: Sequence[float], progress: float | None, scale: Range | None, thresholds: Thresholds
    ) -> None:
        self.values, self.progress, self.scale = values, progress, scale
        self.size = windows.end_size(len(values), thresholds.window)
        means = windows.rolling_means(values, self.size)
        self.first, self.best, self.last = means[0], max(means), means[-1]
        self.noise = windows.noise(values)
        falls = windows.find_falls(values, ended=progress == 1)
        certain = [fall for fall in falls if fall.errors >= thresholds.fall_errors]
        self.fall = max(certain or falls, key=lambda fall: fall.plain)
        # Without a scale, a fall counts if it exceeds the noise of one step.
        self.least_fall = (thresholds.fall_least if scale else 1.0) * self.span
        # The largest windows are few, so noise alone seldom reaches 3 standard errors among them. Others need 4.
        self.may_fall = any(
            fall.errors >= (_DOUBT_ERRORS if fall is falls[0] else _DOUBT_ERRORS + 1)
            and fall.best - fall.last >= self.least_fall
            for fall in falls
        )
        # The mean of a window hardly shows a collapse in the last step, so compare that step itself with the best mean.
        drop = self.best - values[-1]
        self.may_fall |= self.noise > 0 and drop >= max(self.least_fall, thresholds.fall_errors * self.noise)
        self.least_rise = thresholds.flat_gain * self.span if scale else ROUNDING * max(map(abs, values))
        self.rise = windows.largest_rise(values, self.least_rise)
        gain = self.last - self.first
        self.rises = (
            self.rise >= thresholds.rise_errors
            and gain >= max(self.least_rise, _KEPT_SHARE * (self.best - self.first))
            and not self.may_fall
        )

    @property
    def span(self) -> float:
        """Return the size of the scale or, without a scale, the noise of one step."""
        return self.scale[1] - self.scale[0] if self.scale else self.noise

    @property
    def evidence(self) -> str:
        """Return the end of each summary: the first, best and last mean, and the number of steps."""
        best = "" if self.best <= max(self.first, self.last) else f", at best {self.best:.2f}"
        steps = f"{len(self.values)} steps{best}"
        return windows.format_ends(f"{self.first:.2f}", f"{self.last:.2f}", self.size, steps)

    def upper_bound(self, count: int) -> float:
        """Return an upper bound on the true mean of the last steps."""
        return statistics.fmean(self.values[-count:]) + _MARGIN_ERRORS * self.noise / math.sqrt(count)


def reward_finding(
    points: Sequence[tuple[float, float]], progress: float | None, reward_range: Range | None, thresholds: Thresholds
) -> Finding:
    """Return the finding on whether the mean reward rises or falls over the steps.

    `progress` is the completed share of the job, from 0 to 1; None if unknown.
    """
    values = [value for _, value in points]
    scale, note = _scale(values, reward_range)
    reward = _Reward(values, progress, scale, thresholds)
    fall = _fall_finding(points, reward, thresholds)
    if fall or scale is None:
        return fall or (
            Finding("ok", "reward", f"The reward rises: {reward.evidence}", note)
            if reward.rises
            else _unknown_finding(reward, note)
        )
    low, high = (scale[0] + share * reward.span for share in (thresholds.reward_low, thresholds.reward_high))
    late = progress is not None and progress >= thresholds.flat_share
    third = max(1, len(values) // 3)
    if late and not reward.rises and reward.upper_bound(third) < low:
        reason = "almost no answer earns a reward, so there is little to learn from"
        remedy = (
            "Check the reward on real answers (bedrock_rft.rewards.check), reward partial success, use easier "
            "prompts, or use supervised fine-tuning first"
        )
        return Finding("error", "reward_low", f"The reward stays below {low:g}: {reward.evidence}", reason, remedy)
    # Use the lower bound of the mean of all steps, because a good model may score this high for a few steps by chance.
    lower = statistics.fmean(values) - _MARGIN_ERRORS * reward.noise / math.sqrt(len(values))
    if min(reward.first, lower) >= high:
        summary = f"The reward is at its maximum from the start: {reward.evidence}"
        reason = "all answers earn the full reward, so there is nothing to learn"
        remedy = "Use harder prompts or a stricter reward, and check if wrong answers can earn the reward"
        return Finding("warning", "reward_saturated", summary, reason, remedy)
    if reward.rises:
        return Finding("ok", "reward", f"The reward rises: {reward.evidence}")
    if reward.last >= scale[0] + _HIGH_SHARE * reward.span:
        return Finding("ok", "reward", f"The reward is high: {reward.evidence}")
    # A constant reward above the minimum comes from a reward function that does not look at the answer.
    constant = reward.noise <= ROUNDING and values[0] > scale[0] + ROUNDING
    return (_flat_finding(reward, scale, thresholds) if late or constant else None) or _unknown_finding(
        reward, _unknown_reason(reward, scale, thresholds, late=late)
    )


def _scale(values: Sequence[float], reward_range: Range | None) -> tuple[Range | None, str]:
    """Return `reward_range`, or None and the reason if it is missing or does not contain all rewards."""
    if reward_range is None:
        return None, "without reward_range there is no scale to judge it by"
    if min(values) < reward_range[0] - ROUNDING or max(values) > reward_range[1] + ROUNDING:
        low, high = reward_range
        return None, (
            f"rewards from {min(values):g} to {max(values):g} lie outside reward_range=({low:g}, {high:g}), so there "
            "is no scale to judge them by"
        )
    return reward_range, ""


def _fall_finding(points: Sequence[tuple[float, float]], reward: _Reward, thresholds: Thresholds) -> Finding | None:
    """Return a warning if the reward falls, else None."""
    fall = reward.fall
    if fall.errors < thresholds.fall_errors or fall.best - fall.last < reward.least_fall:
        return None
    began, ended = points[fall.place][0], points[fall.place + fall.size - 1][0]
    summary = (
        f"The reward falls: {fall.best:.2f} in steps {began:,.0f} to {ended:,.0f}, {fall.last:.2f} in the last "
        f"{fall.size} of {len(points)} steps"
    )
    reason = "the model unlearns what the reward measures, so the last checkpoint is not the best"
    remedy = "Use a checkpoint from the best steps, and lower learning_rate_multiplier or use fewer epochs"
    return Finding("warning", "reward_falls", summary, reason, remedy)


def _flat_finding(reward: _Reward, scale: Range, thresholds: Thresholds) -> Finding | None:
    """Return a warning if the reward did not rise, although it could and noise would not hide it, else None."""
    visible = thresholds.flat_visible * reward.span
    third = max(1, len(reward.values) // 3)
    gain = statistics.fmean(reward.values[-third:]) - statistics.fmean(reward.values[:third])
    if (
        reward.may_fall
        or reward.rise >= thresholds.rise_errors
        or windows.early_rise(reward.values, reward.least_rise) >= _DOUBT_ERRORS
        or gain + _MARGIN_ERRORS * reward.noise * math.sqrt(2 / third)
        >= _THIRDS_SHARE * visible * (reward.progress or 1.0)
        or reward.upper_bound(len(reward.values)) >= scale[1] - visible
        or _may_hide_rise(reward, scale, visible)
    ):
        return None
    reason = f"a rise of {visible:.2g} would have been visible, so the model does not learn what the reward measures"
    remedy = (
        "Check that the reward separates right from wrong answers (bedrock_rft.rewards.check) and that prompts are "
        "neither too easy nor too hard; then try another learning_rate_multiplier or more epochs"
    )
    return Finding("warning", "reward_flat", f"The reward does not rise: {reward.evidence}", reason, remedy)


def _may_hide_rise(reward: _Reward, scale: Range, visible: float) -> bool:
    """Return whether noise may hide a rise in the first steps, fitted as an exponential approach to the later level."""
    planned_steps = len(reward.values) / (reward.progress or 1.0)
    start = min(int(planned_steps * 4 * _QUICK_TIME), len(reward.values) * 2 // 3)
    level = statistics.fmean(reward.values[start:])
    if level < scale[0] + _PLATEAU_SHARE * reward.span:
        return False
    weights = [math.exp(-step / (_QUICK_TIME * planned_steps)) for step in range(1, len(reward.values) + 1)]
    size = math.fsum(weight * weight for weight in weights)
    gain = math.fsum(weight * (level - value) for weight, value in zip(weights, reward.values, strict=True)) / size
    return gain + reward.noise / math.sqrt(size) >= visible


def _unknown_reason(reward: _Reward, scale: Range, thresholds: Thresholds, *, late: bool) -> str:
    """Return the reason why the trend is unknown."""
    if reward.may_fall:
        return "it may be falling, but noise could explain that"
    if not late:
        over = "an unknown share" if reward.progress is None else f"{reward.progress:.0%}"
        return f"{over} of the job is over, so a rise may still come"
    third = max(1, len(reward.values) // 3)
    least = thresholds.rise_errors * reward.noise * math.sqrt(2 / third)
    visible = thresholds.flat_visible * reward.span
    if least < visible and _may_hide_rise(reward, scale, visible):
        return f"single steps vary by {reward.noise:.2g}, which may hide a rise in the first few steps"
    return f"single steps vary by {reward.noise:.2g}, which hides changes smaller than {least:.2g}"


def _unknown_finding(reward: _Reward, reason: str) -> Finding:
    return Finding("unknown", "reward_trend", f"The trend of the reward is not known: {reward.evidence}", reason)
