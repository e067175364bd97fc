"""Figures of the report on recorded rollouts, and the tables that show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from bedrock_rft._core.findings import Findings
from bedrock_rft._core.local_service import ANSWERS
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.rollouts._record import Record
from bedrock_rft.rollouts._tally import MOST_PROMPTS

_LINES, _MOST_ROWS = 10, 12
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Period(ShortRepr):
    """Rollouts of one period.

    Attributes:
        start: start of the period, in Unix seconds.
        end: end of the period.
        rollouts: number of rollouts.
        mean: mean reward.
        pass_rate: share of the rollouts that pass.
        histogram: number of rollouts by reward, in ten intervals of equal width from `low` to `high` of the report.
        errors: number of rollouts that could not be scored.
        no_signal: share of the groups with equal rewards; None without groups.
        length: mean number of characters of the answers; None if they were not recorded.
        parts: mean of each part of the reward.
    """

    start: float
    end: float
    rollouts: int
    mean: float
    pass_rate: float
    histogram: tuple[int, ...]
    errors: int
    no_signal: float | None
    length: float | None
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Part(ShortRepr):
    """One part of the reward.

    Attributes:
        mean: mean of the part.
        spread: standard deviation of the part.
        correlation: correlation of the part with the reward within groups; None if one of the two does not vary within
            groups.
        length_correlation: correlation of the part with the length of the answer within groups; None if one of the two
            does not vary within groups.
    """

    mean: float
    spread: float
    correlation: float | None
    length_correlation: float | None


@dataclass(frozen=True)
class Rate(ShortRepr):
    """Rollouts of one prompt, or with one value of a record field.

    Attributes:
        name: the beginning of the prompt, or the value.
        rollouts: number of rollouts.
        pass_rate: share of the rollouts that pass.
        mean: mean reward.
    """

    name: str
    rollouts: int
    pass_rate: float
    mean: float


@dataclass(frozen=True)
class Step(ShortRepr):
    """Rollouts that are assigned to a step, because their times lie between the times of the job's events.

    Attributes:
        step: the number of the step.
        rollouts: number of rollouts.
        mean: mean reward of the rollouts.
        reported: the mean reward that the service reported; None if it reported none.
    """

    step: int
    rollouts: int
    mean: float
    reported: float | None


@dataclass(frozen=True)
class Figures(Findings):
    """The data of a `RolloutReport`. The docstring of `RolloutReport` describes the attributes."""

    rollouts: int = 0
    prompts: int = 0
    groups: int = 0
    group_size: int = 0
    first: float = math.nan
    last: float = math.nan
    pass_mark: float = 1.0
    pass_rate: float = math.nan
    mean: float = math.nan
    low: float = 0.0
    high: float = 1.0
    no_signal: float | None = None
    periods: tuple[Period, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict[str, Part])
    fields: Mapping[str, tuple[Rate, ...]] = field(default_factory=dict[str, tuple[Rate, ...]])
    never: int = 0
    always: int = 0
    hardest: tuple[Rate, ...] = ()
    easiest: tuple[Rate, ...] = ()
    error_kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    duration: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    slowest: tuple[Record, ...] = ()
    steps: tuple[Step, ...] = ()
    rehearsed: int = 0
    origins: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    examples: Mapping[str, tuple[Record, ...]] = field(default_factory=dict[str, tuple[Record, ...]])
    pairs: tuple[tuple[Record, Record], ...] = ()
    sample: tuple[Record, ...] = ()
    unreadable: int = 0

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the numbers of rollouts, their time, and the rewards."""
        left_out = [("left out", f"{self.unreadable:,} lines or files that cannot be read")] if self.unreadable else []
        if not self.rollouts:
            return [("rollouts", "0"), *left_out]
        about = "about " if self.prompts > MOST_PROMPTS else ""
        groups = f"; {self.groups:,} groups of {self.group_size} (recognised by time)" if self.groups else ""
        median, high, longest = self.duration
        solved = f"{self.never:,} never pass, {self.always:,} always"
        facts = [("note", f"{ANSWERS}: {self.rehearsed:,} of {self.rollouts:,} rollouts")] if self.rehearsed else []
        facts += [
            ("rollouts", f"{self.rollouts:,} of {about}{self.prompts:,} prompts{groups}"),
            ("function", ", ".join(sanitize_line(name, 100) for name in self.origins.get("function", ()))),
            ("time", f"{format_time(self.first)} to {format_time(self.last)} UTC"),
            ("reward", f"mean {self.mean:.3f}; {self.pass_rate:.1%} pass (at least {self.pass_mark:g})"),
            (
                "prompts",
                solved if self.prompts <= MOST_PROMPTS else f"of {MOST_PROMPTS:,} prompts drawn at random, {solved}",
            ),
        ]
        if not math.isnan(median):
            times = f"median {median * 1000:.1f} ms, p95 {high * 1000:.1f} ms, at most {longest:.2f} s for one rollout"
            facts.append(("scoring", times))
        models = self.origins.get("model", {})
        if len(models) > 1:
            listed = ", ".join(
                f"{sanitize_line(name, 100) or 'not recorded'} ({count:,})" for name, count in models.items()
            )
            facts.append(("models", f"answers of {len(models)} models, which the figures do not separate: {listed}"))
        facts += left_out
        versions = self.origins.get("version", {})
        if len(versions) > 1:
            facts.append(("versions", ", ".join(f"{name} ({count:,})" for name, count in versions.items())))
        return facts


def period_rows(report: Figures) -> list[list[str]]:
    """Return the table of the distribution of rewards over time, in at most ten lines."""
    rows = [["from (UTC)", "rollouts", "mean", f"{report.low:g} to {report.high:g}", "pass", "no signal", "errors"]]
    size = math.ceil(len(report.periods) / _LINES)
    for start in range(0, len(report.periods), size or 1):
        some = report.periods[start : start + size]
        count = sum(one.rollouts for one in some)
        histogram = [sum(column) for column in zip(*(one.histogram for one in some), strict=True)]
        signals = [one.no_signal for one in some if one.no_signal is not None]
        errors = sum(one.errors for one in some)
        rows.append(
            [
                format_time(some[0].start),
                f"{count:,}",
                f"{sum(one.mean * one.rollouts for one in some) / count:.3f}",
                "".join(_BARS[math.ceil(8 * each / max(histogram))] for each in histogram),
                f"{sum(one.pass_rate * one.rollouts for one in some) / count:.0%}",
                f"{sum(signals) / len(signals):.0%}" if signals else "",
                f"{errors:,}" if errors else "",
            ]
        )
    return rows


def part_rows(report: Figures) -> list[list[str]]:
    """Return the table of the parts of the reward."""
    rows = [["part of the reward", "mean", "spread", "with reward", "with length"]]
    for name, part in report.parts.items():
        both = ("" if each is None else f"{each:+.2f}" for each in (part.correlation, part.length_correlation))
        rows.append([name, f"{part.mean:.3f}", f"{part.spread:.3f}", *both])
    return rows


def rate_rows(name: str, rates: Sequence[Rate]) -> list[list[str]]:
    """Return the table of pass rates by the values of a record field, or by prompt."""
    shown = [[one.name, f"{one.rollouts:,}", f"{one.pass_rate:.1%}", f"{one.mean:.3f}"] for one in rates[:_MOST_ROWS]]
    return [[name, "rollouts", "pass", "mean"], *shown]


def step_rows(report: Figures, most: int) -> list[list[str]]:
    """Return the table of steps, evenly chosen if there are more than `most`."""
    every = math.ceil(len(report.steps) / most)
    shown = [
        [f"{one.step:,}", f"{one.rollouts:,}", f"{one.mean:.3f}", "" if one.reported is None else f"{one.reported:.3f}"]
        for one in report.steps[:: every or 1]
    ]
    return [["step (by time)", "rollouts", "mean", "reported"], *shown]


def format_time(at: float) -> str:
    """Return a Unix time as text in UTC."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M:%S}"
