"""Training files as the local service reads them, with the rules of `bedrock_rft.datasets`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from bedrock_rft.datasets._check import DatasetCheck
from bedrock_rft.datasets._read import parse_line
from bedrock_rft.datasets._report import Limits, Report
from bedrock_rft.datasets._rules import content_text
from bedrock_rft.errors import DatasetError

_NOT_DOCUMENTED = {"conflicting-references"}  # errors of `datasets` that the service may accept


class InvalidFileError(DatasetError):
    """The file is not a valid training file. The message names the line if one is the cause."""


@dataclass(frozen=True)
class Record:
    """A prompt of a training file. Its index counts from 0, and `extras` are its other fields, even a user's `id`."""

    index: int
    messages: list[dict[str, Any]]
    reference_answer: Any
    extras: dict[str, Any]
    has_reference: bool = True

    @cached_property
    def prompt_key(self) -> str:
        """The key that a chat request with the same conversation has."""
        return prompt_key(self.messages)


def prompt_key(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of the roles and texts of a conversation. Parts and surrounding whitespace make no difference."""
    turns = [
        (str(message.get("role", "")), (content_text(message.get("content")) or "").strip()) for message in messages
    ]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def read_records(chunks: Iterable[bytes], *, minimum: int = 100, maximum: int = 20_000) -> list[Record]:
    """Read a training file from its bytes, divided anywhere. Raise `InvalidFileError` about its first error."""
    check = DatasetCheck("file", limits=Limits(min_records=minimum, max_records=maximum), limit=1)
    records: list[Record] = []
    for line in _check_lines(chunks, check):
        if line.strip() and len(records) <= maximum and (record := _record(len(records), line)) is not None:
            records.append(record)
    _raise_for_errors(check.finish())
    return records


def _check_lines(chunks: Iterable[bytes], check: DatasetCheck) -> Iterator[bytes]:
    """Yield the lines of a file while it is checked."""
    pending: list[bytes] = []
    for chunk in chunks:
        check.feed(chunk)
        first, *others = chunk.split(b"\n")
        pending.append(first)
        for piece in others:
            yield b"".join(pending)
            pending = [piece]
    yield b"".join(pending)


def _record(index: int, line: bytes) -> Record | None:
    """Return the record on a line; None if the line is invalid, which the check reports."""
    try:
        fields = cast("dict[str, Any]", parse_line(line))
        extras = {name: value for name, value in fields.items() if name not in {"messages", "reference_answer"}}
        reference = fields.get("reference_answer")
        return Record(index, fields["messages"], reference, extras, "reference_answer" in fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _raise_for_errors(report: Report) -> None:
    errors = [problem for problem in report.errors if problem.code not in _NOT_DOCUMENTED]
    # An infinite number cannot be passed on to a reward as JSON.
    errors += [problem for problem in report.warnings if problem.code == "too-large"]
    if errors:
        first = min(errors, key=lambda problem: (problem.line is None, problem.line or 0))
        raise InvalidFileError(str(first))
