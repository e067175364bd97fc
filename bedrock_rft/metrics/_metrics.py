"""Metrics of a job, a sequence of training steps, and the comparison of several jobs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from bedrock_rft._core.findings import WIDTH, JsonReport, clip, wrap
from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs._ranges import format_money
from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.metrics._series import KNOWN, ROUNDING, checkpoint_steps, is_validation, number, sparkline
from bedrock_rft.metrics._table import Table, columns, merge_steps, metric_value, step_times
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import Event, TrainingMetrics
from bedrock_rft.types.jobs import Job, hyperparameters_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pydantic import BaseModel

    from bedrock_rft._core.findings import Findings
    from bedrock_rft.costs import Cost, Prices, Range
    from bedrock_rft.metrics._thresholds import Thresholds

_REWARD = "critic_rewards_mean"
_LABEL_WIDTH = 44  # the id of a job fits
_LAST_STEPS = 10
_POINT = 0.01
_GAIN_LABEL_WIDTH = 40
_NAME_WIDTH, _MAX_NAME_WIDTH = 24, 32
"""Minimum and maximum width of the column with the names of metrics."""
_NUMBER_WIDTH = 10


@dataclass(frozen=True, repr=False)
class Metrics(Table, Sequence[TrainingMetrics]):
    """The training steps of a job, each once, in order. Print it, plot it, or display it in a notebook.

    A slice is again `Metrics`: `metrics[-10:]` are the last ten steps.

    Attributes:
        steps: the metrics by step; metrics without a step come last.
        job: the job as it was when the metrics were read.
        checkpoints: the models saved during the job.
        times: the step and the Unix time in seconds of each event with metrics that has both.
    """

    steps: tuple[TrainingMetrics, ...] = ()
    job: Job | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    times: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event], job: Job | None = None, checkpoints: Iterable[Checkpoint] = ()) -> Metrics:
        """Return the metrics in events, oldest first, such as those from `client.jobs.follow`."""
        event_list = tuple(events)
        return cls(merge_steps(event_list), job, tuple(checkpoints), step_times(event_list))

    @overload
    def __getitem__(self, index: int) -> TrainingMetrics: ...
    @overload
    def __getitem__(self, index: slice) -> Metrics: ...
    def __getitem__(self, index: int | slice) -> TrainingMetrics | Metrics:
        if isinstance(index, slice):
            return Metrics(self.steps[index], self.job, self.checkpoints, self.times)
        return self.steps[index]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[TrainingMetrics]:
        return iter(self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of metrics with values: documented ones first, then others in order of appearance."""
        table = columns(self.steps)
        others = [name for name in table if name not in {*KNOWN, "step", "total_steps"}]
        return tuple(name for name in (*KNOWN, *others) if any(number(value) is not None for value in table[name]))

    @property
    def validation_names(self) -> tuple[str, ...]:
        """Return the names of validation metrics. The names are not documented, so a prefix identifies them."""
        return tuple(name for name in self.names if is_validation(name))

    @property
    def total_steps(self) -> int | None:
        """Return the total number of steps, if the job reports it."""
        return max((step.total_steps for step in self.steps if step.total_steps is not None), default=None)

    def series(self, name: str) -> tuple[tuple[float, float], ...]:
        """Return a metric as pairs of step and value. Values may be NaN or infinite.

        If no step has a number, steps are counted from 1.
        """
        without_steps = all(step.step is None for step in self.steps)
        places = enumerate(self.steps, 1) if without_steps else ((step.step, step) for step in self.steps)
        pairs = ((place, number(metric_value(step, name))) for place, step in places)
        return tuple((float(place), value) for place, value in pairs if place is not None and value is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return job, steps and checkpoints as JSON values. NaN and infinity become None."""
        return {
            "job": _to_json_values(self.job) if self.job else None,
            "steps": [_to_json_values(step) for step in self.steps],
            "checkpoints": [_to_json_values(checkpoint) for checkpoint in self.checkpoints],
            "times": [list(each) for each in self.times],
        }

    def _columns(self) -> Mapping[str, Sequence[Any]]:
        return columns(self.steps)

    def plot(self) -> Figure:
        """Return a `matplotlib` figure: one panel for each metric, with checkpoints marked.

        The figure needs no screen; `figure.savefig("run.png")` writes it.

        Raises:
            MissingExtraError: the extra 'plot' is not installed.
        """
        return Comparison.of(self).plot()

    def cost(self, *, prices: Prices | None = None, now: float | None = None) -> Cost:
        """Return time and cost of the job, so far and at its end, as ranges that name their origin.

        Args:
            prices: prices to use; by default `bedrock_rft.costs.Prices.load()`.
            now: Unix seconds; by default the time of this machine. Only a job that has not ended depends on it.

        Raises:
            ConfigurationError: the metrics have no job, or the prices cannot be read.
        """
        from bedrock_rft.costs import Prices
        from bedrock_rft.costs._job_cost import job_cost
        from bedrock_rft.costs._pace import JobTimes

        if self.job is None:
            raise ConfigurationError("These metrics have no job. Read them with client.jobs.metrics(job).")
        times = JobTimes.of(self.job, self.times)
        return job_cost(times, self.total_steps, prices or Prices.load(), time.time() if now is None else now)

    def compare(self, *others: Metrics) -> Comparison:
        """Compare this job with others; see `bedrock_rft.metrics.compare`."""
        return Comparison.of(self, *others)

    def health(
        self, thresholds: Thresholds | None = None, *, reward_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Findings:
        """Judge the health of the job. Each finding has evidence, a meaning and something to try.

        The checks look for a reward that falls, does not rise, stays low or is at its maximum from the start, for
        collapsing entropy, a growing or unstable gradient, responses that grow or shrink several times, steps without
        any advantage, and numbers that are not finite. A check that cannot decide is `unknown`.

        Args:
            thresholds: limits of the checks; see `bedrock_rft.metrics.Thresholds` for the values and their reasons.
            reward_range: lowest and highest value of the reward. With None, the reward is compared with its own noise
                only, so it is never called low, flat or at its maximum.

        Raises:
            ConfigurationError: `reward_range` is not a pair of finite numbers, the lower first.
        """
        from bedrock_rft.metrics._health import health
        from bedrock_rft.metrics._thresholds import Thresholds

        return health(self, thresholds or Thresholds(), reward_range)

    @property
    def name(self) -> str:
        """Return the id of the job, if known."""
        return sanitize_line(self.job.id, 60) if self.job else "a run"

    @property
    def title(self) -> str:
        """Return the job and its progress in a few words."""
        job = self.job
        status, model = (sanitize_line(job.status, 40), sanitize_line(job.model, 40)) if job else ("", "")
        local = "a rehearsal on the local service" if job and is_local(job.id) else ""
        return ", ".join(part for part in (self.name, status, self._progress(), model, local) if part)

    def _progress(self) -> str:
        if not self.steps:
            return "no steps yet"
        last = max((step.step for step in self.steps if step.step is not None), default=len(self.steps))
        total = self.total_steps
        return f"step {last:,} of {total:,}" if total is not None and total >= last else f"{last:,} steps"

    def __str__(self) -> str:
        lines = [*wrap(self.title, indent="", next_indent="  ")]
        if self.checkpoints:
            saved = sorted(one.step_number for one in self.checkpoints if one.step_number is not None)
            steps = ", ".join(f"{step:,}" for step in saved)
            lines.append(clip(f"  checkpoints at steps {steps}" if saved else f"  {len(self.checkpoints)} checkpoints"))
        if names := self.names:
            head = "".join(f"{title:>{_NUMBER_WIDTH}}" for title in ("first step", "last step", "lowest", "highest"))
            width = min(_MAX_NAME_WIDTH, max(_NAME_WIDTH, *(len(name) + 1 for name in names)))
            lines.append(f"  {'':<{width}}{head}")
            lines += [self._row(name, width) for name in names]
        return "\n".join(lines)

    def _row(self, name: str, width: int) -> str:
        title = f"  {sanitize_line(name, width - 1):<{width}}"
        values = [value for _, value in self.series(name)]
        if not values:
            return title.rstrip()
        numbers = [value for value in values if not math.isnan(value)] or values
        figures_shown = (values[0], values[-1], min(numbers), max(numbers))
        figures = (0.0 if abs(each) < ROUNDING else each for each in figures_shown)  # rounding errors around 0
        bars = sparkline(values, WIDTH - 4 - width - 4 * _NUMBER_WIDTH)
        return f"{title}{''.join(f'{each:>{_NUMBER_WIDTH}.3g}' for each in figures)}  {bars}"

    def __repr__(self) -> str:
        job = f"job={sanitize_line(self.job.id, 80)!r}, " if self.job else ""
        return f"Metrics({job}steps={len(self.steps)}, checkpoints={len(self.checkpoints)})"

    def _repr_html_(self) -> str:
        return Comparison.of(self)._repr_html_()


def compare(*runs: Metrics, labels: Sequence[str] | None = None) -> Comparison:
    """Compare the metrics of several jobs.

    ```python
    both = metrics.compare(client.jobs.metrics(first), client.jobs.metrics(second))
    both.plot()
    ```

    Args:
        runs: results of `client.jobs.metrics`. `client.jobs.compare` takes jobs.
        labels: names of the jobs. Default: their ids, with the hyperparameters that differ.

    Raises:
        ConfigurationError: the number of labels differs from the number of runs.
    """
    return Comparison.of(*runs, labels=labels)


@dataclass(frozen=True)
class Comparison(Table):
    """Metrics of several jobs. Print it, plot it, or display it in a notebook.

    Attributes:
        runs: label and metrics of each job.
    """

    runs: tuple[tuple[str, Metrics], ...]

    @classmethod
    def of(cls, *runs: Metrics, labels: Sequence[str] | None = None) -> Comparison:
        """Label the jobs; see `compare`."""
        if labels is not None and len(labels) != len(runs):
            raise ConfigurationError(
                f"There are {len(runs)} jobs and {len(labels)} labels. Pass one label for each job."
            )
        if not all(isinstance(run, Metrics) for run in runs):
            raise ConfigurationError("compare takes Metrics objects, as client.jobs.metrics returns them.")
        names = _distinct_labels(labels if labels is not None else _default_labels(runs))
        return cls(tuple(zip(names, runs, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the label and the metrics of each job as JSON values. NaN and infinity become None."""
        return {"runs": [{"label": label, **run.to_dict()} for label, run in self.runs]}

    def _columns(self) -> Mapping[str, Sequence[Any]]:
        every = columns([step for _, run in self.runs for step in run])
        name = "run"
        while name in every:  # the service may have a metric with this name
            name += "_"
        return {name: [label for label, run in self.runs for _ in run], **every}

    def plot(self) -> Figure:
        """Return a `matplotlib` figure: one panel for each metric, one curve for each job, with checkpoints marked.

        Raises:
            MissingExtraError: the extra 'plot' is not installed.
        """
        try:
            from bedrock_rft.metrics._plot import figure
        except ImportError:
            raise MissingExtraError("plot()", "plot") from None
        return figure(self.title, self.runs)

    def costs(self, *, prices: Prices | None = None, now: float | None = None) -> Gains:
        """Return the cost of each job, the reward that it gained, and the cost per point of reward.

        The gain is the mean reward of the last ten steps minus that of the first ten; see `Gain`. A point is 0.01 of
        reward.

        Args:
            prices: prices to use; by default `bedrock_rft.costs.Prices.load()`.
            now: Unix seconds; by default the time of this machine.

        Raises:
            ConfigurationError: a run has no job, or the prices cannot be read.
        """
        return Gains(tuple(Gain.of(label, run, run.cost(prices=prices, now=now)) for label, run in self.runs))

    @property
    def title(self) -> str:
        """Return a short title."""
        if len(self.runs) == 1:
            return self.runs[0][1].title
        local = sum(run.job is not None and is_local(run.job.id) for _, run in self.runs)
        note = "" if not local else f" ({'all' if local == len(self.runs) else local} on the local service)"
        return f"{len(self.runs)} runs{note}"

    def checkpoints(self) -> tuple[tuple[int, int], ...]:
        """Return the checkpoints as pairs of a job's index and a step."""
        return checkpoint_steps(self.runs)

    def __str__(self) -> str:
        if len(self.runs) == 1:
            return str(self.runs[0][1])
        width = max((min(len(sanitize_line(label)), _LABEL_WIDTH) for label, _ in self.runs), default=0)
        head = f"{self.title}: reward of the first step, mean of the last {_LAST_STEPS} steps, and highest"
        lines = [*wrap(head, indent="", next_indent="  ")]
        for label, run in self.runs:
            values = [value for _, value in run.series(_REWARD)]
            last = values[-_LAST_STEPS:]
            figures = (values[0], sum(last) / len(last), max(values)) if values else ()
            shown = "".join(f"{each:>8.3g}" for each in figures) or f"{'no rewards':>24}"
            bars = sparkline(values, WIDTH - width - 28)
            lines.append(clip(f"  {sanitize_line(label, _LABEL_WIDTH):<{width}}{shown}  {bars}".rstrip()))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from bedrock_rft.metrics._html import fragment

        return fragment(self.title, self.runs)


@dataclass(frozen=True)
class Gain(JsonReport):
    """Cost and gain of one job.

    Attributes:
        label: the name of the job.
        cost: the time and cost of the job.
        reward: the mean reward of the last ten steps minus that of the first ten. A run of 2 to 19 steps is split into
            two halves instead. None if fewer than two steps have a reward.
    """

    label: str
    cost: Cost
    reward: float | None
    _derived = ("per_point",)

    @classmethod
    def of(cls, label: str, run: Metrics, cost: Cost) -> Gain:
        """Return the gain of a run: the mean reward of its last ten steps minus that of its first ten.

        A run with fewer than 20 steps is split into two halves instead.
        """
        values = [value for _, value in run.series(_REWARD)]
        size = min(_LAST_STEPS, len(values) // 2)
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
        rows: the cost and the gain of each job.
    """

    rows: tuple[Gain, ...]

    def __str__(self) -> str:
        lines = ["Cost, gain in reward, and cost of 0.01 of reward (not known: how hours are billed)"]
        lines[0] = clip(lines[0], WIDTH)
        for row in self.rows:
            reward = "too few rewards" if row.reward is None else f"{row.reward:+.3f}"
            point = "none" if row.per_point is None else format_money(row.per_point, row.cost.currency)
            lines.append(f"  {sanitize_line(row.label, _GAIN_LABEL_WIDTH)}")
            lines.append(f"    {row.cost.summary or 'cost unknown'}; {reward}; {point}")
        return "\n".join(lines)


def _to_json_values(item: BaseModel) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(item.model_dump_json(exclude_none=True))
    return values


def _default_labels(runs: Sequence[Metrics]) -> list[str]:
    """Return the ids of the jobs, with the hyperparameters that differ."""
    settings = [hyperparameters_of(run.job) for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    labels: list[str] = []
    for place, (run, each) in enumerate(zip(runs, settings, strict=True), 1):
        described = ", ".join(f"{name} {each[name]}" for name in differing if name in each)
        name = sanitize_line(run.job.id, 80) if run.job else f"run {place}"
        labels.append(f"{described} ({name})" if described else name)
    return labels


def _distinct_labels(labels: Iterable[str]) -> list[str]:
    distinct: list[str] = []
    for label in labels:
        name, number = label, 1
        while name in distinct:
            number += 1
            name = f"{label} #{number}"
        distinct.append(name)
    return distinct
