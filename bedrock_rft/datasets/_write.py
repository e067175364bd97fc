"""Records in, JSON lines out: each is checked as it is written, and the file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._cut import READ
from bedrock_rft.datasets._landing import Landing
from bedrock_rft.datasets._records import plain_record, records_of, spelled
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._rules import shown
from bedrock_rft.datasets._scan import Scan
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["Column", "lay_down", "write"]

Column: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""The name of a column, or what makes the value of a row: `system=lambda row: "Be brief."`."""

Records: TypeAlias = Iterable[Mapping[str, Any] | BaseModel]

_HOW_MANY = {"too-few", "too-many"}


def write(
    path: str | os.PathLike[str],
    records: Records,
    *,
    prompt: Column | None = None,
    system: Column | None = None,
    reference_answer: Column | None = None,
    rules: Rules | None = None,
) -> Report:
    """Write a training file: one record a line, in their order, mode 0600, whole or not at all.

    The same records are always the same bytes. Where a pandas or polars frame has no value, the record has no
    such field.

    Args:
        path: what to write; a file that is there is replaced.
        records: dicts, models such as `TrainingRecord`, a generator of either, a pandas or polars frame, or a Hugging
            Face data set. They are taken one by one.
        prompt: the column with what the user says (or with whole messages). All columns that no argument names are
            passed on. Without it, records have `messages` already.
        system: the column with what the system says.
        reference_answer: the column with what the reward compares with.
        rules: other bounds than the service documents.

    Returns:
        The report. It is not `ok` where there are fewer or more records than a job takes: the file is there, though.

    Raises:
        DatasetError: a record is not what the service takes, has no spelling in JSON, or lacks a column; or the file
            cannot be written. Nothing is left behind.
        ConfigurationError: these are no records.
    """
    rows = records_of(records)
    if rows is None or isinstance(records, (str, bytes)):
        given: object = records
        raise ConfigurationError(f"Records are an iterable of dicts or models, or a frame, not {type(given).__name__}.")
    if prompt is not None or system is not None or reference_answer is not None:
        rows = _mapped(rows, prompt, system, reference_answer)
    return lay_down(path, (spelled(number, row) for number, row in enumerate(rows, 1)), rules)


def lay_down(path: str | os.PathLike[str], lines: Iterable[bytes], rules: Rules | None = None) -> Report:
    """Write lines that end in a line feed. Raises DatasetError where one of them is no record."""
    landing = Landing(path)
    with landing, Scan(landing.path.name, rules=rules) as scan:
        for chunk in _chunks(lines):
            landing.write(chunk)
            scan.feed(chunk)
        report = scan.finish()
        if any(problem.code not in _HOW_MANY for problem in report.errors):
            report.raise_for_errors()
        landing.land()
    return report


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= READ:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _mapped(
    rows: Iterable[Any], prompt: Column | None, system: Column | None, reference_answer: Column | None
) -> Iterator[dict[str, Any]]:
    named = {column for column in (prompt, system, reference_answer) if isinstance(column, str)}
    for number, row in enumerate(rows, 1):
        fields = plain_record(number, row)
        found: dict[str, Any] = {}
        said = fields.get("messages") if prompt is None else _value(number, fields, prompt, "prompt")
        messages: Any = said
        if not isinstance(said, (list, tuple)):
            messages = [{"role": "user", "content": said}]
        if system is not None:
            messages = [{"role": "system", "content": _value(number, fields, system, "system")}, *messages]
        found["messages"] = messages
        if reference_answer is not None:
            found["reference_answer"] = _value(number, fields, reference_answer, "reference_answer")
        # What a column of this name held has been replaced by what the argument names.
        passed = {name: value for name, value in fields.items() if name not in named and name not in found}
        yield found | passed


def _value(number: int, fields: Mapping[str, Any], column: Column, argument: str) -> Any:
    if not isinstance(column, str):
        return column(fields)
    if column not in fields:
        there = ", ".join(shown(str(name)) for name in fields) or "none"
        raise DatasetError(
            f"Record {number} has no '{shown(column)}', which {argument}= names; it has: {there}. "
            f"A fixed text is given as {argument}=lambda row: '…'."
        )
    return fields[column]
