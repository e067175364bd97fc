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

_UNDOCUMENTED_RULES = {"conflicting-references"}  # errors of `datasets` that the service may accept


class InvalidFileError(DatasetError):
    """The file is not a valid training file. If a line is the cause, the message names the line."""


@dataclass(frozen=True)
class Record:
    """A record of a training file. `index` counts from 0; `extras` has all other fields, even an `id`."""

    index: int
    messages: list[dict[str, Any]]
    reference_answer: Any
    extras: dict[str, Any]
    has_reference: bool = True

    @cached_property
    def prompt_key(self) -> str:
        """The hash of the conversation, which a chat request with the same conversation has too."""
        return prompt_key(self.messages)


def prompt_key(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of the roles and texts of a conversation. Parts and surrounding whitespace do not change it."""
    turns = [
        (str(message.get("role", "")), (content_text(message.get("content")) or "").strip()) for message in messages
    ]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def read_records(chunks: Iterable[bytes], *, minimum: int = 100, maximum: int = 20_000) -> list[Record]:
    """Read a training file from chunks of its bytes. Raise `InvalidFileError` for the first error."""
    check = DatasetCheck("file", limits=Limits(min_records=minimum, max_records=maximum), limit=1)
    records: list[Record] = []
    for line in _iterate_checked_lines(chunks, check):
        if line.strip() and len(records) <= maximum and (record := _parse_record(len(records), line)) is not None:
            records.append(record)
    _raise_for_errors(check.finish())
    return records


def _iterate_checked_lines(chunks: Iterable[bytes], check: DatasetCheck) -> Iterator[bytes]:
    """Yield the lines of a file, and pass its bytes to a check."""
    pending: list[bytes] = []
    for chunk in chunks:
        check.feed(chunk)
        first, *others = chunk.split(b"\n")
        pending.append(first)
        for piece in others:
            yield b"".join(pending)
            pending = [piece]
    yield b"".join(pending)


def _parse_record(index: int, line: bytes) -> Record | None:
    """Return the record on a line; None if the line is invalid, which the check reports."""
    try:
        fields = cast("dict[str, Any]", parse_line(line))
        extras = {name: value for name, value in fields.items() if name not in {"messages", "reference_answer"}}
        reference = fields.get("reference_answer")
        return Record(index, fields["messages"], reference, extras, "reference_answer" in fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _raise_for_errors(report: Report) -> None:
    errors = [problem for problem in report.errors if problem.code not in _UNDOCUMENTED_RULES]
    # Reject infinite numbers too, because JSON cannot pass them to a reward.
    errors += [problem for problem in report.warnings if problem.code == "too-large"]
    if errors:
        first = min(errors, key=lambda problem: (problem.line is None, problem.line or 0))
        raise InvalidFileError(str(first))
