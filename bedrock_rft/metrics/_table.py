"""Convert metrics to tables: CSV, pandas and polars."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import write_text
from bedrock_rft.errors import MissingExtraError
from bedrock_rft.metrics._series import KNOWN
from bedrock_rft.metrics._steps import metric_value
from bedrock_rft.types.events import TrainingMetrics

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["columns", "to_csv", "to_pandas", "to_polars"]

_LARGEST_INTEGER = 2**63 - 1


def columns(steps: Sequence[TrainingMetrics]) -> dict[str, list[Any]]:
    """Return every field of every step by name, with None for missing values.

    A column holds numbers, or booleans, or text. What is none of these, and what mixes them, becomes JSON text.
    """
    names = dict.fromkeys(("step", "total_steps", *KNOWN))
    for step in steps:
        names.update(dict.fromkeys(step.model_extra or {}))
    return {name: _column([metric_value(step, name) for step in steps]) for name in names}


def to_csv(table: Mapping[str, Sequence[Any]], path: str | os.PathLike[str] | None) -> str:
    """Return comma-separated values with a header, and write them to `path` if given."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return write_text(text.getvalue(), path)


def to_pandas(table: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return a `pandas.DataFrame`. Raises `MissingExtraError`."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_pandas()", "pandas") from None
    # By default, pandas converts integer columns with missing values to floats.
    integers = [name for name, values in table.items() if None in values and _all(values, int)]
    return pd.DataFrame(
        {name: pd.array(values, "Int64") if name in integers else values for name, values in table.items()}
    )


def to_polars(table: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Return a `polars.DataFrame`. Raises `MissingExtraError`."""
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError("to_polars()", "polars") from None
    return pl.DataFrame(dict(table), infer_schema_length=None)


def _column(values: list[Any]) -> list[Any]:
    if _all(values, int) and all(abs(value) <= _LARGEST_INTEGER for value in values if value is not None):
        return values
    if _all(values, float, int):
        return [value if value is None else _float(value) for value in values]
    if _all(values, bool) or _all(values, str):
        return values
    return [value if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


def _all(values: Iterable[Any], *kinds: type) -> bool:
    return all(value is None or type(value) in kinds for value in values)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
