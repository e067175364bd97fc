"""Read lines of JSON fast and strictly, and explain the lines that are rejected."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, cast

from jiter import from_json

from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._records import plain_record
from bedrock_rft.datasets._report import Problem
from bedrock_rft.datasets._rules import error as make_error
from bedrock_rft.datasets._rules import json_type, truncate
from bedrock_rft.datasets._source import Data, Source, open_source, read_chunks, records_in
from bedrock_rft.errors import DatasetError

_DECOMPRESS = "Decompress it first"
_UTF_16 = ("utf-16", "the file looks like UTF-16, not UTF-8", "Save the file as UTF-8")
_CONVERT = "Convert it: datasets.write('train.jsonl', datasets.convert(…))"
_SIGNATURES = (
    (b"\x1f\x8b", "gzip", "the file is compressed with gzip", f"{_DECOMPRESS}: gunzip"),
    (b"PK\x03\x04", "zip", "the file is a zip archive", "Extract it first: unzip"),
    (b"PAR1", "parquet", "the file is Parquet, not JSON lines", _CONVERT),
    (b"\x28\xb5\x2f\xfd", "zstd", "the file is compressed with zstd", f"{_DECOMPRESS}: unzstd"),
    (b"BZh", "bzip2", "the file is compressed with bzip2", f"{_DECOMPRESS}: bunzip2"),
    (b"\xfd7zXZ", "xz", "the file is compressed with xz", f"{_DECOMPRESS}: unxz"),
    (b"\xff\xfe", *_UTF_16),
    (b"\xfe\xff", *_UTF_16),
    (b"{\x00", *_UTF_16),
    (b"\x00{", *_UTF_16),
)
_BOM = b"\xef\xbb\xbf"

_ARRAY = make_error(
    "array", None, "the file is a JSON array", "Write one object per line: datasets.write(path, datasets.convert(…))"
)
_REASON = re.compile(r"(?P<reason>.*) at line (?P<line>\d+) column (?P<column>\d+)$", re.DOTALL)
_TOKENS = (b"NaN", b"-Infinity", b"Infinity", b"True", b"False", b"None", b"undefined")
_JSON_NAMES = {"True": "true", "False": "false", "None": "null"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_DUPLICATE_PREFIX = "Detected duplicate key "
_WRITE_JSON = "Write the file with json.dumps or datasets.write"
_REASONS = (
    ("trailing characters", "extra data after the object", "Write one JSON object per line, and nothing else"),
    ("key must be a string", "not JSON: a key without double quotes", "Put keys in double quotes"),
    ("trailing comma", "not JSON: a trailing comma", "Remove the comma"),
    ("control character", "not JSON: a raw control character in a string", "Escape it; a line feed is \\n"),
    ("recursion limit", "nested too deeply to be read", "Use fewer than 200 levels"),
    ("number out of range", "a number with more digits than can be read", "Write the number as a string"),
    ("EOF", "not JSON: the line ends too early", "Write each object on one line, without line breaks in it"),
)


class InvalidLine(ValueError):  # noqa: N818 - the package turns it into a problem or a DatasetError
    """A line that is not strict JSON; `problem` explains it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.summary}. {problem.remedy}.")
        self.problem = problem


def read(source: object) -> Iterator[dict[str, Any]]:
    """Yield the records of a training file, or of any data that `write` accepts, as plain dicts.

    Each record must be an object; `validate` checks everything else.

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
    with contextlib.closing(open_source(data)) as opened:
        for number, line in read_lines(opened):
            yield number, parse_object(opened.name, number, line)


def read_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not empty with its number. Raise DatasetError for UTF-16, gzip, Parquet and the like."""
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
    """Return the JSON object on a line. Raise DatasetError, with the advice of `validate`, for any other content."""
    try:
        value = parse_line(line, first=number == 1)
    except InvalidLine as error:
        raise _line_error(name, number, str(error), error.problem.column) from None
    if is_object(value):
        return value
    raise _line_error(name, number, f"{json_type(value)} instead of an object. Write one JSON object per line.")


def reject_signature(name: str, head: bytes) -> None:
    """Raise DatasetError if the first bytes of a file show that it is not JSON lines."""
    problem = file_problem(head)
    if problem is not None:
        summary, remedy = problem.summary, problem.remedy
        raise DatasetError(f"{sanitize_line(name, 100)}: {summary}. {remedy}.", path=name, line=1)


def _line_error(name: str, number: int, text: str, column: int | None = None) -> DatasetError:
    short_name = sanitize_line(name, 100)
    return DatasetError(f"{short_name}, line {number}: {text}", path=name, line=number, column=column)


def parse_line(line: bytes, *, first: bool = False) -> Any:
    """Return the value on a line without NaN, duplicate keys or lone surrogates. Raise `InvalidLine` otherwise."""
    try:
        value = from_json(line, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        array = first and line.lstrip().startswith(b"[") and not _is_python_literal(line)
        raise InvalidLine(_ARRAY if array else _explain(line, error)) from None
    if first and value and isinstance(value, list):
        raise InvalidLine(_ARRAY)
    return value


def parse_array(name: str, content: bytes) -> list[Any]:
    """Return the items of a JSON array, parsed as strictly as lines. Raise DatasetError if it cannot be parsed."""
    try:
        return cast("list[Any]", from_json(content, allow_inf_nan=False, catch_duplicate_keys=True))
    except ValueError as error:
        place = _REASON.match(str(error))
        number = int(place["line"]) if place else 1
        problem = _explain(content.split(b"\n")[number - 1], error)
        raise _line_error(name, number, f"{problem.summary}. {problem.remedy}.", problem.column) from None


def file_problem(head: bytes) -> Problem | None:
    """Return the problem that the first bytes of a file show: another format, or a byte order mark."""
    for signature, code, summary, remedy in _SIGNATURES:
        if head.startswith(signature):
            return make_error(code, None, summary, remedy)
    if head.startswith(_BOM):
        return make_error(
            "bom", None, "the file begins with a byte order mark (BOM)", "Save it as UTF-8 without BOM", 1
        )
    return None


def _explain(line: bytes, error: ValueError) -> Problem:
    try:
        line.decode()
    except UnicodeDecodeError as decode_error:
        summary = f"byte 0x{line[decode_error.start]:02x} is not UTF-8"
        return make_error("not-utf-8", None, summary, "Save the file as UTF-8", decode_error.start + 1)
    match = _REASON.match(str(error))
    reason, column = (match["reason"], int(match["column"])) if match else (str(error), None)
    if reason.startswith(_DUPLICATE_PREFIX):
        key = truncate(reason.removeprefix(_DUPLICATE_PREFIX).strip('"'))
        return make_error("duplicate-key", key, f"the key '{key}' appears twice in one object", "Keep one", column)
    if _ESCAPED_SURROGATE.search(line):
        path = None
        with contextlib.suppress(ValueError, RecursionError):
            path = _surrogate_path(json.loads(line))
        if path is not None:
            summary = "half of a surrogate pair, which UTF-8 cannot encode"
            return make_error("surrogate", path or None, summary, "Remove the \\ud8… escape", column)
    return make_error("not-json", None, *_syntax_error(line, reason, column or 1), column)


def _syntax_error(line: bytes, reason: str, column: int) -> tuple[str, str]:  # noqa: PLR0911 - one for each kind
    """Return the summary and the remedy for a syntax error."""
    if _is_python_literal(line):
        return "not JSON: single quotes, as Python prints a dict", _WRITE_JSON
    before, rest = line[: column - 1], line[column - 1 :]
    for token in _TOKENS:
        # The parser stops at a token's first letter, or after its sign.
        if rest.startswith(token) or (before.endswith(b"-") and line[column - 2 :].startswith(token)):
            name = token.decode()
            if name in _JSON_NAMES:
                return f"{name} is not JSON", f"JSON has {_JSON_NAMES[name]}; {_WRITE_JSON.lower()}"
            return f"{name} is not JSON, although some parsers accept it", "Write null, or leave the field out"
    if reason == "trailing characters" and rest.lstrip(b", \t").startswith(b"{"):
        return "extra data after the object: two objects on one line", "Write one JSON object per line"
    if rest.startswith(_BOM):
        return (
            "not JSON: a byte order mark (BOM) inside the file, as in joined files",
            "Save each file as UTF-8 without BOM",
        )
    if rest.startswith(b"'"):
        return "not JSON: single quotes", f"JSON strings are in double quotes; {_WRITE_JSON.lower()}"
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


def _surrogate_path(value: object, path: str = "") -> str | None:
    """Return the path of the first lone surrogate within a value, such as `messages[0].content`; None without one."""
    if isinstance(value, str):
        return path if _SURROGATE.search(value) else None
    inner: list[tuple[object, str]] = []
    if is_object(value):
        for name, item in value.items():
            inner += [(name, path), (item, f"{path}.{name}" if path else truncate(name))]
    elif is_array(value):
        inner = [(item, f"{path}[{index}]") for index, item in enumerate(value)]
    paths = (_surrogate_path(item, inner_path) for item, inner_path in inner)
    return next((place for place in paths if place is not None), None)
