"""Many records at once, as columns: each check is one pass in C over some hundred records, not a loop over one.

A group of records either has the documented shape throughout, and then its columns are here, or it has not, and each
of its records is looked at by the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from operator import add, itemgetter
from typing import Any, NamedTuple

from bedrock_rft.datasets._rules import ROLES, text

__all__ = ["Columns", "columns"]

_MESSAGES = itemgetter("messages")
_ROLE = itemgetter("role")
_CONTENT = itemgetter("content")


class Columns(NamedTuple):
    """What records of the documented shape say.

    Attributes:
        fields: the values of each field, where every record has the same fields; None otherwise.
        turns: every message of every record.
        contents: the text of each.
        size: how many messages each record has; 0 where that differs.
        shapes: for each record, the roles of its messages.
        kinds: how many records have each of these shapes.
        texts: for each record, the texts of its messages.
    """

    fields: Mapping[str, Sequence[Any]] | None
    turns: list[dict[str, Any]]
    contents: list[str]
    size: int
    shapes: list[tuple[str, ...]]
    kinds: dict[tuple[str, ...], int]
    texts: list[tuple[str, ...]]

    def lengths(self) -> list[int]:
        """For each record, the characters of its messages."""
        every = list(map(len, self.contents))
        if not self.size:
            return [sum(map(len, texts)) for texts in self.texts]
        total = every[:: self.size]
        for place in range(1, self.size):
            total = list(map(add, total, every[place :: self.size]))
        return total


def columns(rows: Sequence[Any]) -> Columns | None:
    """The columns of these records; None where any of them breaks a documented rule."""
    try:
        return _columns(rows)
    except (_Misfit, LookupError, TypeError):  # a field is missing, or something is of another type
        return None


class _Misfit(Exception):  # noqa: N818 - it ends a fast look, and is nobody's error
    """Some record is not of the documented shape."""


def _columns(rows: Sequence[Any]) -> Columns:
    # What is no object has no item of that name either, and raises TypeError.
    fields = _fields(rows)
    messages: Sequence[Any] = fields["messages"] if fields is not None else list(map(_MESSAGES, rows))
    turns: list[Any] = list(chain.from_iterable(messages))
    roles: list[Any] = list(map(_ROLE, turns))
    contents: list[Any] = list(map(_CONTENT, turns))
    if set(map(type, contents)) != {str}:
        contents = list(map(text, contents))
        _expect(contents, str)
    sizes = list(map(len, messages))
    size = sizes[0] if min(sizes) == max(sizes) else 0
    shape = tuple(roles[:size])
    # Most files have one shape throughout, and then nothing need be gathered.
    if size and roles == [*shape] * len(sizes):
        shapes, kinds = [shape] * len(sizes), {shape: len(sizes)}
    else:
        shapes = _gathered(roles, sizes, size)
        kinds = dict(Counter(shapes))
    # A list without messages has no user either.
    if not ROLES.issuperset(chain.from_iterable(kinds)) or not all("user" in shape for shape in kinds):
        raise _Misfit
    return Columns(fields, turns, contents, size, shapes, kinds, _gathered(contents, sizes, size))


def _fields(rows: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]] | None:
    names = tuple(rows[0])
    if set(map(len, rows)) != {len(names)}:
        return None
    if len(names) == 1:  # of one name, a getter makes no tuples
        return {names[0]: [row[names[0]] for row in rows]}
    getter: Any = itemgetter  # which is typed for a known number of names
    get: Callable[[dict[str, Any]], tuple[Any, ...]] = getter(*names)
    try:
        values = list(map(get, rows))
    except LookupError:
        return None
    return dict(zip(names, zip(*values, strict=True), strict=True))


def _expect(values: Sequence[Any], kind: type) -> None:
    if set(map(type, values)) != {kind}:
        raise _Misfit


def _gathered(items: list[str], sizes: list[int], size: int) -> list[tuple[str, ...]]:
    """Items by record again, given how many each has."""
    each = iter(items)
    if size:
        return list(zip(*[each] * size, strict=True))
    return [tuple(islice(each, size)) for size in sizes]
