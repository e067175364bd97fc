"""Typed records, records from any iterable, and their encoding as JSON lines.

Frames of pandas, polars, pyarrow and Hugging Face are recognized without importing these libraries: if there is a
frame, its library is already imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from typing import Any, Literal, cast

from pydantic import BaseModel, Field, ValidationError
from typing_extensions import Self

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.types._payload import Payload, explain

_ROWS_AT_ONCE = 1000  # rows of a frame that are converted at once


class TextPart(Payload):
    """Part of a message: `{"type": "text", "text": …}`."""

    type: str = "text"
    text: str = ""


class TrainingMessage(Payload):
    """A message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str | tuple[TextPart, ...]


class TrainingRecord(Payload):
    """A prompt and its reference answer. Further fields are passed to the reward.

    Raises:
        DatasetError: a field is missing or has a value that the service does not accept.
    """

    messages: tuple[TrainingMessage, ...] = Field(min_length=1)
    reference_answer: Any
    """Any JSON value."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DatasetError(f"{type(self).__name__}: {explain(error)}") from None

    @classmethod
    def of(cls, prompt: str, *, reference_answer: Any, system: str | None = None, **extras: Any) -> Self:
        """Create a record with one user message.

        Args:
            prompt: text of the user message.
            reference_answer: any JSON value.
            system: text of a system message before the user message.
            **extras: further fields for the reward.
        """
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": prompt})
        return cls(messages=messages, reference_answer=reference_answer, **extras)

    def __repr__(self) -> str:
        fields = ", ".join(self.model_extra or ())
        extras = f", {fields}" if fields else ""
        return sanitize_line(f"<TrainingRecord {len(self.messages)} messages, reference_answer{extras}>", 100)


def iterate_records(data: object) -> Iterator[Any] | None:  # noqa: PLR0911 - one for each library
    """Return an iterator over records, or None for other data. Raise `ConfigurationError` for several splits."""
    frame = cast("Any", data)  # narrowing the type would make the items unknown
    if _is_instance(data, "pandas", "DataFrame"):
        return _pandas_rows(frame)
    if _is_instance(data, "polars", "DataFrame"):
        return (_drop_missing(row) for row in frame.iter_rows(named=True))
    if _is_instance(data, "polars", "LazyFrame"):
        return iterate_records(frame.collect())
    if _is_instance(data, "pyarrow", "Table"):
        return (row for batch in frame.to_batches(_ROWS_AT_ONCE) for row in batch.to_pylist())
    if _is_instance(data, "pyarrow", "RecordBatch"):
        return cast("Iterator[Any]", iter(frame.to_pylist()))
    if _is_instance(data, "datasets", "DatasetDict") or _is_instance(data, "datasets", "IterableDatasetDict"):
        names = ", ".join(repr(name) for name in frame)
        raise ConfigurationError(f"The dataset has several splits. Choose one of {names}, such as dataset['train'].")
    if isinstance(data, Iterable) and not isinstance(data, (Mapping, BaseModel)):
        return cast("Iterator[Any]", iter(frame))
    return None


def encode_record(number: int, record: object) -> bytes:
    """Return a record as a line of JSON; equal records give equal bytes. Raise DatasetError if JSON cannot hold it."""
    try:
        return _ENCODER.encode(plain_record(number, record)).encode() + b"\n"
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise DatasetError(
            f"Record {number} cannot be written as JSON: it contains half of a surrogate pair, {character!a}."
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"Record {number} cannot be written as JSON: {error}") from error


def plain_record(number: int, record: object) -> dict[str, Any]:
    """Return a record as a dict with lists for arrays and dicts for models. Raise DatasetError for any other type."""
    if not isinstance(record, (Mapping, BaseModel)):
        raise DatasetError(
            f"Record {number} is of type {type(record).__name__}. Give mappings such as dicts, or pydantic models."
        )
    try:
        return cast("dict[str, Any]", _convert_value(record))
    except RecursionError as error:
        raise DatasetError(f"Record {number} cannot be written as JSON: it is nested too deeply.") from error


def _convert_value(value: Any) -> Any:
    """Return a value with arrays as lists and models as dicts. The encoder rejects other values."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType] # of any value
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)  # type: ignore[redundant-cast] # pyright needs it
        return {name: _convert_value(inner) for name, inner in fields.items()}
    if isinstance(value, (list, tuple)):
        items = cast("list[Any] | tuple[Any, ...]", value)  # type: ignore[redundant-cast] # pyright needs it
        return [_convert_value(inner) for inner in items]
    library = kind.__module__.partition(".")[0]
    for libraries, method in ((("numpy", "pandas"), "tolist"), (("pyarrow",), "to_pylist"), (("pyarrow",), "as_py"),
                              (("polars",), "to_list")):  # fmt: skip
        if library in libraries and callable(convert := getattr(value, method, None)):
            return _convert_value(convert())
    return value


def _raise_unsupported(value: object) -> Any:
    raise TypeError(f"a value of type {type(value).__name__} has no equivalent in JSON")


# Reject NaN, which JSON lacks, because null in its place would change the data silently.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_raise_unsupported)


def _is_instance(data: object, library: str, name: str) -> bool:
    kind = getattr(sys.modules.get(library), name, None)
    return isinstance(kind, type) and isinstance(data, kind)


def _pandas_rows(frame: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        for row in frame.iloc[start : start + _ROWS_AT_ONCE].to_dict("records"):
            yield _drop_missing(row)


def _drop_missing(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items() if not _is_missing(value)}


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and isnan(value))
