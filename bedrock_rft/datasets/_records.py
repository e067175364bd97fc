"""Records and their spelling as JSON lines; pandas, polars and Hugging Face data sets are read as records too.

None of the three is imported: whoever holds a frame has imported its library already.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from typing import Any, cast

from pydantic import BaseModel

from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["plain_record", "records_of", "spelled"]

_ROWS = 1000  # of a frame, turned into records at once


def records_of(data: object) -> Iterator[Any] | None:
    """Records one by one; None where it holds none.

    Where a pandas or polars frame has no value (null, NaN, NaT, NA), the record has no such field.
    """
    given = cast("Any", data)  # narrowing it would make its items unknown
    if _is(data, "pandas", "DataFrame"):
        return _pandas(data)
    if _is(data, "polars", "DataFrame"):
        return (_present(row) for row in given.iter_rows(named=True))
    if _is(data, "polars", "LazyFrame"):
        return records_of(given.collect())
    if _is(data, "datasets", "DatasetDict") or _is(data, "datasets", "IterableDatasetDict"):
        names = ", ".join(repr(name) for name in given)
        raise ConfigurationError(f"A data set of several splits was given; choose one of {names}.")
    if isinstance(data, Iterable) and not isinstance(data, (Mapping, BaseModel)):
        return cast("Iterator[Any]", iter(given))
    return None


def spelled(number: int, record: object) -> bytes:
    """One record as a line of JSON. The same record is always the same bytes.

    Raises:
        DatasetError: it has no spelling in JSON.
    """
    try:
        return _ENCODER.encode(plain_record(number, record)).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"Record {number} cannot be written as JSON: it holds half of a surrogate pair, "
            f"{error.object[error.start]!a}."
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"Record {number} cannot be written as JSON: {error}") from error


def plain_record(number: int, record: object) -> dict[str, Any]:
    """A record as a dict. Raises DatasetError where it is neither a mapping nor a model."""
    if not isinstance(record, (Mapping, BaseModel)):
        raise DatasetError(f"Record {number} is a {type(record).__name__}. Every record is a mapping or a model.")
    return cast("dict[str, Any]", _plain(cast("Any", record)))


def _plain(value: Any) -> Any:
    """A mapping or a model, at the top or inside a record, as JSON can write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if type(value).__module__ == "numpy":
        return value.tolist()  # an array or a number, as frames hold them
    raise TypeError(f"a value of type {type(value).__name__} has no spelling in JSON")


# NaN has no spelling in JSON; writing it as null would change the data in silence.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def _is(data: object, library: str, name: str) -> bool:
    kind = getattr(sys.modules.get(library), name, None)
    return isinstance(kind, type) and isinstance(data, kind)


def _pandas(frame: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(frame), _ROWS):
        for row in frame.iloc[start : start + _ROWS].to_dict("records"):
            yield _present(row)


def _present(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items() if not _missing(value)}


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and isnan(value))
