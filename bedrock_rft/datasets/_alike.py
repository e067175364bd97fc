"""Lines that are alike but for their values: they are cut apart as bytes, and only the values are read.

Most files were written by one program, and have the same keys in the same order on every line. To make a dict, its keys
and its lists of each line takes most of the time there is; a line's frame, which is all of it but the values, need be
read only once.

Nothing is taken on trust. A line has the frame if its values, each between two marks, are each one whole value of
strict JSON: then the line is what `json` would have read. Where one is not, the line is none of these, and whoever
called looks at every line for itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import repeat
from operator import add
from typing import Any, NamedTuple

from bedrock_rft.datasets._columns import Columns, columns
from bedrock_rft.datasets._parse import parsed, together

__all__ = ["Alike"]

_LEAST = 2  # lines, to tell what changes from one to the next
_LONGEST_PAUSE = 64  # times
_STYLES = ((", ", ": "), (",", ":"))  # json.dumps, and most other writers
_MESSAGES = "messages"
_SLOT = os.urandom(8).hex()  # in place of a value, in a frame that is made: a key may be anything


class Alike:
    """What a file's lines had around their values so far. It makes a look faster, and changes nothing else."""

    def __init__(self) -> None:
        self._frame: _Frame | None = None
        self._missed = self._pause = 0  # times

    def columns(self, lines: Sequence[bytes]) -> Columns | None:
        """The columns of these lines; None where one is not like the others, or breaks a documented rule."""
        if self._pause:
            self._pause -= 1
            return None
        if len(lines) < _LEAST:
            return None
        if not lines[-1].endswith(b"\n"):
            lines = [*lines[:-1], lines[-1] + b"\n"]
        found = self._frame and self._frame.columns(lines)
        if found is None:
            self._frame = _frame(lines)
            found = self._frame and self._frame.columns(lines)
        self._missed = 0 if found else self._missed + 1
        self._pause = min((1 << self._missed) - 1, _LONGEST_PAUSE)
        return found


class _Frame(NamedTuple):
    """What stands around the values of a line.

    Attributes:
        pieces: the bytes before, between and after the values that change from line to line.
        long: which of these values is the longest: the others are looked for from either end, so that nobody has to
            look through it.
        roles: of the messages.
        contents: for each message, which of the values it holds, or the text that all of them hold.
        others: for each further field, the same.
    """

    pieces: list[bytes]
    long: int
    roles: tuple[str, ...]
    contents: list[int | _Same]
    others: dict[str, int | _Same]

    def columns(self, lines: Sequence[bytes]) -> Columns | None:
        """The columns of lines in this frame; None where one is in another, or breaks a documented rule."""
        values = self._values(lines)
        if values is None:
            return None
        count = len(lines)
        same: list[Any] = [one.value for one in self.contents if isinstance(one, _Same)]
        own = [values[one] for one in self.contents if isinstance(one, int)]
        contents = list(same)
        lengths = [sum(map(len, same))] * count
        for texts in own:
            if set(map(type, texts)) != {str}:
                return None
            contents += texts
            lengths = list(map(add, lengths, map(len, texts)))
        return Columns(
            size=count,
            others={name: _column(one, values, count) for name, one in self.others.items()},
            rows=(),
            turns=(),
            contents=contents,
            lengths=lengths,
            shapes=[self.roles] * count,
            kinds={self.roles: count},
            texts=list(zip(*(_column(one, values, count) for one in self.contents), strict=True)),
        )

    def _values(self, lines: Sequence[bytes]) -> list[list[Any]] | None:
        """The values of these lines, as columns; None where a line is not in this frame."""
        pieces, long = self.pieces, self.long
        first, last = pieces[0], pieces[-1]
        if not all(map(bytes.startswith, lines, repeat(first))) or not all(map(bytes.endswith, lines, repeat(last))):
            return None
        start, end = len(first), -len(last)
        found: list[list[Any]] = []
        try:
            if long:
                before, lines = _parted(lines, pieces[long], start)
                found += together(before, pieces[1:long])
                start = 0
            if long == len(pieces) - 2:
                return [*found, *together([line[start:end] for line in lines])]
            rest: list[bytes] = []
            after: list[bytes] = []
            behind = pieces[long + 1]
            width = len(behind)
            for line in lines:  # one after the other, while it is in the core's cache
                right = line.rindex(behind)
                rest.append(line[start:right])
                after.append(line[right + width : end])
            return [*found, *together(rest), *together(after, pieces[long + 2 : -1])]
        except ValueError:
            return None


class _Same(NamedTuple):
    """What is the same on every line."""

    value: Any


def _parted(lines: Sequence[bytes], piece: bytes, start: int) -> tuple[list[bytes], list[bytes]]:
    """What stands before a piece, from some byte on, and behind it. Raises ValueError where it is not there."""
    places = [line.index(piece, start) for line in lines]
    width = len(piece)
    return (
        [line[start:place] for line, place in zip(lines, places, strict=True)],
        [line[place + width :] for line, place in zip(lines, places, strict=True)],
    )


def _column(one: int | _Same, values: Sequence[list[Any]], count: int) -> list[Any]:
    return values[one] if isinstance(one, int) else [one.value] * count


def _frame(lines: Sequence[bytes]) -> _Frame | None:
    """The frame that some of these lines have; None where they have none, or break a documented rule."""
    try:
        row = parsed(lines[0])
    except ValueError:
        return None
    found = columns([row])
    if found is None or found.turns or not all(type(turn["content"]) is str for turn in row[_MESSAGES]):
        return None
    some = lines[0], lines[len(lines) // 2], lines[-1]
    for style in _STYLES:
        pieces = _pieces(row, style, lines[0])
        apart = [_apart(line, pieces) for line in some]
        if all(apart):
            return _folded(row, pieces, list(zip(*apart, strict=True)))
    return None


def _pieces(row: dict[str, Any], style: tuple[str, str], line: bytes) -> list[bytes]:
    """What a writer of this style puts around the values of a record."""
    frame: dict[str, Any] = dict.fromkeys(row, _SLOT)
    frame[_MESSAGES] = [{key: _SLOT if key == "content" else turn[key] for key in turn} for turn in row[_MESSAGES]]
    text = json.dumps(frame, separators=style, ensure_ascii=line.isascii())
    pieces = text.encode().split(b'"%b"' % _SLOT.encode())
    return [*pieces[:-1], pieces[-1] + line[len(line.rstrip()) :]]


def _apart(line: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    """The values between these pieces, from the front; none where a piece is missing."""
    found: list[bytes] = []
    rest = line
    for piece in pieces:
        value, there, rest = rest.partition(piece)
        if not there:
            return []
        found.append(value)
    return [] if found[0] or rest else found[1:]


def _folded(row: dict[str, Any], pieces: Sequence[bytes], values: Sequence[tuple[bytes, ...]]) -> _Frame:
    """A frame that holds the values that are the same on every line."""
    sizes = [sum(map(len, some)) for some in values]
    long, at = sizes.index(max(sizes)), 0
    kept = [pieces[0]]
    places: list[int | _Same] = []
    for place, some in enumerate(values):
        if place == long:
            at = len(kept) - 1
        if place != long and len(set(some)) == 1:
            kept[-1] += some[0] + pieces[place + 1]
            places.append(_Same(parsed(some[0])))
        else:
            places.append(len(kept) - 1)
            kept.append(pieces[place + 1])
    named = iter(places)
    contents: list[int | _Same] = []
    others: dict[str, int | _Same] = {}
    for name in row:
        if name == _MESSAGES:
            contents = [next(named) for _ in row[_MESSAGES]]
        else:
            others[name] = next(named)
    return _Frame(kept, at, tuple(turn["role"] for turn in row[_MESSAGES]), contents, others)
