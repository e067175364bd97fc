"""Bytes as they come, cut into whole lines."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from bedrock_rft.datasets._leak import suspicious

__all__ = ["LONGEST_LINE", "READ", "Cut", "Lines", "keep_memory"]

LONGEST_LINE = 32 << 20
"""Bytes. A reward function is sent at most 6 MB at a time, so no longer line can be of use; and memory is bounded."""

READ = 1 << 19
"""Bytes, as they are checked: few enough to stay in a core's cache, enough that what is done for each costs little."""

_LARGER = 4 << 20  # bytes, than anything that is needed again and again


class Lines(NamedTuple):
    """Lines that follow each other.

    Attributes:
        lines: with their line feeds; the last of a file may lack it.
        secrets: whether something that looks like a secret may be there; False is sure.
    """

    lines: list[bytes]
    secrets: bool


def keep_memory() -> None:
    """Have the memory of chunks used again. Once is enough: what is freed a second time has been written to.

    glibc returns pieces of memory as large as a chunk to the system at once, and is given new pages for the next, until
    it has had to free a larger piece. This one is never touched, and so costs nothing.
    """
    _ = bytes(_LARGER)
    del _


class Cut:
    """A cut in progress: `feed` it the bytes in their order, then `end` it."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_size = 0
        self._overlong = False

    @property
    def open(self) -> bool:
        """Whether a line has begun, and not ended."""
        return self._overlong or bool(self._held)

    def feed(self, chunk: bytes) -> Iterator[Lines | None]:
        """The lines that end in these bytes; None in place of one that is longer than `LONGEST_LINE`."""
        if self._overlong:
            _, end, chunk = chunk.partition(b"\n")
            if not end:
                return
            self._overlong = False
            yield None
        lines = BytesIO(chunk).readlines()  # three times as fast as split
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        secrets = suspicious(chunk)
        if lines and self._held:
            lines[0] = b"".join((*self._held, lines[0]))
            self._held, self._held_size = [], 0
            secrets = secrets or suspicious(lines[0])
        if lines:
            yield Lines(lines, secrets)
        if rest:
            self._hold(rest)

    def end(self) -> Iterator[Lines | None]:
        """The last line, where it has no line feed."""
        if self._overlong:
            yield None
        elif self._held:
            yield Lines([b"".join(self._held)], secrets=True)

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size > LONGEST_LINE:
            self._overlong = True
            self._held, self._held_size = [], 0
