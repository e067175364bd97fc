"""Records, one by one, from wherever they are: a file of JSON lines, a frame, or anything iterable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from bedrock_rft.datasets._records import plain_record, records_of
from bedrock_rft.datasets._trouble import trouble
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["numbered", "read"]


def read(source: object) -> Iterator[dict[str, Any]]:
    """Yield the records of a training file, or of whatever `write` takes, as plain dicts.

    Nothing is checked but that each is an object; `validate` does that.

    Args:
        source: a path, or records: dicts, models, a generator, a pandas or polars frame, a Hugging Face data set.

    Raises:
        DatasetError: the file cannot be read, or a line of it is no JSON object; or a record is neither mapping nor
            model.
        ConfigurationError: it is none of these.
    """
    for _, record in numbered(source):
        yield record


def numbered(source: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same, each with its number: of its line in a file, or its place from 1. Raises what `read` raises."""
    if isinstance(source, (str, os.PathLike)):
        yield from _lines(Path(cast("str | os.PathLike[str]", source)).expanduser())
        return
    found = records_of(source)
    if found is None:
        raise ConfigurationError(f"Records come from a path or are given one by one, not as {type(source).__name__}.")
    for number, record in enumerate(found, 1):
        yield number, plain_record(number, record)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _record(path, number, line)
    except OSError as error:
        raise trouble(f"{path} cannot be read", error) from error


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise DatasetError(f"{path.name}, line {number}: not JSON: {error}.", path=path.name, line=number) from None
    if not isinstance(record, dict):
        said = f"{path.name}, line {number}: a record is an object, not {type(record).__name__}."
        raise DatasetError(said, path=path.name, line=number)
    return cast("dict[str, Any]", record)
