"""Records one by one, from files of JSON lines and from iterables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._json_lines import InvalidLine, file_violation, parse_line
from bedrock_rft.datasets._records import plain_record
from bedrock_rft.datasets._rules import json_type
from bedrock_rft.datasets._source import Data, Source, open_source, read_chunks, records_in
from bedrock_rft.errors import DatasetError

__all__ = ["parse_object", "read", "read_lines", "read_numbered", "reject_signature"]


def read(source: object) -> Iterator[dict[str, Any]]:
    """Yield the records of a training file, or of whatever `write` accepts, as plain dicts.

    Each must be an object; `validate` checks the rest.

    Args:
        source: a path, the content as bytes, a file opened in binary mode, or records: dicts, models, a generator, a
            pandas or polars frame, an Arrow table, a Hugging Face dataset.

    Raises:
        DatasetError: the file cannot be read, a line is not a JSON object, or a record is neither a mapping nor a
            model.
        ConfigurationError: the object cannot be read as a dataset.
    """
    for _, record in read_numbered(source):
        yield record


def read_numbered(source: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each record with its number: the line in a file, or the position from 1. Raises like `read`."""
    data = cast("Data", source)
    records = records_in(data)
    if records is not None:
        for number, record in enumerate(records, 1):
            yield number, plain_record(number, record)
        return
    opened = open_source(data)
    try:
        for number, line in read_lines(opened):
            yield number, parse_object(opened.name, number, line)
    finally:
        opened.close()


def read_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not empty with its number, without its line feed.

    Raises:
        DatasetError: the file cannot be read, or is not JSON lines but UTF-16, compressed, Parquet and the like.
    """
    number, partial = 0, b""
    for chunk in read_chunks(source):
        *lines, partial = (partial + chunk).split(b"\n")
        for line in lines:
            number += 1
            if number == 1:
                reject_signature(source.name, line)
            if line.strip():
                yield number, line
    if not number:
        reject_signature(source.name, partial)
    if partial.strip():
        yield number + 1, partial


def parse_object(name: str, number: int, line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line. Raise DatasetError, with the advice of `validate`, if there is none."""
    try:
        value = parse_line(line)
    except InvalidLine as error:
        column = error.violation.column
        raise _line_error(name, number, f"{error}", column) from None
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    if number == 1 and isinstance(value, list) and value:
        raise _line_error(name, number, "the file is a JSON array. Write one object per line.")
    raise _line_error(
        name, number, f"{json_type(cast('Any', value))} instead of an object. Write one JSON object per line."
    )


def reject_signature(name: str, head: bytes) -> None:
    """Raise DatasetError if the first bytes of a file show that it is not JSON lines."""
    violation = file_violation(head)
    if violation is not None:
        summary, remedy = violation.summary, violation.remedy
        raise DatasetError(f"{sanitize_line(name, 100)}: {summary}. {remedy}.", path=name, line=1)


def _line_error(name: str, number: int, text: str, column: int | None = None) -> DatasetError:
    shown = sanitize_line(name, 100)
    return DatasetError(f"{shown}, line {number}: {text}", path=name, line=number, column=column)
