"""Many records at once, as columns: each check is one pass in C over some hundred records, not a loop over one.

A group of records either has the documented shape throughout, and then its columns are here, or it has not, and each
of its records is looked at by the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
        turns: every message of every record.
        contents: the text of each.
        size: how many messages each record has; 0 where that differs.
        shapes: for each record, the roles of its messages.
        kinds: how many records have each of these shapes.
        texts: for each record, the texts of its messages.
    """

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
    except (_Misfit, KeyError, TypeError):  # a field is missing, or a role is of a type that has no hash
        return None


class _Misfit(Exception):  # noqa: N818 - it ends a fast look, and is nobody's error
    """Some record is not of the documented shape."""


def _columns(rows: Sequence[Any]) -> Columns:
    _expect(rows, dict)
    messages: list[Any] = list(map(_MESSAGES, rows))
    _expect(messages, list)
    turns: list[Any] = list(chain.from_iterable(messages))
    _expect(turns, dict)
    roles: list[Any] = list(map(_ROLE, turns))
    contents: list[Any] = list(map(_CONTENT, turns))
    if not ROLES.issuperset(roles):
        raise _Misfit
    if set(map(type, contents)) != {str}:
        contents = list(map(text, contents))
        _expect(contents, str)
    sizes = list(map(len, messages))
    size = sizes[0] if min(sizes) == max(sizes) else 0
    texts = _gathered(contents, sizes, size)
    # Most files have one shape throughout, and then nothing need be gathered.
    places = [set(roles[place::size]) for place in range(size)] if size else []
    if size and all(len(place) == 1 for place in places):
        shape = tuple(roles[:size])
        shapes, kinds = [shape] * len(sizes), {shape: len(sizes)}
    else:
        shapes = _gathered(roles, sizes, size)
        kinds = dict(Counter(shapes))
    if not all("user" in shape for shape in kinds):  # nor is any in a list without messages
        raise _Misfit
    return Columns(turns, contents, size, shapes, kinds, texts)


def _expect(values: Sequence[Any], kind: type) -> None:
    if set(map(type, values)) != {kind}:
        raise _Misfit


def _gathered(items: list[str], sizes: list[int], size: int) -> list[tuple[str, ...]]:
    """Items by record again, given how many each has."""
    each = iter(items)
    if size:
        return list(zip(*[each] * size, strict=True))
    return [tuple(islice(each, size)) for size in sizes]
