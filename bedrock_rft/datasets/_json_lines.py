"""Lines of JSON: a fast strict reader, and explanations of the lines that it rejects."""

from __future__ import annotations

import ast
import json
import re
from functools import partial
from typing import Any, TypeAlias, cast

from jiter import from_json

from bedrock_rft.datasets._rules import ROLES, Violation, content_text, truncate

__all__ = ["InvalidLine", "Record", "as_record", "file_violation", "parse_line", "parse_record"]


# pydantic's own parser. Unlike pydantic's validate_json, it can reject NaN and a key that appears twice in an object,
# of which pydantic keeps the last. Validating each line with pydantic as well would double the time of a check.
_parse_strictly = partial(from_json, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)

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
_KNOWN_ROLES = frozenset(ROLES)
_MAX_CHECKED_ROLES = 100
_checked_roles: set[tuple[str, ...]] = set()
_BOM = b"\xef\xbb\xbf"

_REASON = re.compile(r"(?P<reason>.*) at line \d+ column (?P<column>\d+)$", re.DOTALL)
_TOKENS = (b"NaN", b"-Infinity", b"Infinity", b"True", b"False", b"None", b"undefined")
_PYTHON_TOKENS = ("True", "False", "None")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_DUPLICATE = "Detected duplicate key "
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


Record: TypeAlias = tuple[dict[str, Any], tuple[str, ...], list[str]]
"""A record that breaks no rule: its fields, and the roles and texts of its messages."""


class InvalidLine(ValueError):  # noqa: N818 - caught in this package, where it becomes a problem or a DatasetError
    """A line that is not strict JSON; `violation` explains it."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(f"{violation.summary}. {violation.remedy}.")
        self.violation = violation


def parse_record(line: bytes) -> Record | None:
    """Return the record on a line if it certainly breaks no rule; None if the rules must look at it."""
    try:
        fields = _parse_strictly(line)
        messages = fields["messages"]
        roles = tuple([message["role"] for message in messages])
        texts = [message["content"] for message in messages]
        if roles not in _checked_roles and not _check_roles(roles):
            return None
        for text in texts:
            if type(text) is not str:
                return as_record(fields) if None not in map(content_text, texts) else None
    except (ValueError, LookupError, TypeError):
        return None
    return fields, roles, texts


def _check_roles(roles: tuple[str, ...]) -> bool:
    """Check the roles of a conversation, and remember them: most files have few different ones."""
    valid = "user" in roles and _KNOWN_ROLES.issuperset(roles)
    if valid and len(_checked_roles) < _MAX_CHECKED_ROLES:
        _checked_roles.add(roles)
    return valid


def as_record(fields: dict[str, Any]) -> Record:
    """Return a record that breaks no rule."""
    messages: list[dict[str, Any]] = fields["messages"]
    texts = [content_text(message["content"]) or "" for message in messages]
    return fields, tuple([message["role"] for message in messages]), texts


def parse_line(line: bytes) -> Any:
    """Return the value on a line, as strictly as RFC 8259 and I-JSON: no NaN, no duplicate keys, no lone surrogates.

    Raises:
        InvalidLine: the line is not strict JSON.
    """
    try:
        return _parse_strictly(line)
    except ValueError as error:
        raise InvalidLine(_explain(line, error)) from None


def file_violation(head: bytes) -> Violation | None:
    """Return what a file's first bytes show it to be, if that is not JSON lines. A BOM is a violation too."""
    for signature, code, summary, remedy in _SIGNATURES:
        if head.startswith(signature):
            return Violation(code, None, summary, remedy)
    if head.startswith(_BOM):
        return Violation("bom", None, "the file begins with a byte order mark (BOM)", "Save it as UTF-8 without BOM", 1)
    return None


def _explain(line: bytes, error: ValueError) -> Violation:
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        summary = f"byte 0x{line[undecodable.start]:02x} is not UTF-8"
        return Violation("not-utf-8", None, summary, "Save the file as UTF-8", undecodable.start + 1)
    match = _REASON.match(str(error))
    reason, column = (match["reason"], int(match["column"])) if match else (str(error), None)
    if reason.startswith(_DUPLICATE):
        key = truncate(reason.removeprefix(_DUPLICATE).strip('"'))
        return Violation("duplicate-key", key, f"the key '{key}' appears twice in one object", "Keep one", column)
    if _ESCAPED_SURROGATE.search(line):
        path = _surrogate_path(_parse_leniently(line))
        if path is not None:
            summary = "half of a surrogate pair, which UTF-8 cannot encode"
            return Violation("surrogate", path or None, summary, "Remove the \\ud8… escape", column)
    return Violation("not-json", None, *_syntax_error(line, reason, column or 1), column)


def _syntax_error(line: bytes, reason: str, column: int) -> tuple[str, str]:  # noqa: PLR0911 - one for each kind
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
            inners = cast("list[Any]", item)  # type: ignore[redundant-cast] # pyright needs it
            pending += [(inners[index], f"{path}[{index}]") for index in reversed(range(len(inners)))]
    return None
