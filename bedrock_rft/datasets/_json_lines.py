"""Lines of JSON: a fast strict reader, and explanations of the lines that it rejects."""

from __future__ import annotations

import ast
import json
import re
from math import isfinite
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict

from bedrock_rft.datasets._rules import Violation, truncate

__all__ = ["InvalidLine", "file_violation", "parse_line", "parse_record"]


_strict = with_config(ConfigDict(extra="allow", strict=True))


@_strict
class _TextPart(TypedDict):
    type: Literal["text"]
    text: str


@_strict
class _Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str | Annotated[list[_TextPart], Field(min_length=1)], Field(union_mode="left_to_right")]


@_strict
class _Record(TypedDict):
    messages: Annotated[list[_Message], Field(min_length=1)]


_validate_json = TypeAdapter(_Record).validator.validate_json

_COMPRESSED = "Decompress it first"
_UTF_16 = ("utf-16", "the file looks like UTF-16, not UTF-8", "Save the file as UTF-8")
_CONVERT = "Convert it: datasets.write('train.jsonl', datasets.convert(…))"
_SIGNATURES = (
    (b"\x1f\x8b", "gzip", "the file is compressed with gzip", f"{_COMPRESSED}: gunzip"),
    (b"PK\x03\x04", "zip", "the file is a zip archive", "Extract it first: unzip"),
    (b"PAR1", "parquet", "the file is Parquet, not JSON lines", _CONVERT),
    (b"\x28\xb5\x2f\xfd", "zstd", "the file is compressed with zstd", f"{_COMPRESSED}: unzstd"),
    (b"\xff\xfe", *_UTF_16),
    (b"\xfe\xff", *_UTF_16),
    (b"{\x00", *_UTF_16),
    (b"\x00{", *_UTF_16),
)
_BOM = b"\xef\xbb\xbf"

_REASON = re.compile(r"(?P<reason>.*) at line \d+ column (?P<column>\d+)$", re.DOTALL)
_TOKENS = (b"NaN", b"-Infinity", b"Infinity", b"True", b"False", b"None", b"undefined")
_PYTHON_TOKENS = ("True", "False", "None")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"(?P<colon>\s*:)?|[{}]')
_WRITE_JSON = "Write the file with json.dumps or datasets.write"
_REASONS = (
    ("trailing characters", "extra data after the object", "Write one JSON object per line, and nothing else"),
    ("key must be a string", "not JSON: a key without double quotes", "Put keys in double quotes"),
    ("trailing comma", "not JSON: a trailing comma", "Remove the comma"),
    ("control character", "not JSON: a raw control character in a string", "Escape it; a line feed is \\n"),
    ("recursion limit", "nested too deeply to be read", "Use fewer than 200 levels"),
    ("number out of range", "a number with more digits than can be read", "Write it as a string"),
    ("EOF", "not JSON: the line ends too early", "Write each object on one line, without line breaks in it"),
)


class InvalidLine(ValueError):  # noqa: N818 - caught in this package, where it becomes a problem or a DatasetError
    """A line that is not strict JSON; `violation` explains it."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(f"{violation.summary}. {violation.remedy}.")
        self.violation = violation


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return the record on a line if it is valid beyond doubt. None means that the rules must look at the line.

    The order of the keys may differ from the line.
    """
    try:
        record: dict[str, Any] = _validate_json(line)
    except ValueError:
        return None
    if not _is_unambiguous(record, line):
        return None
    return record if "user" in [message["role"] for message in record["messages"]] else None


def parse_line(line: bytes) -> Any:
    """Return the value on a line, as strictly as RFC 8259 and I-JSON: no NaN, no duplicate keys, no lone surrogates.

    Raises:
        InvalidLine: the line is not strict JSON.
    """
    try:
        value = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidLine(_explain(line, error)) from None
    duplicate = None if _is_unambiguous(value, line) else _duplicate_key(line)
    if duplicate is not None:
        raise InvalidLine(duplicate)
    return value


def file_violation(head: bytes) -> Violation | None:
    """Return what a file's first bytes show it to be, if that is not JSON lines. A BOM is a violation too."""
    for signature, code, summary, remedy in _SIGNATURES:
        if head.startswith(signature):
            return Violation(code, None, summary, remedy)
    if head.startswith(_BOM):
        return Violation("bom", None, "the file begins with a byte order mark (BOM)", "Save it as UTF-8 without BOM", 1)
    return None


def _is_unambiguous(value: object, line: bytes) -> bool:
    r"""Check that a parsed line certainly has no key twice in an object, no NaN and no infinity.

    pydantic keeps the last of two equal keys. Without such keys, a line has one colon for each key of the value and
    for each colon in its text, unless one is escaped as \u003a.
    """
    try:
        return _count_colons(value) == line.count(b":") and b"\\u003" not in line
    except ValueError:
        return False


def _count_colons(value: Any) -> int:
    """Count keys, and colons in keys and strings. Raise ValueError for a number that is not finite."""
    if type(value) is dict:
        items = cast("dict[str, Any]", value)
        colons = len(items) + "".join(items).count(":")
        for item in items.values():
            if type(item) is str:
                colons += item.count(":")
            elif type(item) is not int:
                colons += _count_colons(item)
        return colons
    if type(value) is list:
        inner: list[Any] = value
        return sum(_count_colons(item) for item in inner)
    if type(value) is str:
        return value.count(":")
    if type(value) is float and not isfinite(value):
        raise ValueError
    return 0


def _duplicate_key(line: bytes) -> Violation | None:
    """Find a key that appears twice in one object of a line of valid JSON."""
    objects: list[set[str]] = []
    for token in _STRING_OR_BRACKET.finditer(line):
        if token.group() == b"{":
            objects.append(set())
        elif token.group() == b"}":
            objects.pop()
        elif token["colon"] is not None:
            key = json.loads(token.group().removesuffix(token["colon"]))
            if key in objects[-1]:
                name, column = truncate(key), token.end() + 1
                summary = f"the key '{name}' appears twice in one object"
                return Violation("duplicate-key", name, summary, "Keep one of them", column)
            objects[-1].add(key)
    return None


def _explain(line: bytes, error: ValueError) -> Violation:
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        summary = f"byte 0x{line[undecodable.start]:02x} is not UTF-8"
        return Violation("not-utf-8", None, summary, "Save the file as UTF-8", undecodable.start + 1)
    match = _REASON.match(str(error))
    reason, column = (match["reason"], int(match["column"])) if match else (str(error), None)
    if _ESCAPED_SURROGATE.search(line):
        path = _surrogate_path(_parse_leniently(line))
        if path is not None:
            summary = "half of a surrogate pair, which UTF-8 cannot encode"
            return Violation("surrogate", path or None, summary, "Remove the \\ud8… escape", column)
    return Violation("not-json", None, *_syntax_error(line, reason, column or 1), column)


def _syntax_error(line: bytes, reason: str, column: int) -> tuple[str, str]:
    """Return the summary and the remedy for a syntax error."""
    if _is_python_literal(line):
        return "not JSON: single quotes, as Python prints a dict", _WRITE_JSON
    before, rest = line[: column - 1], line[column - 1 :]
    for token in _TOKENS:
        # The parser stops at a token's first letter, or after its sign.
        if rest.startswith(token) or (before.endswith(b"-") and line[column - 2 :].startswith(token)):
            name = token.decode()
            if name in _PYTHON_TOKENS:
                json_name = {"True": "true", "False": "false"}.get(name, "null")
                return f"{name} is not JSON", f"JSON has {json_name}; write the file with json.dumps or datasets.write"
            return f"{name} is not JSON, although some parsers accept it", "Write null, or leave the field out"
    if reason == "trailing characters" and rest.lstrip(b", \t").startswith(b"{"):
        return "extra data after the object: two objects on one line", "Write one JSON object per line"
    if rest[:1] == b"'":
        return (
            "not JSON: single quotes",
            "JSON strings are in double quotes; write the file with json.dumps or datasets.write",
        )
    for beginning, summary, remedy in _REASONS:
        if reason.startswith(beginning):
            return summary, remedy
    return f"not JSON: {truncate(reason)}", _WRITE_JSON


def _is_python_literal(line: bytes) -> bool:
    """Check whether a line is a Python dict or list with single quotes, as `print(record)` shows it."""
    text = line.strip()
    if not text.startswith((b"{'", b"[{'", b"['")) or len(text) > 1 << 16:
        return False
    try:
        return isinstance(ast.literal_eval(text.decode()), (dict, list))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def _parse_leniently(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _surrogate_path(value: object) -> str | None:
    """Return the path of the first lone surrogate within a value, such as `messages[0].content`; None without one."""
    pending: list[tuple[Any, str]] = [(value, "")]
    while pending:
        item, path = pending.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
                return path
        elif isinstance(item, dict):
            fields = list(cast("dict[str, Any]", item).items())
            pending += [(name, path) for name, _ in fields]
            pending += [(inner, f"{path}.{name}" if path else truncate(name)) for name, inner in reversed(fields)]
        elif isinstance(item, list):
            inners: list[Any] = item
            pending += [(inners[index], f"{path}[{index}]") for index in reversed(range(len(inners)))]
    return None
