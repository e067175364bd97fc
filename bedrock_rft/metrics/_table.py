"""Metrics as tables and JSON: CSV, pandas and polars."""

from __future__ import annotations

import csv
import io
import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import write_text
from bedrock_rft.errors import MissingExtraError
from bedrock_rft.metrics._series import KNOWN, number
from bedrock_rft.metrics._steps import metric_value
from bedrock_rft.types.events import TrainingMetrics

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["Table", "columns"]

_LARGEST_INTEGER = 2**63 - 1


class Table:
    """Base class of metrics, which are a table of steps."""

    @abstractmethod
    def _columns(self) -> Mapping[str, Sequence[Any]]: ...

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return JSON values. NaN and infinity become None."""

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return JSON text, and write it to `path` if given. Raises `DatasetError` if that fails."""
        return write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False), path)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return comma-separated values, a line for each step, and write them to `path` if given. Needs no library.

        Raises:
            DatasetError: the file cannot be written.
        """
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
        # By default, pandas converts integer columns with missing values to floats.
        integers = [name for name, values in table.items() if None in values and _all(values, int)]
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
    """Return every field of every step by name, with None for missing values.

    A column has numbers, booleans or text only. Other values, and those of mixed columns, become JSON text.
    """
    names = dict.fromkeys(("step", "total_steps", *KNOWN))
    for step in steps:
        names.update(dict.fromkeys(step.model_extra or {}))
    return {name: _column([metric_value(step, name) for step in steps]) for name in names}


def _column(values: list[Any]) -> list[Any]:
    if _all(values, int) and all(abs(value) <= _LARGEST_INTEGER for value in values if value is not None):
        return values
    if _all(values, float, int):
        return [number(value) for value in values]
    if _all(values, bool) or _all(values, str):
        return values
    return [value if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


def _all(values: Sequence[Any], *kinds: type) -> bool:
    return all(value is None or type(value) in kinds for value in values)
