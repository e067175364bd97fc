"""Stretches of a file, looked at in a process of its own: what `_beside` starts, and talks to.

A command is a line, and each is answered by one pickle, in their order. The first answer says which file was opened.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Iterable
from typing import IO, NamedTuple

from bedrock_rft.datasets._alike import Alike
from bedrock_rft.datasets._cut import READ, Cut, Lines, keep_memory
from bedrock_rft.datasets._look import look
from bedrock_rft.datasets._part import Bounds, Part

__all__ = ["Identity", "Stretch", "identity", "looked", "main"]

_TAIL = 1 << 14  # bytes read at a time, to find the end of a line


class Identity(NamedTuple):
    """Which file it is, and in what state: one that is written to is another."""

    device: int
    number: int
    size: int
    changed: int


class Stretch(NamedTuple):
    """Where in a file the lines begin that are looked at.

    Attributes:
        start: the first byte that may begin one.
        end: the first byte that may not.
        compare: whether prompts are to be compared.
    """

    start: int
    end: int
    compare: bool


def identity(file: IO[bytes]) -> Identity:
    """Which file is open."""
    found = os.fstat(file.fileno())
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def looked(file: IO[bytes], stretch: Stretch, bounds: Bounds, alike: Alike) -> list[Part] | None:
    """What stands on the lines that begin in a stretch; None where one is too long to be looked at."""
    cut = Cut()
    parts: list[Part] = []
    at = max(stretch.start - 1, 0)
    # A line that began before is not ours. Where none did, the byte before is a line feed.
    ours = stretch.start == 0
    file.seek(at)
    found: Iterable[Lines | None]
    while at < stretch.end and (chunk := file.read(min(READ, stretch.end - at))):
        at += len(chunk)
        if not ours:
            _, ended, chunk = chunk.partition(b"\n")
            ours = bool(ended)
        found = cut.feed(chunk)
        if not _take(parts, found, stretch, bounds, alike):
            return None
    while cut.open:
        head, ended, _ = (chunk := file.read(_TAIL)).partition(b"\n")
        found = cut.feed(head + ended) if chunk else cut.end()
        if not _take(parts, found, stretch, bounds, alike):
            return None
        if not chunk:
            break
    return parts


def _take(parts: list[Part], found: Iterable[Lines | None], stretch: Stretch, bounds: Bounds, alike: Alike) -> bool:
    for lines in found:
        if lines is None:
            return False
        held_to = bounds._replace(compare=stretch.compare, secrets=lines.secrets)
        first = not stretch.start and not any(part.records for part in parts)
        parts.append(look(lines.lines, held_to, first=first, alike=alike))
    return True


def main() -> None:
    """Answer commands until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it too
    path, limit, longest_prompt = sys.argv[1:4]
    bounds = Bounds(int(limit), int(longest_prompt))
    alike = Alike()
    keep_memory()
    told = sys.stdout.buffer
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes as long to load as all of the above
        pickle.dump(tuple(identity(file)), told)
        told.flush()
        for command in sys.stdin.buffer:
            start, end, compare = map(int, command.split())
            pickle.dump(looked(file, Stretch(start, end, bool(compare)), bounds, alike), told)
            told.flush()
