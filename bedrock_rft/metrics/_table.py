"""Read training steps from events, and export them as JSON, CSV, and pandas and polars frames."""

from __future__ import annotations

import csv
import io
import json
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import JsonReport, write_text
from bedrock_rft.errors import MissingExtraError
from bedrock_rft.metrics._series import KNOWN, number
from bedrock_rft.types.events import Event, TrainingMetrics

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_METRICS = "metrics"
_FIELDS = frozenset(TrainingMetrics.model_fields)
_LARGEST_INTEGER = 2**63 - 1


class Table(JsonReport):
    """Base class of objects that can be exported as a table of training steps."""

    @abstractmethod
    def _columns(self) -> Mapping[str, Sequence[Any]]: ...

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a comma-separated line for each step, and write them to `path` if given. Raises `DatasetError`."""
        table, text = self._columns(), io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
        return write_text(text.getvalue(), path)

    def to_pandas(self) -> pd.DataFrame:
        """Return a `pandas.DataFrame` with one row for each step. Raises `MissingExtraError` (extra 'pandas')."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_pandas()", "pandas") from None
        table = self._columns()
        # Use Int64, because pandas would convert integer columns with missing values to floats.
        integers = [name for name, values in table.items() if None in values and _all_of_type(values, int)]
        return pd.DataFrame(
            {name: pd.array(values, "Int64") if name in integers else values for name, values in table.items()}
        )

    def to_polars(self) -> pl.DataFrame:
        """Return a `polars.DataFrame` with one row for each step. Raises `MissingExtraError` (extra 'polars')."""
        try:
            import polars as pl
        except ImportError:
            raise MissingExtraError("to_polars()", "polars") from None
        return pl.DataFrame(dict(self._columns()), infer_schema_length=None)


def columns(steps: Sequence[TrainingMetrics]) -> dict[str, list[Any]]:
    """Return the values of every field by name. Columns of mixed types or of objects hold JSON text."""
    names = dict.fromkeys(("step", "total_steps", *KNOWN))
    for step in steps:
        names.update(dict.fromkeys(step.model_extra or {}))
    return {name: _uniform_column([metric_value(step, name) for step in steps]) for name in names}


def _uniform_column(values: list[Any]) -> list[Any]:
    if _all_of_type(values, int) and all(abs(value) <= _LARGEST_INTEGER for value in values if value is not None):
        return values
    if _all_of_type(values, float, int):
        return [number(value) for value in values]
    if _all_of_type(values, bool) or _all_of_type(values, str):
        return values
    return [value if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


def _all_of_type(values: Sequence[Any], *kinds: type) -> bool:
    return all(value is None or type(value) in kinds for value in values)


def event_metrics(event: Event) -> TrainingMetrics | None:
    """Return the metrics of an event, or None. An event type such as `validation_metrics` prefixes their names."""
    if event.type == _METRICS or event.data is None or not event.type.endswith(_METRICS):
        return event.metrics
    prefix = event.type.removesuffix(_METRICS).strip("_.-/ ")
    values = _values(event.data)
    return TrainingMetrics.model_validate(
        {name if name in {"step", "total_steps"} else f"{prefix}_{name}": value for name, value in values.items()}
    )


def merge_steps(
    events: Iterable[Event], earlier_metrics: Iterable[TrainingMetrics] = ()
) -> tuple[TrainingMetrics, ...]:
    """Return each step once, in order, then metrics without a step. The newest value of a metric counts."""
    all_metrics = [*earlier_metrics, *(metrics for event in events if (metrics := event_metrics(event)) is not None)]
    steps: dict[int, TrainingMetrics] = {}
    for metrics in all_metrics:
        if metrics.step is not None:
            earlier = steps.get(metrics.step)
            steps[metrics.step] = (
                TrainingMetrics.model_validate(_values(earlier) | _values(metrics)) if earlier else metrics
            )
    return (*(steps[step] for step in sorted(steps)), *(metrics for metrics in all_metrics if metrics.step is None))


def step_times(events: Iterable[Event]) -> tuple[tuple[int, float], ...]:
    """Return the step and the Unix time of each event with metrics that has both."""
    pairs = ((event_metrics(event), event.created_at) for event in events)
    return tuple((one.step, at) for one, at in pairs if one is not None and one.step is not None and at is not None)


def metric_value(step: TrainingMetrics, name: str) -> Any:
    """Return the value of a metric by name, including undocumented names, or None."""
    extra = step.model_extra or {}
    return extra[name] if name in extra else getattr(step, name) if name in _FIELDS else None


def _values(metrics: TrainingMetrics) -> dict[str, Any]:
    return {name: value for name, value in metrics if value is not None}
