"""Lines of a file, looked at: the part of the check that costs time, and knows nothing of the lines before.

Three gears. Lines that parse together and have the documented shape are checked as columns. Where one does not, they
are parsed line by line. Only a line that is refused is explained, by slower readers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jiter import from_json

from bedrock_rft.datasets._columns import columns
from bedrock_rft.datasets._part import Part
from bedrock_rft.datasets._rules import Finding, kind, misfits
from bedrock_rft.datasets._syntax import not_json
from bedrock_rft.datasets._tally import tally

__all__ = ["Bounds", "look"]

_GROUP = 1 << 16  # bytes parsed together: few enough to be allocated without asking the system for pages
_COLUMNS = 1 << 18  # bytes checked together: enough to make columns worth it, few enough to stay in a core's cache
_SPACE = b" \t\r"
_PATIENCE = 64
_SECRET = re.compile(rb"(?<![A-Za-z0-9/+])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_ARRAY = Finding("array", None, "the file is a JSON array", "Write one object per line: datasets.write")
_EMPTY_LINE = Finding("blank-line", None, "the line is empty", "Remove it: every line is one JSON object")
_LOOKS_SECRET = Finding(
    "secret", None, "something that looks like an AWS key or a private key", "Remove it: a model may learn it by heart"
)

# Between two lines that are parsed together. No line can hold it, since nobody can know it beforehand; so if it stands
# between every two values, and nowhere else, every line is one value.
_MARK = f"x{os.urandom(8).hex()}"
_BETWEEN = b',"%b",\n' % _MARK.encode()


class Bounds(NamedTuple):
    """What a look has to know.

    Attributes:
        limit: how many problems to keep of each rule.
        longest_prompt: characters above which a prompt is warned of.
    """

    limit: int
    longest_prompt: int


def look(block: bytes, bounds: Bounds, *, first: bool) -> Part:
    """Look at whole lines.

    Args:
        block: the lines; the last may lack its line feed.
        bounds: what they are held to.
        first: whether no record came before, and these lines may be of a file that is a JSON array.
    """
    one = _Look(bounds, first=first)
    start = 0
    for end in _ends(block):
        one.group(block, start, end)
        if one.part.stop:
            break
        start = end + 1
    one.settle()
    return one.part


def _ends(block: bytes) -> Iterator[int]:
    """Where some lines end, time and again: at a line feed, or after the last byte."""
    start, size = 0, len(block)
    while start < size:
        end = block.rfind(b"\n", start, start + _GROUP)
        if end < 0:
            end = block.find(b"\n", start + _GROUP)
        if end < 0:
            end = size
        yield end
        start = end + 1


class _Look:
    def __init__(self, bounds: Bounds, *, first: bool) -> None:
        self.part = Part(bounds.limit)
        self._longest = bounds.longest_prompt
        self._first = first
        self._head = 0  # the line of the first record
        self._rows: list[Any] = []
        self._since = self._size = 0  # where the first of them stands, and how many bytes they are

    def group(self, block: bytes, start: int, end: int) -> None:
        """Look at the lines from here to there."""
        part = self.part
        if _suspicious(block, start, end):
            self._secrets(block[start:end])
        try:
            rows = _together(block, start, end)
        except ValueError:
            self.settle()
            if self.part.stop is None:
                self._check(*self._one_by_one(block[start:end].split(b"\n")))
            return
        if not self._rows:
            self._since, self._size = part.lines + 1, 0
        self._head = self._head or part.lines + 1
        self._rows += rows
        self._size += end - start
        part.lines += len(rows)
        part.records += len(rows)
        self._something_follows()
        if self._size >= _COLUMNS:
            self.settle()

    def settle(self) -> None:
        """Check what has been parsed."""
        rows, self._rows = self._rows, []
        self._check(rows, range(self._since, self._since + len(rows)))

    def _check(self, rows: list[Any], numbers: Sequence[int]) -> None:
        found = columns(rows) if rows else None
        if found is None:
            rows, numbers = self._rule_by_rule(rows, numbers)
            found = columns(rows) if rows else None
        if found is not None:
            tally(self.part, rows, numbers, found, self._longest)

    def _one_by_one(self, lines: list[bytes]) -> tuple[list[Any], list[int]]:
        part = self.part
        rows: list[Any] = []
        numbers: list[int] = []
        if not any(lines):
            self._skip(len(lines))
            return rows, numbers
        for line in lines:
            if not line.strip(_SPACE):
                self._skip(1)
                continue
            self._something_follows()
            part.lines += 1
            part.records += 1
            self._head = self._head or part.lines
            try:
                rows.append(_parsed(line))
            except ValueError as error:
                if self._first and part.lines == self._head and line.lstrip(_SPACE).startswith(b"["):
                    self._stop()
                    return [], []
                part.problems.error(part.lines, not_json(line, error))
            else:
                numbers.append(part.lines)
        return rows, numbers

    def _rule_by_rule(self, rows: list[Any], numbers: Sequence[int]) -> tuple[list[Any], list[int]]:
        good: list[tuple[Any, int]] = []
        for row, number in zip(rows, numbers, strict=True):
            if self._first and number == self._head and kind(row) == "a list" and row:
                self._stop()
                return [], []
            wrong = list(misfits(row))
            for finding in wrong:
                self.part.problems.error(number, finding)
            if not wrong:
                good.append((row, number))
        return [row for row, _ in good], [number for _, number in good]

    def _stop(self) -> None:
        """Give up at the first record."""
        self.part = Part(self.part.limit)
        self.part.lines, self.part.records, self.part.stop = self._head, 1, _ARRAY

    def _skip(self, count: int) -> None:
        """Pass empty lines."""
        part = self.part
        part.blank.extend(range(part.lines + 1, part.lines + 1 + min(count, part.limit - len(part.blank))))
        part.blanks += count
        part.lines += count

    def _something_follows(self) -> None:
        part = self.part
        if part.blanks:
            part.problems.errors(part.blank, part.blanks, _EMPTY_LINE)
            part.blank, part.blanks = [], 0

    def _secrets(self, lines: bytes) -> None:
        for number, line in enumerate(lines.split(b"\n"), self.part.lines + 1):
            if _SECRET.search(line):
                self.part.problems.warning(number, _LOOKS_SECRET)


def _together(block: bytes, start: int, end: int) -> list[Any]:
    """Read the lines from here to there, each one value of JSON.

    Raises:
        ValueError: one is not, or is not strict JSON.
    """
    text = b"".join((b"[", memoryview(block)[start:end], b"]")).replace(b"\n", _BETWEEN)
    feeds = (len(text) - 2 - (end - start)) // (len(_BETWEEN) - 1)
    values: list[Any] = _parsed(text)
    if len(values) != 2 * feeds + 1 or values[1::2] != [_MARK] * feeds:
        raise ValueError("A value begins on one line and ends on another, or there are several on one.")
    return values[::2]


def _parsed(text: bytes) -> Any:
    """Read JSON, strictly where Python's reader is lenient.

    Raises:
        ValueError: it has NaN, a lone surrogate, bytes that are not UTF-8, a key twice, or too many levels or digits.
    """
    return from_json(text, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)


def _suspicious(block: bytes, start: int, end: int) -> bool:
    """Whether a secret may stand between here and there.

    Both marks have a K, which is rare in text, and to look for a single byte is many times faster.
    """
    at = start - 1
    for _ in range(_PATIENCE):
        at = block.find(b"K", at + 1, end)
        if at < 0:
            return False
        if block.startswith((b"KIA", b"KEY-----"), at):
            return True
    return block.find(b"AKIA", at, end) >= 0 or block.find(b"PRIVATE KEY-----", at - 8, end) >= 0
