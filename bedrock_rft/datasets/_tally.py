"""What valid records look like, counted as they pass, and what in them is worth a warning."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import contains, itemgetter
from typing import Any

from bedrock_rft.datasets._columns import Columns
from bedrock_rft.datasets._problems import Problems
from bedrock_rft.datasets._report import Lengths
from bedrock_rft.datasets._rules import Finding, Rules

__all__ = ["Tally"]

REMEMBERED = 40_000
"""Records whose prompts are remembered: twice what a job takes, so that memory is bounded whatever the file."""

_LONG_ANSWER = 12  # characters from which an answer found in its prompt is hardly there by chance
_MISSING = object()
_ANSWER = itemgetter("reference_answer")
_MAY_BE_INFINITE = frozenset({float, dict, list})
_KINDS = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "list",
    dict: "object",
    object: "missing",
}

_LAST_ASSISTANT = Finding(
    "ends-with-assistant",
    "messages",
    "the last message is the assistant's, the turn that the model is meant to write",
    "Move it into reference_answer: datasets.convert does",
)
_LAST_SYSTEM = Finding("ends-with-system", "messages", "the last message is the system's", "Put it first")
_BLANK = Finding("blank-content", "messages", "a message is empty or whitespace", "Give its text, or remove it")
_NUL = Finding("nul", "messages", "a message holds the character NUL", "Remove \\u0000")
_NO_REFERENCE = Finding(
    "reference-missing",
    "reference_answer",
    "missing; the documentation asks for it, an AWS blog post calls it optional",
    "Give what the grader compares with",
)
_NULL_REFERENCE = Finding("reference-null", "reference_answer", "null", "Give what the grader compares with")
_ID = Finding(
    "own-id",
    "id",
    "the service gives every record an id of its own",
    "Call this field something else, unless it may go",
)
_SHOWS_ANSWER = Finding(
    "answer-in-prompt",
    "reference_answer",
    "the answer stands in the prompt",
    "Leave it out of the prompt, unless it is one of several to choose from",
)
_INFINITE = Finding(
    "too-large", None, "a number is too large for most readers, and becomes infinity", "Write it as a string"
)


class Tally:
    """Counts over valid records.

    Attributes:
        records: how many there were.
        roles: messages by role.
        references: records by the JSON type of their reference answer.
        extras: records by further field.
        duplicates: records with the messages of an earlier one, among the first `compared`.
    """

    def __init__(self, rules: Rules, problems: Problems) -> None:
        self._rules = rules
        self._problems = problems
        self._lengths = array("Q")
        self._sum = self._longest = 0
        self._shortest: int | None = None
        self._seen: dict[int, int] = {}
        self._first: dict[str, int] = {}
        self.records = self.duplicates = self.compared = 0
        self.roles: Counter[str] = Counter()
        self.references: Counter[str] = Counter()
        self.extras: Counter[str] = Counter()

    def add(self, rows: Sequence[dict[str, Any]], lines: Sequence[int], found: Columns) -> None:
        """Count these records, which stand on these lines."""
        self.records += len(rows)
        self._conversations(lines, found)
        self._fields(rows, lines, found)
        self._references(rows, lines, found)
        self._prompts(lines, found)

    def lengths(self) -> Lengths:
        """How long the prompts are."""
        if not self.records:
            return Lengths()
        known = sorted(self._lengths)
        middle, high = known[(len(known) - 1) // 2], known[math.ceil(0.95 * len(known)) - 1]
        return Lengths(self._shortest or 0, middle, high, self._longest, round(self._sum / self.records, 1))

    def close(self) -> None:
        """Say what can be told only of the whole file."""
        kinds = {kind: count for kind, count in self.references.items() if kind not in {"missing", "null"}}
        if len(kinds) > 1:
            listed = ", ".join(
                f"{kind} on {count:,} (from line {self._first[kind]:,})" for kind, count in kinds.items()
            )
            rare = min(kinds, key=lambda kind: kinds[kind])
            what = f"its type changes between records: {listed}"
            mend = "Use one type throughout, or have the grader expect each"
            self._problems.warning(self._first[rare], Finding("reference-types", "reference_answer", what, mend))

    def _conversations(self, lines: Sequence[int], found: Columns) -> None:
        ends: set[str] = set()
        for shape, count in found.kinds.items():
            ends.add(shape[-1])
            for role in shape:
                self.roles[role] += count
        for role, finding in (("assistant", _LAST_ASSISTANT), ("system", _LAST_SYSTEM)):
            if role in ends:
                self._warn(
                    finding, (line for line, shape in zip(lines, found.shapes, strict=True) if shape[-1] == role)
                )
        contents = found.contents
        if not all(contents) or any(map(str.isspace, contents)):
            blank = (line for line, texts in zip(lines, found.texts, strict=True) if not all(map(str.strip, texts)))
            self._warn(_BLANK, blank)
        if any(map(contains, contents, repeat("\0"))):
            self._warn(_NUL, (line for line, texts in zip(lines, found.texts, strict=True) if "\0" in "".join(texts)))

    def _fields(self, rows: Sequence[dict[str, Any]], lines: Sequence[int], found: Columns) -> None:
        shapes = Counter(map(tuple, rows))
        extras: Counter[str] = Counter()
        whole = Counter(key for keys, count in shapes.items() for key in keys if count == len(rows))
        for keys, count in shapes.items():
            for key in keys:
                if key not in {"messages", "reference_answer"}:
                    extras[key] += count
                    self._count_extra(key, count)
        if "id" in extras:
            self._warn(_ID, (line for line, row in zip(lines, rows, strict=True) if "id" in row))
        turns = found.turns
        # Text parts bring more keys too, but those are in the content.
        more = sum(map(len, turns)) != 2 * len(turns)  # role and content
        if more:
            for keys, count in Counter(map(tuple, turns)).items():
                for key in keys:
                    if key not in {"role", "content"}:
                        self._count_extra(f"messages[].{key}", count)
        # A number beyond a double's range can only be where there are numbers, or things that may hold some.
        names = [*extras, "reference_answer"]
        values = (map(itemgetter(name), rows) if whole[name] else (row.get(name) for row in rows) for name in names)
        if more or not _MAY_BE_INFINITE.isdisjoint(map(type, chain.from_iterable(values))):
            self._warn(_INFINITE, (line for line, row in zip(lines, rows, strict=True) if _infinite(row)))

    def _count_extra(self, key: str, count: int) -> None:
        if key in self.extras or len(self.extras) < REMEMBERED // 100:
            self.extras[key if len(key) <= 100 else key[:100] + "…"] += count  # noqa: PLR2004 - as names go

    def _references(self, rows: Sequence[dict[str, Any]], lines: Sequence[int], found: Columns) -> None:
        answers: list[Any]
        try:
            answers = list(map(_ANSWER, rows))
        except KeyError:
            answers = [row.get("reference_answer", _MISSING) for row in rows]
        kinds = Counter(map(type, answers))
        for kind, count in kinds.items():
            name = _KINDS[kind]
            self.references[name] += count
            if name not in self._first:
                self._first[name] = next(
                    line for line, answer in zip(lines, answers, strict=True) if type(answer) is kind
                )
        if object in kinds:
            self._warn(_NO_REFERENCE, (line for line, one in zip(lines, answers, strict=True) if one is _MISSING))
        if type(None) in kinds:
            self._warn(_NULL_REFERENCE, (line for line, one in zip(lines, answers, strict=True) if one is None))
        # Most files have short answers only, and then there is nothing to look for.
        if str in kinds and (len(kinds) > 1 or max(map(len, answers)) >= _LONG_ANSWER):
            given = [
                line
                for line, answer, texts in zip(lines, answers, found.texts, strict=True)
                if type(answer) is str and len(answer) >= _LONG_ANSWER and answer in texts[-1]
            ]
            self._warn(_SHOWS_ANSWER, given)

    def _prompts(self, lines: Sequence[int], found: Columns) -> None:
        lengths = found.lengths()
        longest, shortest = max(lengths), min(lengths)
        self._sum += sum(lengths)
        self._longest = max(self._longest, longest)
        self._shortest = shortest if self._shortest is None else min(self._shortest, shortest)
        if longest > self._rules.longest_prompt:
            for line, length in zip(lines, lengths, strict=True):
                if length > self._rules.longest_prompt:
                    what = f"a prompt of {length:,} characters may not fit the model's context"
                    self._problems.warning(line, Finding("long-prompt", "messages", what, "Shorten it"))
        room = REMEMBERED - self.compared
        if room > 0:
            self._lengths.extend(lengths[:room])
            self._compare(lines[:room], found.shapes[:room], found.texts[:room])

    def _compare(
        self, lines: Sequence[int], shapes: Sequence[tuple[str, ...]], texts: Sequence[tuple[str, ...]]
    ) -> None:
        # Only 64-bit hashes are kept. Among 40,000 two different prompts meet once in ten billion files.
        seen, prompts = self._seen, list(map(hash, zip(shapes, texts, strict=True)))
        self.compared += len(prompts)
        if seen.keys().isdisjoint(prompts) and len(set(prompts)) == len(prompts):
            seen.update(zip(prompts, lines, strict=True))
            return
        for prompt, line in zip(prompts, lines, strict=True):
            first = seen.setdefault(prompt, line)
            if first != line:
                self.duplicates += 1
                what = f"the same messages as on line {first:,}"
                mend = "Remove one; datasets.split keeps them together"
                self._problems.warning(line, Finding("duplicate-prompt", "messages", what, mend))

    def _warn(self, finding: Finding, lines: Iterable[int]) -> None:
        found = list(lines)
        if found:
            self._problems.warnings(found, finding)


def _infinite(value: object) -> bool:
    rest: list[Any] = [value]
    while rest:
        here = rest.pop()
        items: Any = here  # narrowing it would make its items unknown
        if isinstance(here, float):
            if math.isinf(here):
                return True
        elif isinstance(here, dict):
            rest.extend(items.values())
        elif isinstance(here, list):
            rest.extend(items)
    return False
