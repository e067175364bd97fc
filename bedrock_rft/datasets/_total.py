"""What was found in the parts of a file, added up in their order. Memory is bounded, whatever the file."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain, compress

from bedrock_rft.datasets._part import Part
from bedrock_rft.datasets._problems import Problems
from bedrock_rft.datasets._report import Lengths
from bedrock_rft.datasets._rules import Finding

__all__ = ["COMPARED", "Total"]

COMPARED = 1 << 17
"""Records whose prompts are compared: six times what a job takes. They cost 8 bytes each."""

# Over their hashes, so that only some of them are objects at a time. With fewer, a set would be four times as large.
_PASSES = 7
_NAMES = 400  # of further fields
_DIFFERENT = 1 << 14  # lengths; beyond, they are rounded
_EXACT_BITS = 8  # of a rounded length: it is less than 1 % below
_BLANK_LINE = Finding("blank-line", None, "the line is empty", "Remove it: every line is one JSON object")


class Total:
    """A sum of parts.

    Attributes:
        lines: how many there were.
        records: how many are not empty.
        valid: how many are records without an error.
        stop: why nothing further is worth a look; None where it is.
        duplicates: records with the messages of an earlier one, among the first `compared`.
    """

    def __init__(self, limit: int) -> None:
        self.problems = Problems(limit)
        self.lines = self.records = self.valid = self.duplicates = self._blanks = 0
        self.stop: Finding | None = None
        self.roles: Counter[str] = Counter()
        self.references: Counter[str] = Counter()
        self.extras: Counter[str] = Counter()
        self._limit = limit
        self._blank: list[int] = []
        self._first: dict[str, int] = {}
        self._lengths: Counter[int] = Counter()
        self._sum = self._longest = 0
        self._shortest: int | None = None
        self._rounds = False  # from the first time on that there are too many, wherever that is
        self._prompts = array("q")
        self._places: list[Sequence[int]] = []

    @property
    def compared(self) -> int:
        """Records whose prompts were compared: the first, up to a number."""
        return len(self._prompts)

    @property
    def room(self) -> int:
        """Records whose prompts can still be compared."""
        return COMPARED - self.compared

    def add(self, part: Part) -> None:
        """Add what stands next in the file."""
        before = self.lines
        if part.stop is not None:
            self.stop = part.stop
            self.problems.error(before + part.lines, part.stop)
        elif part.records and self._blanks:
            self.problems.errors(self._blank, self._blanks, _BLANK_LINE)
            self._blank, self._blanks = [], 0
        self.problems.take(part.problems, before)
        self._blank += [before + line for line in part.blank[: self._limit - len(self._blank)]]
        self._blanks += part.blanks
        self.lines += part.lines
        self.records += part.records
        self.valid += part.valid
        self.roles.update(part.roles)
        self.references.update(part.references)
        for kind, line in part.first.items():
            self._first.setdefault(kind, before + line)
        for name, count in part.extras.items():
            if name in self.extras or len(self.extras) < _NAMES:
                self.extras[name if len(name) <= 100 else name[:100] + "…"] += count  # noqa: PLR2004 - as names go
        self._add_lengths(part)
        room = self.room
        if room > 0:
            self._prompts += part.prompts[:room]
            self._places += [_moved(lines, before) for lines in part.places]
            if not self.room:
                self._compare()

    def close(self) -> None:
        """Say what can be told only of the whole file."""
        if self.room:
            self._compare()
        kinds = [(kind, count) for kind, count in self.references.items() if kind not in {"missing", "null"}]
        if len(kinds) > 1:
            kinds.sort(key=lambda kind: self._first[kind[0]])
            listed = ", ".join(f"{kind} on {count:,} (from line {self._first[kind]:,})" for kind, count in kinds)
            rare, _ = min(kinds, key=lambda kind: kind[1])
            what = f"its type changes between records: {listed}"
            mend = "Use one type throughout, or have the grader expect each"
            self.problems.warning(self._first[rare], Finding("reference-types", "reference_answer", what, mend))

    def lengths(self) -> Lengths:
        """How long the prompts are."""
        if not self.valid:
            return Lengths()
        middle, high = self._quantile(0.5), self._quantile(0.95)
        return Lengths(self._shortest or 0, middle, high, self._longest, round(self._sum / self.valid, 1))

    def _add_lengths(self, part: Part) -> None:
        found = part.lengths
        if not found:
            return
        self._sum += sum(found)
        least, greatest = min(found), max(found)
        self._longest = max(self._longest, greatest)
        self._shortest = least if self._shortest is None else min(self._shortest, least)
        self._lengths.update(map(_rounded, found) if self._rounds else found)
        if len(self._lengths) > _DIFFERENT and not self._rounds:
            self._rounds = True
            rounded: Counter[int] = Counter()
            for length, count in self._lengths.items():
                rounded[_rounded(length)] += count
            self._lengths = rounded

    def _quantile(self, share: float) -> int:
        """The length that so many of the prompts do not exceed."""
        rest = math.ceil(share * self.valid)
        for length in sorted(self._lengths):
            rest -= self._lengths[length]
            if rest <= 0:
                return length
        return self._longest

    def _compare(self) -> None:
        """Find the records with the messages of an earlier one.

        Among so many hashes of 64 bits, two different prompts meet once in two billion files.
        """
        again: list[tuple[int, int]] = []
        # Some of a hash's bits, for all of them at once.
        lots = bytes(self._prompts)[:: self._prompts.itemsize]
        for turn in range(_PASSES):
            chosen = lots.translate(bytes(lot % _PASSES == turn for lot in range(256)))
            if len(set(compress(self._prompts, chosen))) != chosen.count(1):
                some = Counter(compress(self._prompts, chosen))
                again += self._repeated({prompt for prompt, count in some.items() if count > 1})
        kept = sorted(again)[: self._limit]
        for line, first in kept:
            what = f"the same messages as on line {first:,}"
            mend = "Remove one; datasets.split keeps them together"
            self.problems.warning(line, Finding("duplicate-prompt", "messages", what, mend))
        if self.duplicates:
            self.problems.counts["duplicate-prompt"] += self.duplicates - len(kept)

    def _repeated(self, prompts: set[int]) -> list[tuple[int, int]]:
        """Count the records that repeat these prompts. The first of them, with the lines they repeat."""
        first: dict[int, int] = {}
        found: list[tuple[int, int]] = []
        for prompt, line in zip(self._prompts, chain.from_iterable(self._places), strict=False):
            if prompt in prompts and first.setdefault(prompt, line) != line:
                self.duplicates += 1
                if len(found) < self._limit:
                    found.append((line, first[prompt]))
        return found


def _moved(lines: Sequence[int], by: int) -> Sequence[int]:
    if isinstance(lines, range):  # as most are, and then no line need be touched
        return range(lines.start + by, lines.stop + by)
    return array("q", [line + by for line in lines])


def _rounded(length: int) -> int:
    shift = max(length.bit_length() - _EXACT_BITS, 0)
    return length >> shift << shift
