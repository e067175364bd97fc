"""Write training files. Each record is checked as it is written, and a file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from pydantic import BaseModel

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._check import DatasetCheck, reject_removed
from bedrock_rft.datasets._records import encode_record, iterate_records, plain_record
from bedrock_rft.datasets._report import Limits, Report
from bedrock_rft.datasets._rules import list_names, truncate
from bedrock_rft.datasets._source import local_path
from bedrock_rft.errors import ConfigurationError, DatasetError

Column: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""The name of a column, or a function that returns the value for a row: `system=lambda row: "Be brief."`."""

Records: TypeAlias = Iterable[Mapping[str, Any] | BaseModel]

_LINES_AT_ONCE = 64  # fewer calls than with single lines
_COUNT_PROBLEMS = {"too-few", "too-many"}


def write(
    path: str | os.PathLike[str],
    records: Records,
    *,
    prompt: Column | None = None,
    system: Column | None = None,
    reference_answer: Column | None = None,
    limits: Limits | None = None,
    **removed: Any,
) -> Report:
    """Write a training file of one record a line, in order, with mode 0600, whole or not at all.

    Equal records give equal bytes. A value that a pandas or polars frame lacks is left out of its record.

    Args:
        path: the file to write; an existing file is replaced.
        records: dicts, models such as `TrainingRecord`, a generator of either, a pandas or polars frame, an Arrow
            table, or a Hugging Face dataset. They are read one by one.
        prompt: the column with the user's text or with whole messages. Columns that no argument names are kept for the
            reward. Without it, records need `messages`.
        system: the column with the system prompt.
        reference_answer: the column with the value that the reward compares with.
        limits: other limits than the service documents.
        **removed: parameters of earlier versions; each raises an error that names the replacement.

    Returns:
        The report. If there are fewer or more records than a job accepts the report is not `ok`, but the file is
        written.

    Raises:
        DatasetError: a record does not follow the format, JSON cannot represent a record, a record lacks a column, or
            the file cannot be written. No file is left behind.
        ConfigurationError: `records` is not an iterable of records.
    """
    reject_removed(removed)
    is_file = isinstance(records, (str, bytes)) or hasattr(records, "read")
    rows = None if is_file else iterate_records(records)
    if rows is None:
        name = type(records).__name__
        raise ConfigurationError(
            f"records is of type {name}. Give an iterable of dicts or models, or a frame; "
            "datasets.read reads the records of a file."
        )
    if prompt is not None or system is not None or reference_answer is not None:
        rows = _map_columns(rows, prompt, system, reference_answer)
    return write_lines(path, (encode_record(number, row) for number, row in enumerate(rows, 1)), limits)


def write_lines(path: str | os.PathLike[str], lines: Iterable[bytes], limits: Limits | None = None) -> Report:
    """Write lines that end with a line feed. Raise DatasetError if one of them is not a valid record."""
    with AtomicFile(local_path(path)) as file:
        check = DatasetCheck(file.path.name, limits=limits)
        remaining = iter(lines)
        while chunk := b"".join(islice(remaining, _LINES_AT_ONCE)):
            file.write(chunk)
            check.feed(chunk)
        report = check.finish()
        if any(problem.code not in _COUNT_PROBLEMS for problem in report.errors):
            report.raise_for_errors()
        file.commit()
    return report


def _map_columns(
    rows: Iterable[Any], prompt: Column | None, system: Column | None, reference_answer: Column | None
) -> Iterator[dict[str, Any]]:
    column_names = {column for column in (prompt, system, reference_answer) if isinstance(column, str)}
    for number, row in enumerate(rows, 1):
        fields = plain_record(number, row)
        messages: Any = fields.get("messages") if prompt is None else _column_value(number, fields, prompt, "prompt")
        if not isinstance(messages, (list, tuple)):
            messages = [{"role": "user", "content": messages}]
        if system is not None:
            text = _column_value(number, fields, system, "system")
            messages = [{"role": "system", "content": text}, *messages]
        record: dict[str, Any] = {"messages": messages}
        if reference_answer is not None:
            record["reference_answer"] = _column_value(number, fields, reference_answer, "reference_answer")
        # A column named `messages` or `reference_answer` is replaced by the column that an argument names.
        yield record | {
            name: value for name, value in fields.items() if name not in column_names and name not in record
        }


def _column_value(number: int, fields: Mapping[str, Any], column: Column, argument: str) -> Any:
    if not isinstance(column, str):
        return column(fields)
    if column not in fields:
        raise DatasetError(
            f"Record {number} has no column '{sanitize_line(truncate(column))}', which {argument}= names; it has: "
            f"{list_names(fields)}. For a fixed text use {argument}=lambda row: '…'."
        )
    return fields[column]
