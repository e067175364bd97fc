"""One recorded rollout, parsed from a line of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from jiter import from_json

from bedrock_rft._core.text import ShortRepr, sanitize_line

_DEFAULTS: Mapping[str, Any] = {
    "v": 1,
    **dict.fromkeys(("time", "score")),  # are always present
    **dict.fromkeys(("request_id", "function", "source", "rollout_id"), ""),
    **dict.fromkeys(("function_version", "prompt_hash", "prompt", "answer", "reference", "fields")),
    **dict.fromkeys(("error", "duration", "package_hash")),
    "parts": {},
    "metrics": {},
    "truncated": (),
}
_LARGEST = 1e150  # the squares of larger numbers are infinite
_LATEST = 1e11  # Unix seconds, in the year 5138; the page could not show a time after the year 9999
_TEXT: set[type] = {str}
_MAYBE_TEXT: set[type] = {str, type(None)}
_OBJECT: set[type] = {dict}
_TYPES: Mapping[str, set[type]] = {
    "v": {int},
    "score": {float, int},
    "duration": {float, int, type(None)},
    "fields": {dict, type(None)},
    "truncated": {list, tuple},
    **dict.fromkeys(("time", "request_id", "function", "source", "rollout_id"), _TEXT),
    **dict.fromkeys(("function_version", "prompt_hash", "prompt", "answer", "error", "package_hash"), _MAYBE_TEXT),
    **dict.fromkeys(("parts", "metrics"), _OBJECT),
}


@dataclass(frozen=True)
class Record(ShortRepr):
    """One recorded rollout. A value that is unknown or was not included in the recording is None.

    Attributes:
        time: the end of the scoring of its batch, in UTC, as in `2026-11-28T14:03:22.123456Z`; text of this form sorts
            by time.
        request_id: identifies the invocation of the reward function.
        function: the name of the function, or of the reward outside Lambda.
        function_version: the version of the function.
        source: `lambda`, `local_service`, `rehearsal`, `evaluation` or `score`.
        rollout_id: the id of the rollout in its batch.
        prompt_hash: the SHA-256 of the messages before the answer; equal for equal prompts.
        prompt: the last user message, or all messages as `role: content` if there are several.
        answer: the text that the model generated.
        reference: the reference answer of the record, any JSON value.
        fields: the other fields of the record.
        score: the reward.
        parts: the values of the parts of the reward, by name.
        metrics: the metrics that the reward reported, by name.
        error: the error of the reward, if it raised one.
        duration: seconds that scoring this rollout took.
        package_hash: the SHA-256 of the function's package.
        truncated: the names of the texts that were cut because they were too long.
        v: the version of the format. Keys that later versions add are ignored.
    """

    time: str
    request_id: str
    function: str
    function_version: str | None
    source: str
    rollout_id: str
    prompt_hash: str | None
    prompt: str | None
    answer: str | None
    reference: Any
    fields: Mapping[str, Any] | None
    score: float
    parts: Mapping[str, float]
    metrics: Mapping[str, float]
    error: str | None
    duration: float | None
    package_hash: str | None
    truncated: Sequence[str]
    v: int = 1

    @property
    def at(self) -> float:
        """Return the time as Unix seconds. Raises `ValueError` if `time` has another form."""
        return datetime.fromisoformat(self.time.replace("Z", "+00:00")).timestamp()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the record, with the keys of the file."""
        return {"v": self.v, **asdict(self)}


COLUMNS = ("v", *(name for name in Record.__dataclass_fields__ if name != "v"))
"""The keys of a line, in order."""


@dataclass(frozen=True)
class Problem(ShortRepr):
    """A line, or a whole file, that could not be read and was skipped.

    Attributes:
        file: the path or the URL of the file.
        line: the number of the line in its file; None if the rest of the file could not be read.
        reason: why.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line is not None else self.file
        return f"{place}: {self.reason}"


def parse_block(block: bytes) -> tuple[list[Record], list[tuple[int, str]]]:
    """Return the records of whole lines, and the number of each other line, from 1, with the reason."""
    records, problems = list[Record](), list[tuple[int, str]]()
    known = set[tuple[type, ...]]()  # the types of records that were found valid; finding a set takes less time
    time = ""
    for number, row in _parse_rows(block, problems):
        if type(row) not in _OBJECT:
            problems.append((number, "not a JSON object"))
            continue
        record: Record = object.__new__(Record)
        values = vars(record)
        values.update(_DEFAULTS)  # setting each field of a frozen dataclass would take most of the time
        values.update(row)
        if len(values) > len(COLUMNS):  # keys of a later version, which may have the name of a method
            for name in values.keys() - set(COLUMNS):
                del values[name]
        types = tuple(map(type, values.values()))  # in the order of the defaults
        fault = "" if types in known else next((name for name in _TYPES if type(values[name]) not in _TYPES[name]), "")
        if not fault:
            known.add(types)
            fault = _find_bad_value(record, record.time != time)
        if fault:
            problems.append((number, f"not a recorded rollout: it has no {'valid ' if fault in row else ''}{fault}"))
        else:
            time = record.time
            records.append(record)
    return records, problems


def _find_bad_value(record: Record, is_new_time: bool) -> str:
    """Return the name of a value that has the right type and is not valid, or an empty text."""
    try:
        if is_new_time and not (record.time.endswith("Z") and 0 <= record.at < _LATEST):
            return "time"
        if record.truncated and not all(isinstance(name, str) for name in record.truncated):
            return "truncated"
        numbers = (record.score, record.duration or 0, *record.parts.values(), *record.metrics.values())
        return "" if sum(map(abs, numbers)) < _LARGEST else "number"  # less time than a test of each
    except (TypeError, ValueError, OverflowError):
        return "time or number"


def _parse_rows(block: bytes, problems: list[tuple[int, str]]) -> Iterable[tuple[int, Any]]:
    """Return the number and the JSON value of each line; one call for all takes less time than one for each."""
    end = b"null]" if block.endswith(b"\n") else b"]"
    try:
        rows = cast("list[Any]", from_json(b"".join((b"[", block.replace(b"\n", b","), end))))
    except ValueError:
        return _parse_each(block, problems)
    return enumerate(rows[: -1 if len(end) > 1 else None], 1)


def _parse_each(block: bytes, problems: list[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(block.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, from_json(line)
            except ValueError as error:
                problems.append((number, f"not JSON: {sanitize_line(str(error), 200)}"))
