"""Cost per point of reward of several jobs."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_rft._core.findings import WIDTH, JsonReport, clip
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs import Cost, Range
from bedrock_rft.costs._ranges import format_money
from bedrock_rft.metrics._series import Run

_REWARD = "critic_rewards_mean"
_ENDS = 10
_POINT = 0.01
_LABEL = 40


@dataclass(frozen=True)
class Gain(JsonReport):
    """Cost and gain of one job.

    Attributes:
        label: the name of the job.
        cost: the time and cost of the job.
        reward: the mean reward of the last ten steps minus the mean of the first ten; None without enough steps.
    """

    label: str
    cost: Cost
    reward: float | None
    _derived = ("per_point",)

    @classmethod
    def of(cls, label: str, run: Run, cost: Cost) -> Gain:
        """Return the gain of a run. With fewer than 20 steps, its halves are compared."""
        values = [value for _, value in run.series(_REWARD)]
        size = min(_ENDS, len(values) // 2)
        return cls(label, cost, sum(values[-size:]) / size - sum(values[:size]) / size if size else None)

    @property
    def per_point(self) -> Range | None:
        """Return the cost of 0.01 of reward; None if the cost is unknown or the reward did not rise."""
        money = self.cost.at_end or self.cost.so_far
        return money.times(_POINT / self.reward) if money and self.reward is not None and self.reward > 0 else None


@dataclass(frozen=True)
class Gains(JsonReport):
    """Cost and gain of several jobs. Print it, or write it with `to_json`.

    Attributes:
        rows: one for each job.
    """

    rows: tuple[Gain, ...]

    def __str__(self) -> str:
        lines = ["Cost, gain in reward, and cost of 0.01 of reward (not known: how hours are billed)"]
        lines[0] = clip(lines[0], WIDTH)
        for row in self.rows:
            reward = "no rewards" if row.reward is None else f"{row.reward:+.3f}"
            point = "none" if row.per_point is None else format_money(row.per_point, row.cost.currency)
            lines.append(f"  {sanitize_line(row.label, _LABEL)}")
            lines.append(f"    {row.cost.summary or 'cost unknown'}; {reward}; {point}")
        return "\n".join(lines)
