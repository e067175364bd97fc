"""The report on recorded rollouts: figures, findings and examples, as text, JSON and a page."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.findings import Finding, finding_lines, standalone_page, write_text
from bedrock_rft._core.tables import format_table
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.metrics import Metrics
from bedrock_rft.rollouts._figures import (
    Figures,
    Part,
    Period,
    Rate,
    Step,
    part_rows,
    period_rows,
    rate_rows,
    step_rows,
)
from bedrock_rft.rollouts._findings import judge
from bedrock_rft.rollouts._html import SCRIPT, overview, page
from bedrock_rft.rollouts._record import Record
from bedrock_rft.rollouts._tally import SHOWN, Key, Sums, Tally
from bedrock_rft.types.events import Event

BUCKETS = 10
"""Number of intervals of equal width in the distribution of rewards."""
_PERIODS, _EXTREMES, _STEPS = 40, 12, 10


@dataclass(frozen=True)
class RolloutReport(Figures):
    """Report on recorded rollouts. Print it, display it in a notebook, or write it with `to_html` and `to_json`.

    Attributes:
        rollouts: number of rollouts.
        prompts: number of prompts; an estimate above 20,000.
        groups: number of groups with at least two rollouts, recognised by time, so approximate.
        group_size: the most frequent number of rollouts in a group.
        first: time of the first rollout, in Unix seconds.
        last: time of the last rollout.
        pass_mark: a rollout passes if its reward is at least this.
        pass_rate: share of the rollouts that pass.
        mean: mean reward.
        low: lower end of the distribution of rewards.
        high: upper end of the distribution of rewards.
        no_signal: share of the groups with equal rewards; None without groups.
        periods: at most 40 periods with about the same number of rollouts.
        parts: the parts of the reward by name, over the rollouts without errors.
        fields: pass rates by record field and value, the most frequent first.
        never: number of prompts that no rollout passes.
        always: number of prompts that all rollouts pass.
        hardest: prompts with the lowest pass rates and means.
        easiest: prompts with the highest pass rates and means.
        error_kinds: number of rollouts by error.
        duration: median, 95 % quantile and maximum of the seconds that scoring one rollout took. The median and the
            quantile are those of a sample.
        slowest: the rollouts that took longest, the slowest first.
        steps: rollouts by step of the job, if events were given and their times differ.
        rehearsed: number of rollouts of the local service or of a rehearsal, whose answers no model gave.
        origins: number of rollouts by function, source, version, package and model.
        examples: rollouts that show a finding, by its code.
        pairs: the first and the last rollout of up to 40 prompts, chosen at random among the prompts.
        sample: up to 1,000 rollouts, chosen at random, in order of time. Their long texts are cut.
        unreadable: lines and files that were left out, because they cannot be read.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, with `verdict` and `ok`, and without `pairs` and `sample`."""
        return {name: value for name, value in super().to_dict().items() if name not in {"pairs", "sample"}}

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a self-contained page of HTML, and write it to `path` if given.

        A table that can be filtered has at most 1,000 rollouts, and the page states how they were chosen. Everything
        except the filter works without scripts.
        """
        return write_text(standalone_page(self.title, page(self), SCRIPT), path)

    def __str__(self) -> str:
        lines = super().__str__().split("\n")
        start = len(lines) - len(finding_lines(self.findings))
        tables = [period_rows(self), part_rows(self), *(rate_rows(*each) for each in self.fields.items())]
        tables += [step_rows(self, _STEPS)]
        body: list[str] = []
        for rows in tables:
            body += [*format_table(rows), ""] if rows[1:] else []
        return "\n".join([*lines[:start], "", *body, *lines[start:]])

    def _repr_html_(self) -> str:
        return overview(self)


def rollout_report(
    records: Iterable[Record],
    title: str,
    *,
    events: Metrics | Iterable[Event] | None = None,
    fields: Sequence[str] = (),
    pass_mark: float = 1.0,
) -> RolloutReport:
    """Read all records once, and return the report on them."""
    steps, reported = _steps(events)
    if not math.isfinite(pass_mark):
        raise ConfigurationError(f"pass_mark is {pass_mark}. Pass the lowest reward with which a rollout passes.")
    tally = Tally(pass_mark, tuple(fields), steps).read(records)
    if not tally.rollouts:
        return RolloutReport(title, (Finding("unknown", "no_rollouts", "There are no rollouts"),), pass_mark=pass_mark)
    found = judge(tally)
    low, high = min(0.0, tally.least), max(1.0, tally.greatest)
    never, always, hardest, easiest = _prompts(tally.prompts)
    durations = sorted(one.record.duration for one in tally.sample if one.record.duration is not None)
    drawn = random.Random(0).sample(tally.sample, min(SHOWN, len(tally.sample)))  # noqa: S311 - a sample
    shown = sorted(drawn, key=lambda one: one.at)
    return RolloutReport(
        title,
        tuple(finding for finding, _ in found),
        rollouts=tally.rollouts,
        prompts=tally.prompt_count,
        groups=tally.groups,
        group_size=max(tally.group_sizes, key=lambda size: tally.group_sizes[size], default=0),
        first=tally.first,
        last=tally.last,
        pass_mark=pass_mark,
        pass_rate=tally.passed / tally.rollouts,
        mean=tally.total / tally.rollouts,
        low=low,
        high=high,
        no_signal=tally.no_signal / tally.groups if tally.groups else None,
        periods=tuple(
            _period(start, end, sums, tally.timeline.unit, low, high)
            for start, end, sums in tally.timeline.merge(_PERIODS)
        ),
        parts={name: _part(tally, name) for name in tally.part_sums},
        fields={
            name: tuple(map(_rate, sorted(values.values(), key=lambda sums: -sums.rollouts)))
            for name, values in tally.by_field.items()
        },
        never=never,
        always=always,
        hardest=hardest,
        easiest=easiest,
        error_kinds=dict(tally.errors.most_common()),
        duration=(_quantile(durations, 0.5), _quantile(durations, 0.95), tally.longest),
        slowest=tuple(record for *_, record in sorted(tally.slowest, key=lambda one: -one[0])),
        steps=tuple(
            Step(step, sums.rollouts, sums.total / sums.rollouts, reported.get(step))
            for step, sums in sorted(tally.by_step.items())
        ),
        rehearsed=tally.rehearsed,
        origins={name: dict(counts.most_common()) for name, counts in tally.origins.items()},
        examples={finding.code: tuple(records) for finding, records in found if records},
        pairs=tuple((first, last) for (began, first), (ended, last) in tally.ends.values() if ended > began),
        sample=tuple(one.record for one in shown),
    )


def _steps(events: Metrics | Iterable[Event] | None) -> tuple[list[tuple[int, float]], dict[int, float]]:
    """Return step and time of each event, ordered by time, and the reported rewards; nothing if steps share a time."""
    if events is None:
        return [], {}
    metrics = events if isinstance(events, Metrics) else Metrics.of(events)
    last = dict(sorted(metrics.times, key=lambda one: one[1]))
    if len(set(last.values())) < len(last):  # the times are whole seconds, and local steps take less
        return [], {}
    ordered = sorted(last.items(), key=lambda item: item[1])
    rewards = {one.step: one.critic_rewards_mean for one in metrics.steps}
    return ordered, {step: mean for step, mean in rewards.items() if step is not None and mean is not None}


def _period(start: float, end: float, sums: Mapping[Key, float], unit: float, low: float, high: float) -> Period:
    count, groups, answers = sums["rollouts", ""], sums.get(("groups", ""), 0), sums.get(("answers", ""), 0)
    histogram = [0] * BUCKETS
    parts: dict[str, float] = {}
    for (kind, key), amount in sums.items():
        if kind == "histogram":
            place = int((int(key) * unit + unit / 2 - low) / (high - low) * BUCKETS)
            histogram[min(BUCKETS - 1, max(0, place))] += int(amount)
        elif kind == "part":
            parts[str(key)] = amount / sums["part_count", key]
    return Period(
        start,
        end,
        int(count),
        sums["score", ""] / count,
        sums["passed", ""] / count,
        tuple(histogram),
        int(sums.get(("errors", ""), 0)),
        sums["no_signal", ""] / groups if groups else None,
        sums["length", ""] / answers if answers else None,
        parts,
    )


def _part(tally: Tally, name: str) -> Part:
    count, total, squares = tally.part_sums[name]
    mean = total / count
    spread = math.sqrt(max(0.0, squares / count - mean * mean))
    both = (tally.correlation(f"part {name} and {other}") for other in ("reward", "length"))
    return Part(mean, spread, *(None if found is None else found.value for found in both))


def _rate(sums: Sums) -> Rate:
    return Rate(sums.name, sums.rollouts, sums.passed / sums.rollouts, sums.total / sums.rollouts)


def _prompts(prompts: Mapping[str, Sums]) -> tuple[int, int, tuple[Rate, ...], tuple[Rate, ...]]:
    rates = sorted(map(_rate, prompts.values()), key=lambda one: (one.pass_rate, one.mean))
    never, always = sum(one.pass_rate == 0 for one in rates), sum(one.pass_rate == 1 for one in rates)
    return never, always, tuple(rates[:_EXTREMES]), tuple(rates[::-1][:_EXTREMES])


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
