"""Compare the metrics of several jobs, and plot them in small panels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import WIDTH, clip
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.metrics._metrics import Metrics
from bedrock_rft.metrics._series import panels
from bedrock_rft.metrics._spark import sparkline
from bedrock_rft.metrics._table import columns, to_csv, to_pandas, to_polars

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare"]

_REWARD = "critic_rewards_mean"
_LABEL = 40
_LAST = 10


def compare(*runs: Metrics, labels: Sequence[str] | None = None) -> Comparison:
    """Compare the metrics of several jobs.

    ```python
    both = metrics.compare(client.jobs.metrics(first), client.jobs.metrics(second))
    both.plot()
    ```

    Args:
        runs: what `client.jobs.metrics` returned of each. `client.jobs.compare` takes jobs.
        labels: what to call them; else their ids, with the hyperparameters in which they differ.

    Raises:
        ConfigurationError: there are not as many labels as runs.
    """
    return Comparison.of(*runs, labels=labels)


@dataclass(frozen=True)
class Comparison:
    """Metrics of several jobs. Print it, plot it, or display it in a notebook.

    Attributes:
        runs: what each run is called, and its metrics.
    """

    runs: tuple[tuple[str, Metrics], ...]

    @classmethod
    def of(cls, *runs: Metrics, labels: Sequence[str] | None = None) -> Comparison:
        """Label the jobs. Raise `ConfigurationError` if the number of labels differs from the number of jobs."""
        if labels is not None and len(labels) != len(runs):
            raise ConfigurationError(
                f"There are {len(runs)} jobs and {len(labels)} labels. Pass one label for each job."
            )
        if not all(isinstance(run, Metrics) for run in runs):
            raise ConfigurationError("compare takes Metrics objects, as client.jobs.metrics returns them.")
        names = _distinct(labels if labels is not None else _labels(runs))
        return cls(tuple(zip(names, runs, strict=True)))

    def to_pandas(self) -> pd.DataFrame:
        """Return a `pandas.DataFrame` with one row for each step of each job. Raises `MissingExtraError`."""
        return to_pandas(self._table())

    def to_polars(self) -> pl.DataFrame:
        """Return a `polars.DataFrame` with one row for each step of each job. Raises `MissingExtraError`."""
        return to_polars(self._table())

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return comma-separated values, and write them to `path` if given. Needs no library."""
        return to_csv(self._table(), path)

    def _table(self) -> Mapping[str, Sequence[Any]]:
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
        return figure(self.title, panels(self.runs), self.checkpoints())

    @property
    def title(self) -> str:
        """Return a short title."""
        return self.runs[0][1].title if len(self.runs) == 1 else f"{len(self.runs)} runs"

    def checkpoints(self) -> tuple[tuple[int, int], ...]:
        """Return the checkpoints, as index of the job and step."""
        found = ((place, run.checkpoints) for place, (_, run) in enumerate(self.runs))
        return tuple((place, one.step_number) for place, saved in found for one in saved if one.step_number is not None)

    def __str__(self) -> str:
        if len(self.runs) == 1:
            return str(self.runs[0][1])
        wide = max((min(len(sanitize_line(label)), _LABEL) for label, _ in self.runs), default=0)
        lines = [f"{self.title}: reward at first, over the last {_LAST} steps, and at its highest"]
        for label, run in self.runs:
            values = [value for _, value in run.series(_REWARD)]
            last = values[-_LAST:]
            figures = (values[0], sum(last) / len(last), max(values)) if values else ()
            said = "".join(f"{each:>8.3g}" for each in figures) or f"{'no rewards':>24}"
            bars = sparkline(values, WIDTH - wide - 28)
            lines.append(clip(f"  {sanitize_line(label, _LABEL):<{wide}}{said}  {bars}".rstrip()))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from bedrock_rft.metrics._page import fragment

        return fragment(self)


def _labels(runs: Sequence[Metrics]) -> list[str]:
    """Return the ids of the jobs, with the hyperparameters that differ."""
    settings = [_settings(run) for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    telling = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    found: list[str] = []
    for number, (run, each) in enumerate(zip(runs, settings, strict=True), 1):
        said = ", ".join(f"{name} {each[name]}" for name in telling if name in each)
        name = sanitize_line(run.job.id, 80) if run.job else f"run {number}"
        found.append(f"{said} ({name})" if said else name)
    return found


def _settings(run: Metrics) -> dict[str, Any]:
    method = run.job.method if run.job else None
    given = method.reinforcement.hyperparameters if method and method.reinforcement else None
    return {name: value for name, value in given if value is not None} if given is not None else {}


def _distinct(labels: Iterable[str]) -> list[str]:
    found: list[str] = []
    for label in labels:
        name, number = label, 1
        while name in found:
            number += 1
            name = f"{label} #{number}"
        found.append(name)
    return found
