"""Recorded rollouts as frames of pandas and polars, and as a Parquet file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from math import inf
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft.errors import DatasetError, MissingExtraError
from bedrock_rft.rollouts._record import COLUMNS, Record

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# Functions with `rollouts: Any` take `Rollouts`, whose module imports this one.
_CHUNK_BYTES = 16 << 20
_SPREAD = ("parts", "metrics")
_NUMBERS = ("score", "duration")
_PREFIXES = tuple(f"{name}." for name in _SPREAD)
_values = attrgetter(*COLUMNS)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def to_pandas(rollouts: Any) -> pd.DataFrame:
    """Return a frame of all records, as `Rollouts.to_pandas` describes."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_pandas()", "pandas") from None
    frame: Any = pd.DataFrame(next(_tables(rollouts, inf)))
    numbers = [name for name in frame.columns if _is_number(name)]
    frame[numbers] = frame[numbers].astype("float64")
    frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601", errors="coerce")  # pyright: ignore[reportUnknownMemberType]
    return cast("pd.DataFrame", frame)


def to_polars(rollouts: Any) -> pl.DataFrame:
    """Return a frame of all records, as `Rollouts.to_polars` describes."""
    library = _polars("to_polars()")
    frame: pl.DataFrame = library.concat([*_polars_frames(library, rollouts)], how="diagonal")
    return frame


def to_parquet(rollouts: Any, path: str | os.PathLike[str]) -> int:
    """Write all records to a Parquet file, as `Rollouts.to_parquet` describes."""
    pl = _polars("to_parquet()")
    target = Path(path).expanduser()
    try:
        with TemporaryDirectory(dir=target.parent, prefix=".rollouts-") as folder:
            parts, count = list[str](), 0
            for frame in _polars_frames(pl, rollouts):
                count += frame.height
                parts.append(f"{folder}/{len(parts)}.parquet")
                frame.write_parquet(parts[-1])
            whole = f"{folder}/whole.parquet"
            pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal").sink_parquet(whole)
            Path(whole).replace(target)
    except OSError as error:
        raise DatasetError(f"Cannot write {target}: {error.strerror or error}.") from error
    return count


def to_jsonl(records: Iterable[Record], path: str | os.PathLike[str]) -> int:
    """Write all records to a file of JSON lines, and return their number."""
    return _write(path, (f"{_encode(record.to_dict())}\n" for record in records))


def to_csv(records: Iterable[Record], path: str | os.PathLike[str]) -> int:
    """Write all records to a CSV file, and return their number."""

    def rows() -> Iterator[str]:
        for record in records:
            values = (getattr(record, name) for name in COLUMNS)
            yield _csv_line(
                value if value is None or isinstance(value, (str, int, float)) else _encode(value) for value in values
            )

    return _write(path, chain([_csv_line(COLUMNS)], rows())) - 1


def _write(path: str | os.PathLike[str], lines: Iterable[str]) -> int:
    """Write lines to a file, and return their number."""
    count = 0
    with AtomicFile(path) as file:
        for line in lines:
            file.write(line.encode("utf-8", "replace"))
            count += 1
        file.commit()
    return count


def _csv_line(values: Iterable[object]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()


def _polars(method: str) -> Any:
    try:
        import polars as pl
    except ImportError:
        raise MissingExtraError(method, "polars") from None
    return pl


def _polars_frames(pl: Any, rollouts: Any) -> Iterator[Any]:
    """Yield frames of many records each; the last frame may be empty."""
    for table in _tables(rollouts, _CHUNK_BYTES):
        types = {name: pl.Float64 if _is_number(name) else pl.Int64 if name == "v" else pl.String for name in table}
        yield pl.DataFrame(table, schema=types).with_columns(
            pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
        )


def _tables(rollouts: Any, limit: float) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of the records, with at least `limit` bytes of text each; the last item may be empty."""
    table, count, size = _columns([]), 0, 0
    for block in rollouts._blocks():
        records = rollouts._records_in(block)
        found = _columns(records)
        for name in {**table, **found}:
            table.setdefault(name, [None] * count).extend(found.get(name) or [None] * len(records))
        count, size = count + len(records), size + len(block.text)
        if size >= limit:
            yield table
            table, count, size = _columns([]), 0, 0
    rollouts._warn_of_problems()
    yield table


def _columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the values of each column. Each part and each metric has a column; other JSON values become text."""
    columns: dict[str, list[Any]] = {}
    rows = map(_values, records)
    for name, values in zip(COLUMNS, zip(*rows, strict=True) if records else repeat(()), strict=False):
        if name in _SPREAD:
            for key in sorted(set[str]().union(*values)):
                columns[f"{name}.{key}"] = [value.get(key) for value in values]
        elif name in {"reference", "fields"}:
            columns[name] = [value if value is None or isinstance(value, str) else _to_json(value) for value in values]
        elif name == "truncated":
            columns[name] = [",".join(value) or None for value in values]
        else:
            columns[name] = [*values]
    return columns


def _to_json(value: Any) -> str:
    return to_json(value).decode()  # takes a quarter of the time of `json`


def _is_number(column: str) -> bool:
    return column in _NUMBERS or column.startswith(_PREFIXES)
