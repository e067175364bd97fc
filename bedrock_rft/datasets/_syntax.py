"""Why a line is not JSON, as precisely as can be told. It runs only for lines that the reader refused."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from bedrock_rft.datasets._rules import Finding, shown

__all__ = ["LEADING", "not_json", "surrogate"]

LEADING = (
    (b"\x1f\x8b", "gzip", "the file is compressed with gzip", "Decompress it first: gunzip"),
    (b"PK\x03\x04", "zip", "the file is a zip archive", "Extract it first: unzip"),
    (b"PAR1", "parquet", "the file is Parquet, not JSON lines", "Write it with datasets.write"),
    (b"\x28\xb5\x2f\xfd", "zstd", "the file is compressed with zstd", "Decompress it first: unzstd"),
    (b"\xff\xfe", "utf-16", "the file looks like UTF-16, not UTF-8", "Save it as UTF-8"),
    (b"\xfe\xff", "utf-16", "the file looks like UTF-16, not UTF-8", "Save it as UTF-8"),
    (b"{\x00", "utf-16", "the file looks like UTF-16, not UTF-8", "Save it as UTF-8"),
    (b"\x00{", "utf-16", "the file looks like UTF-16, not UTF-8", "Save it as UTF-8"),
)
"""First bytes that tell what a file is instead, with the rule's name, what is wrong and how to mend it."""

_REASON = re.compile(r"(?P<why>.*) at line \d+ column (?P<column>\d+)$", re.DOTALL)
_TOKENS = (b"NaN", b"-Infinity", b"Infinity", b"True", b"False", b"None", b"undefined")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_REASONS = (
    ("trailing characters", "extra data after the object", "Write one JSON object per line, and nothing else"),
    ("key must be a string", "not JSON: a key without quotes", 'Put keys in "'),
    ("trailing comma", "not JSON: a trailing comma", "Remove the comma"),
    ("control character", "not JSON: a raw control character in a string", "Escape it, a line feed as \\n"),
    ("recursion limit", "nested too deeply to be read", "Keep it to fewer than 200 levels"),
    ("number out of range", "a number with more digits than can be read", "Write it as a string"),
    ("EOF", "not JSON: the line ends too early", "Write each object on one line, without line breaks in it"),
)
_DUPLICATE = "Detected duplicate key "


def not_json(line: bytes, error: ValueError) -> Finding:
    """Say what is wrong with a line, given what the reader said of it."""
    try:
        line.decode()
    except UnicodeDecodeError as misfit:
        what = f"byte 0x{line[misfit.start]:02x} is not UTF-8"
        return Finding("not-utf-8", None, what, "Save the file as UTF-8", misfit.start + 1)
    found = _REASON.match(str(error))
    why, column = (found["why"], int(found["column"])) if found else (str(error), None)
    if why.startswith(_DUPLICATE):
        key = shown(why.removeprefix(_DUPLICATE).strip('"'))
        return Finding("duplicate-key", key, f"the key '{key}' appears twice in one object", "Keep one", column)
    if _ESCAPED_SURROGATE.search(line):
        place = surrogate(_leniently(line))
        if place is not None:
            what = "half of a surrogate pair, which no UTF-8 text can hold"
            return Finding("surrogate", place or None, what, "Remove the \\ud8… escape", column)
    what, mend = _explained(line, why, column or 1)
    return Finding("not-json", None, what, mend, column)


def surrogate(value: object, place: str = "") -> str | None:
    """Where the first lone surrogate stands within a value: a path such as `messages[0].content`, or None."""
    rest: list[tuple[Any, str]] = [(value, place)]
    while rest:
        here, where = rest.pop()
        items: Any = here  # narrowing it would make its items unknown
        if isinstance(here, str):
            if not here.isascii() and any("\ud800" <= letter <= "\udfff" for letter in here):
                return where
        elif isinstance(here, dict):
            fields = list(items.items())
            rest += [(name, where) for name, _ in fields]
            rest += [(one, f"{where}.{name}" if where else shown(name)) for name, one in reversed(fields)]
        elif isinstance(here, list):
            rest += [(one, f"{where}[{index}]") for index, one in reversed(list(enumerate(cast("list[Any]", items))))]
    return None


def _leniently(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _explained(line: bytes, why: str, column: int) -> tuple[str, str]:
    before, rest = line[: column - 1], line[column - 1 :]
    for token in _TOKENS:
        # The reader stops at a token's first letter, or past its sign.
        if rest.startswith(token) or (before.endswith(b"-") and line[column - 2 :].startswith(token)):
            name = token.decode()
            return f"{name} is not JSON, although some readers take it", "Write null, or leave the field out"
    if why == "trailing characters" and rest.lstrip(b", \t").startswith(b"{"):
        return "extra data after the object: two objects on one line", "Write one JSON object per line"
    if rest[:1] == b"'":
        return "not JSON: single quotes", 'JSON quotes with "; write the file with json.dumps or datasets.write'
    for beginning, what, mend in _REASONS:
        if why.startswith(beginning):
            return what, mend
    return f"not JSON: {shown(why)}", "Write the file with json.dumps or datasets.write"
