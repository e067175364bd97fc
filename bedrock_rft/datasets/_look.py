"""Lines of a file, looked at: the part of the check that costs time, and knows nothing of the lines before.

Four gears. Of lines that are alike, only the values are read. Others are parsed together, and checked as columns where
they have the documented shape. Where one does not, they are parsed line by line. Only a line that is refused is
explained, by slower readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedrock_rft.datasets._alike import Alike
from bedrock_rft.datasets._columns import columns
from bedrock_rft.datasets._leak import leaks
from bedrock_rft.datasets._parse import parsed, together
from bedrock_rft.datasets._part import Bounds, Part
from bedrock_rft.datasets._rules import Finding, kind, misfits
from bedrock_rft.datasets._syntax import not_json
from bedrock_rft.datasets._tally import tally

__all__ = ["look"]

_GROUP = 1 << 16  # bytes parsed together: few enough to be allocated without asking the system for pages
_COLUMNS = 1 << 18  # bytes checked together: enough to make columns worth it, few enough to stay in a core's cache
_SPACE = b" \t\r"
_ARRAY = Finding("array", None, "the file is a JSON array", "Write one object per line: datasets.write")
_EMPTY_LINE = Finding("blank-line", None, "the line is empty", "Remove it: every line is one JSON object")
_LOOKS_SECRET = Finding(
    "secret", None, "something that looks like an AWS key or a private key", "Remove it: a model may learn it by heart"
)


def look(lines: Sequence[bytes], bounds: Bounds, *, first: bool, alike: Alike) -> Part:
    """Look at some lines.

    Args:
        lines: with their line feeds; the last may lack it.
        bounds: what they are held to.
        first: whether no record came before, and these lines may be of a file that is a JSON array.
        alike: what is known of the lines before.
    """
    one = _Look(bounds, first=first)
    if one.alike(lines, alike):
        return one.part
    step = max(len(lines) * _GROUP // sum(map(len, lines)), 1)
    for start in range(0, len(lines), step):
        one.group(lines[start : start + step])
        if one.part.stop:
            break
    one.settle()
    return one.part


class _Look:
    def __init__(self, bounds: Bounds, *, first: bool) -> None:
        self.part = Part(bounds.limit)
        self._bounds = bounds
        self._first = first
        self._head = 0  # the line of the first record
        self._rows: list[Any] = []
        self._since = self._size = 0  # where the first of them stands, and how many bytes they are

    def alike(self, lines: Sequence[bytes], alike: Alike) -> bool:
        """Look at all the lines, if they are alike."""
        found = alike.columns(lines)
        if found is None:
            return False
        self._secrets(lines)
        part = self.part
        part.lines = part.records = found.size
        tally(part, range(1, found.size + 1), found, self._bounds)
        return True

    def group(self, lines: Sequence[bytes]) -> None:
        """Look at the next lines."""
        part = self.part
        self._secrets(lines)
        try:
            [rows] = together(lines)
        except ValueError:
            self.settle()
            if self.part.stop is None:
                self._check(*self._one_by_one(lines))
            return
        if not self._rows:
            self._since, self._size = part.lines + 1, 0
        self._head = self._head or part.lines + 1
        self._rows += rows
        self._size += sum(map(len, lines))
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
            tally(self.part, numbers, found, self._bounds)

    def _one_by_one(self, lines: Sequence[bytes]) -> tuple[list[Any], list[int]]:
        part = self.part
        rows: list[Any] = []
        numbers: list[int] = []
        if lines.count(b"\n") == len(lines):
            self._skip(len(lines))
            return rows, numbers
        for fed in lines:
            line = fed.removesuffix(b"\n")
            if not line.strip(_SPACE):
                self._skip(1)
                continue
            self._something_follows()
            part.lines += 1
            part.records += 1
            self._head = self._head or part.lines
            try:
                rows.append(parsed(line))
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

    def _secrets(self, lines: Sequence[bytes]) -> None:
        if self._bounds.secrets:
            for number, line in enumerate(lines, self.part.lines + 1):
                if leaks(line):
                    self.part.problems.warning(number, _LOOKS_SECRET)
