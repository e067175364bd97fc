"""One recorded rollout, parsed from a line of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as core

from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.text import ShortRepr, sanitize_line

_LARGEST = 1e150  # the squares of larger numbers are infinite
_LARGEST_VERSION = 1 << 31
_NO_OBJECT = re.compile(rb"\n[^{]")  # a line that does not begin one; takes a fifth of the time of `b"\n\n" in`
_TIME = re.compile(r"(19[7-9]\d|[2-4]\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z", re.ASCII)


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
        duration: seconds that scoring this rollout took; outside Lambda, the mean of its batch.
        package_hash: the SHA-256 of the function's package.
        truncated: the names of the texts that were cut because they were too long.
        v: the version of the format. Keys that later versions add are ignored.
        model: the model that gave the answer, in an evaluation.
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
    model: str | None = None

    @property
    def at(self) -> float:
        """Return the time as Unix seconds. Raises `ValueError` if `time` has another form."""
        return datetime.fromisoformat(self.time.replace("Z", "+00:00")).timestamp()

    @property
    def is_rehearsal(self) -> bool:
        """Return True if the answer is of the local service or of a rehearsal, so no model gave it."""
        return self.source == "rehearsal" or is_local(self.request_id)

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
        reason: why the line could not be read.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line is not None else self.file
        return f"{place}: {self.reason}"


def parse_block(block: bytes) -> tuple[list[Record], list[tuple[int, str]]]:
    """Return the records of valid lines, and the numbers of all other lines, from 1, each with the reason."""
    try:
        return parse_valid_lines(block), []
    except (ValueError, RecursionError):
        return parse_lines(block)


def parse_valid_lines(block: bytes) -> list[Record]:
    """Return the records of lines that are all valid, with msgspec (extra 'fast'), which takes half the time.

    Raises:
        ValueError, RecursionError: a line is not valid, or msgspec is not installed.
    """
    if (decode := _decoder()) is None:
        raise ValueError("msgspec is not installed.")
    records, time = decode(block), ""
    if len(records) != block.rstrip(b"\n").count(b"\n") + 1 or block[:1] != b"{" or _NO_OBJECT.search(block):
        raise ValueError("A line is empty, or has several values or a part of one.")
    for record in records:
        if record.time != time:  # the rollouts of an invocation have one time
            time = _check_time(record.time)
        numbers = record.score, record.duration or 0.0, *record.parts.values(), *record.metrics.values()
        if not -_LARGEST < min(numbers) <= max(numbers) < _LARGEST or not 0 <= record.v < _LARGEST_VERSION:
            raise ValueError("A number is too large.")
    return records


def parse_lines(block: bytes) -> tuple[list[Record], list[tuple[int, str]]]:
    """Return the same as `parse_block`, with pydantic."""
    records, problems = list[Record](), list[tuple[int, str]]()
    parse, time = _validator().validate_json, ""
    for number, line in enumerate(block.split(b"\n"), 1):
        try:
            record: Record = parse(line)
            if record.time != time:
                time = _check_time(record.time)
        except ValidationError as error:
            if line.strip():
                problems.append((number, _describe(error)))
        except ValueError:
            problems.append((number, "not a recorded rollout: it has no valid time"))
        else:
            records.append(record)
    return records, problems


@cache
def _decoder() -> Callable[[bytes], list[Record]] | None:
    """Return msgspec's decoder of lines, or None without msgspec. The decoder raises `ValueError` for all errors."""
    try:
        import msgspec
    except ImportError:
        return None
    decoder = msgspec.json.Decoder(Record)

    def decode(block: bytes) -> list[Record]:
        try:
            return decoder.decode_lines(block.decode())
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None

    return decode


@cache
def _validator() -> SchemaValidator:
    """Return the parser of a line, which ignores unknown keys. It is faster than `json` and a check of each value."""
    text, whole = core.str_schema(strict=True), core.int_schema(strict=True, ge=0, lt=_LARGEST_VERSION)
    number = core.float_schema(strict=True, allow_inf_nan=False, gt=-_LARGEST, lt=_LARGEST)
    numbers = core.with_default_schema(core.dict_schema(text, number), default={})
    defaults: dict[str, core.CoreSchema] = {
        **dict.fromkeys(COLUMNS, _optional(text)),
        **dict.fromkeys(("request_id", "function", "source", "rollout_id"), core.with_default_schema(text, default="")),
        **dict.fromkeys(("parts", "metrics"), numbers),
        "v": core.with_default_schema(whole, default=1),
        "time": text,
        "score": number,
        "duration": _optional(number),
        "reference": _optional(core.any_schema()),
        "fields": _optional(core.dict_schema(text, core.any_schema())),
        "truncated": core.with_default_schema(core.list_schema(text, strict=True), default=()),
    }
    fields = [core.dataclass_field(name, schema) for name, schema in defaults.items()]
    return SchemaValidator(core.dataclass_schema(Record, core.dataclass_args_schema("Record", fields), [*defaults]))


def _optional(schema: core.CoreSchema) -> core.CoreSchema:
    return core.with_default_schema(core.nullable_schema(schema), default=None)


def _check_time(text: str) -> str:
    """Return a time unchanged. Raise `ValueError` if its form does not sort by time."""
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    datetime.fromisoformat(text[:-1])
    return text


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if not first["loc"]:
        kind = first["type"]
        return f"not JSON: {sanitize_line(first['msg'], 200)}" if kind == "json_invalid" else "not a JSON object"
    valid = "" if first["type"] == "missing" else "valid "
    return f"not a recorded rollout: it has no {valid}{sanitize_line(str(first['loc'][0]), 200)}"
