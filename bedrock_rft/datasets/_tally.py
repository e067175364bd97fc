"""What valid records look like, counted many at a time, and what in them is worth a warning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from math import isinf
from operator import contains
from typing import Any

from bedrock_rft.datasets._columns import Columns
from bedrock_rft.datasets._part import Bounds, Part
from bedrock_rft.datasets._rules import Finding

__all__ = ["tally"]

_LONG_ANSWER = 12  # characters from which an answer found in its prompt is hardly there by chance
_MISSING = object()
_NAMED = {"messages", "reference_answer"}
_FINITE = frozenset({str, int, bool, type(None)})
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


def tally(part: Part, lines: Sequence[int], found: Columns, bounds: Bounds) -> None:
    """Count valid records, which stand on these lines of a part."""
    part.valid += found.size
    _conversations(part, lines, found)
    _fields(part, lines, found)
    _references(part, lines, found)
    lengths, longest = found.lengths, bounds.longest_prompt
    part.lengths += lengths
    if max(lengths) > longest:
        for line, length in zip(lines, lengths, strict=True):
            if length > longest:
                what = f"a prompt of {length:,} characters may not fit the model's context"
                part.problems.warning(line, Finding("long-prompt", "messages", what, "Shorten it"))
    if bounds.compare:
        # Only 64-bit hashes are kept.
        part.prompts.extend(map(hash, zip(found.shapes, found.texts, strict=True)))
        part.places.append(lines)


def _conversations(part: Part, lines: Sequence[int], found: Columns) -> None:
    ends: set[str] = set()
    for shape, count in found.kinds.items():
        ends.add(shape[-1])
        for role in shape:
            part.roles[role] += count
    for role, finding in (("assistant", _LAST_ASSISTANT), ("system", _LAST_SYSTEM)):
        if role in ends:
            alike = (line for line, shape in zip(lines, found.shapes, strict=True) if shape[-1] == role)
            part.problems.warnings(alike, finding)
    contents = found.contents
    if not all(contents) or any(map(str.isspace, contents)):
        blank = (line for line, texts in zip(lines, found.texts, strict=True) if not all(map(str.strip, texts)))
        part.problems.warnings(blank, _BLANK)
    if any(map(contains, contents, repeat("\0"))):
        nul = (line for line, texts in zip(lines, found.texts, strict=True) if "\0" in "".join(texts))
        part.problems.warnings(nul, _NUL)


def _fields(part: Part, lines: Sequence[int], found: Columns) -> None:
    others, rows = found.others, found.rows
    counts = Counter(chain.from_iterable(rows)) if others is None else dict.fromkeys(others, found.size)
    for key, count in counts.items():
        if key not in _NAMED:
            part.extras[key] += count
    if "id" in counts:
        having = lines if others is not None else [line for line, row in zip(lines, rows, strict=True) if "id" in row]
        part.problems.warnings(having, _ID)
    # Text parts bring more keys too, but those are in the content.
    more = (key for key in chain.from_iterable(found.turns) if key not in {"role", "content"})
    part.extras.update(f"messages[].{key}" for key in more)
    if others is None or found.turns:
        values: Iterable[object] = rows
    elif any(map(_may_be_infinite, others.values())):
        values = zip(*others.values(), strict=True)
    else:
        return
    part.problems.warnings((line for line, some in zip(lines, values, strict=True) if _infinite(some)), _INFINITE)


def _may_be_infinite(values: Sequence[Any]) -> bool:
    """Whether a field has an infinite number somewhere."""
    return not _FINITE.issuperset(map(type, values)) and _infinite(values)


def _references(part: Part, lines: Sequence[int], found: Columns) -> None:
    answers: Sequence[Any]
    if found.others is None:
        answers = [row.get("reference_answer", _MISSING) for row in found.rows]
    else:
        answers = found.others.get("reference_answer") or [_MISSING] * found.size
    kinds = set(map(type, answers))
    for kind in kinds:
        name = _KINDS[kind]
        part.references[name] += len(answers) if len(kinds) == 1 else sum(type(one) is kind for one in answers)
        first = next(line for line, one in zip(lines, answers, strict=True) if type(one) is kind)
        part.first[name] = min(part.first.get(name, first), first)
    if object in kinds:
        part.problems.warnings(
            (line for line, one in zip(lines, answers, strict=True) if one is _MISSING), _NO_REFERENCE
        )
    if type(None) in kinds:
        part.problems.warnings((line for line, one in zip(lines, answers, strict=True) if one is None), _NULL_REFERENCE)
    # Most files have short answers only, and then there is nothing to look for.
    if str in kinds and (len(kinds) > 1 or max(map(len, answers)) >= _LONG_ANSWER):
        given = (
            line
            for line, answer, texts in zip(lines, answers, found.texts, strict=True)
            if type(answer) is str and len(answer) >= _LONG_ANSWER and answer in texts[-1]
        )
        part.problems.warnings(given, _SHOWS_ANSWER)


def _infinite(value: object) -> bool:
    """Whether an infinite number stands anywhere within."""
    rest: list[Any] = [value]
    while rest:
        here = rest.pop()
        items: Any = here  # narrowing it would make its items unknown
        if isinstance(here, float):
            if isinf(here):
                return True
        elif isinstance(here, dict):
            rest.extend(items.values())
        elif isinstance(here, (list, tuple)):
            rest.extend(items)
    return False
