"""A training file as the service reads it: one chat prompt a line, checked before a job spends anything on it.

What the documentation states is checked, and nothing else: 100 to 20,000 lines of UTF-8 JSON, each with `messages`.
Whether `reference_answer` may be missing is disputed, so it may.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, cast

from pydantic_core import from_json

__all__ = ["InvalidFile", "Record", "prompt_key", "read_records"]

_ROLES = ("system", "user", "assistant")
_FIRST_BYTES = (
    (b"\xef\xbb\xbf", "begins with a byte order mark; save it as UTF-8 without one"),
    (b"\xff\xfe", "looks like UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "looks like UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "is compressed with gzip; decompress it first"),
    (b"PK\x03\x04", "is a zip archive; extract it first"),
    (b"PAR1", "is a Parquet file; write it as JSON lines"),
    (b"[", "is a JSON array; write one object per line"),
)
_SHOWN = 60


class InvalidFile(Exception):  # noqa: N818 - it is a verdict on a file, told to the file's owner as a job's outcome
    """The file is not one the service trains on.

    Attributes:
        message: one sentence for the job's owner; it names the line where one is to blame.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Record:
    """One prompt of a training file.

    Attributes:
        index: its place among the records, from 0.
        messages: the conversation, as it stood in the file.
        reference_answer: any JSON value; None where it is missing.
        extras: all other fields, a user's own `id` among them.
        has_reference: tells a `reference_answer` that is null from one that is not there.
    """

    index: int
    messages: list[dict[str, Any]]
    reference_answer: Any
    extras: dict[str, Any]
    has_reference: bool = True

    @cached_property
    def prompt_key(self) -> str:
        """What a chat request with the same conversation hashes to."""
        return prompt_key(self.messages)


def prompt_key(messages: Sequence[Mapping[str, Any]]) -> str:
    """Hash a conversation: 64 hex digits of its roles and texts.

    A string and the same string cut into text parts are one conversation, as are texts that differ in the whitespace
    around them.
    """
    turns = [(str(message.get("role", "")), _text(message.get("content")).strip()) for message in messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def read_records(chunks: Iterable[bytes], *, minimum: int = 100, maximum: int = 20_000) -> list[Record]:
    """Read a training file.

    Args:
        chunks: the file's bytes, cut anywhere.
        minimum: the fewest records the service takes.
        maximum: the most.

    Raises:
        InvalidFile: the first thing that is wrong with it.
    """
    records: list[Record] = []
    found = blank = 0
    for number, line in enumerate(_lines(chunks), 1):
        if number == 1:
            _check_first_bytes(line)
        if not line.strip(b" \t\r"):
            blank = blank or number
            continue
        # An empty line is a mistake only where something follows it.
        if blank:
            raise InvalidFile(f"Line {blank} is empty; every line must be one JSON object.")
        found += 1
        if found <= maximum:
            records.append(_record(found - 1, number, line))
    if not found:
        raise InvalidFile("The file holds no records.")
    if not minimum <= found <= maximum:
        raise InvalidFile(f"The file holds {found} records; between {minimum} and {maximum} are allowed.")
    return records


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        held.append(first)
        for piece in others:
            yield b"".join(held)
            held = [piece]
    yield b"".join(held)


def _check_first_bytes(line: bytes) -> None:
    for magic, meaning in _FIRST_BYTES:
        if line.startswith(magic):
            raise InvalidFile(f"The file {meaning}.")


def _record(index: int, number: int, line: bytes) -> Record:
    row = _parsed(number, line)
    if not isinstance(row, dict):
        raise InvalidFile(f"Line {number} is {_kind(row)}; every line must be one JSON object.")
    fields = cast("dict[str, Any]", row)
    if "messages" not in fields:
        near = next((name for name in fields if name.lower() in {"mesages", "message", "messages", "prompt"}), None)
        hint = f"; it has '{_shown(near)}' instead" if near else ""
        raise InvalidFile(f"Line {number}: messages is missing{hint}.")
    messages = fields["messages"]
    if not isinstance(messages, list) or not messages:
        found = "empty" if messages == [] else _kind(fields["messages"])
        raise InvalidFile(f"Line {number}: messages is {found}; it must be a list of at least one message.")
    turns = cast("list[dict[str, Any]]", fields["messages"])
    for position, message in enumerate(turns):
        _check_message(f"Line {number}: messages[{position}]", message)
    if not any(message["role"] == "user" for message in turns):
        raise InvalidFile(f"Line {number}: messages has no message with the role 'user'.")
    extras = {name: value for name, value in fields.items() if name not in {"messages", "reference_answer"}}
    reference = fields.get("reference_answer")
    return Record(index, turns, reference, extras, "reference_answer" in fields)


def _check_message(place: str, message: object) -> None:
    if not isinstance(message, dict):
        raise InvalidFile(f"{place} is {_kind(message)}; it must be an object with role and content.")
    fields = cast("dict[str, Any]", message)
    for name in ("role", "content"):
        if name not in fields:
            raise InvalidFile(f"{place}.{name} is missing.")
    role, content = fields["role"], fields["content"]
    if role not in _ROLES:
        shown = f"'{_shown(role)}'" if isinstance(role, str) else _kind(role)
        raise InvalidFile(f"{place}.role is {shown}; it must be one of {', '.join(_ROLES)}.")
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else _kind(fields["content"])
        raise InvalidFile(f"{place}.content is {found}; it must be a string or a list of text parts.")
    for position, part in enumerate(cast("list[Any]", fields["content"])):
        piece = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        if piece.get("type") != "text" or not isinstance(piece.get("text"), str):
            raise InvalidFile(
                f'{place}.content[{position}] must be {{"type": "text", "text": "…"}}; only text is taken.'
            )


class _BadValueError(ValueError):
    """Something that JSON allows or Python reads, and that cannot be passed on unchanged."""


def _parsed(number: int, line: bytes) -> Any:
    try:
        # The strict reader goes first: it bounds nesting and digits and refuses NaN and lone surrogates. It keeps one
        # of two equal names, though, and reads 1e999 as infinity, which the second reading is there to see.
        from_json(line, allow_inf_nan=False)
        return json.loads(line, object_pairs_hook=_unique, parse_float=_finite)
    except _BadValueError as error:
        raise InvalidFile(f"Line {number}: {error}.") from None
    except (ValueError, RecursionError) as error:
        _refuse(number, line, error)


def _refuse(number: int, line: bytes, error: Exception) -> NoReturn:
    try:
        line.decode()
    except UnicodeDecodeError as misfit:
        raise InvalidFile(f"Line {number} is not UTF-8: byte {misfit.start + 1} cannot be read.") from None
    # The reader counts lines too, and to it this is always line 1.
    reason = str(error).replace(" at line 1 column ", " at column ")
    raise InvalidFile(f"Line {number} is not valid JSON: {reason}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadValueError(f"the name '{_shown(twice)}' appears twice in one object")
    return fields


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _BadValueError(f"the number {_shown(digits)} is too large")
    return value


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[Any]", content) if isinstance(content, (list, tuple)) else []
    texts = [cast("dict[str, Any]", part).get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
