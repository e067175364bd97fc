"""Recorded rollouts as frames of pandas and polars, and as a Parquet file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft.errors import DatasetError, MissingExtraError
from bedrock_rft.rollouts._loading import Block
from bedrock_rft.rollouts._record import COLUMNS, Record

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# Functions with `rollouts: Any` take `Rollouts`, whose module imports this one.
_CHUNK, _CHUNK_BYTES = 20_000, 16 << 20
_JSON = ("reference", "fields")
_SPREAD = ("parts", "metrics")
_NUMBERS = ("score", "duration")
_PREFIXES = tuple(f"{name}." for name in _SPREAD)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def to_pandas(records: Iterable[Record]) -> pd.DataFrame:
    """Return a frame of all records, as `Rollouts.to_pandas` describes."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_pandas()", "pandas") from None
    values: dict[str, list[Any]] = {}
    count = 0
    for chunk in _chunks(records):
        found = _columns(chunk)
        for name in {**values, **found}:
            missing = [None] * len(chunk)
            values.setdefault(name, [None] * count).extend(found.get(name, missing))
        count += len(chunk)
    frame: Any = pd.DataFrame(values or _columns([]))
    numbers = [name for name in frame.columns if name in _NUMBERS or name.startswith(_PREFIXES)]
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


def _polars_frames(pl: Any, rollouts: Any) -> Iterator[Any]:
    """Yield frames of many records each, and an empty one with all columns. polars parses lines that are valid."""
    waiting, size = list[Block](), 0
    for block in rollouts._blocks():
        waiting.append(block)
        size += len(block.text)
        if size >= _CHUNK_BYTES:
            yield _parse_blocks(pl, rollouts, waiting)
            waiting, size = [], 0
    yield _parse_blocks(pl, rollouts, waiting)
    yield _polars_frame(pl, [])
    rollouts._warn_of_problems()


def _parse_blocks(pl: Any, rollouts: Any, blocks: Sequence[Block]) -> Any:
    if blocks and not rollouts._keep:
        with suppress(Exception):  # the reader below skips damaged lines, and needs no new version of polars
            return _scan_blocks(pl, rollouts, blocks)
    return _polars_frame(pl, [record for block in blocks for record in rollouts._records_in(block)])


def _scan_blocks(pl: Any, rollouts: Any, blocks: Sequence[Block]) -> Any:
    """Return a frame of lines that are all valid. Raises an exception of polars, or `ValueError`, if one is not."""
    types = {name: pl.String for name in COLUMNS if name not in _SPREAD}
    types |= {"v": pl.Int64, "truncated": pl.List(pl.String), **dict.fromkeys(_NUMBERS, pl.Float64)}
    lines = io.BytesIO(b"\n".join(block.text.rstrip(b"\n") for block in blocks))
    frame = pl.read_ndjson(lines, schema_overrides=types, infer_schema_length=None)
    columns = list[Any]()
    for name in COLUMNS:
        if name in _SPREAD:
            fields = getattr(frame.schema[name], "fields", ())
            if any(field.dtype == pl.String for field in fields):
                raise ValueError(f"a value of {name} is text")
            keys = sorted(field.name for field in fields)
            columns += [pl.col(name).struct.field(key).cast(pl.Float64).alias(f"{name}.{key}") for key in keys]
        elif name == "truncated":
            columns.append(pl.col(name).list.join(",").replace("", None))
        else:
            columns.append(_utc(pl) if name == "time" else pl.col(name))
    present = frame.select("v", "request_id", "function", "source", "rollout_id", "score", _utc(pl))
    if any(column.null_count() for column in present):
        raise ValueError("a line is not a recorded rollout")
    since, until = rollouts._period
    for wanted in (
        None if since is None else pl.col("time") >= since,
        None if until is None else pl.col("time") < until,
        None if rollouts._function is None else pl.col("function") == rollouts._function,
    ):
        frame = frame if wanted is None else frame.filter(wanted)
    return frame.select(columns)


def _utc(pl: Any) -> Any:
    return pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)


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


def _polars_frame(pl: Any, records: Sequence[Record]) -> Any:
    found = _columns(records)
    types = {
        name: pl.Float64 if name in _NUMBERS or name.startswith(_PREFIXES) else pl.Int64 if name == "v" else pl.String
        for name in found
    }
    frame = pl.DataFrame(found, schema=types, strict=False)
    return frame.with_columns(_utc(pl))


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    items = iter(records)
    while chunk := [*islice(items, _CHUNK)]:
        yield chunk


def _columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the values of each column. Each part and each metric has a column; other JSON values become text."""
    rows = [vars(record) for record in records]
    columns: dict[str, list[Any]] = {}
    for name in COLUMNS:
        if name in _SPREAD:
            groups: list[Mapping[str, Any]] = [row[name] or {} for row in rows]
            for key in sorted({key for group in groups for key in group}):
                columns[f"{name}.{key}"] = [group.get(key) for group in groups]
        elif name in _JSON:
            columns[name] = [
                row[name] if row[name] is None or isinstance(row[name], str) else _encode(row[name]) for row in rows
            ]
        elif name == "truncated":
            columns[name] = [",".join(row[name] or ()) or None for row in rows]
        else:
            columns[name] = [row[name] for row in rows]
    return columns
