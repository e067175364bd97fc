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
_TURN = 2  # fields: role and content


class Columns(NamedTuple):
    """What records of the documented shape say.

    Attributes:
        size: how many records there are.
        others: the values of each field but `messages`, where every record has the same fields; None otherwise.
        rows: the records, if `others` is None or there are `turns`.
        turns: every message of every record, if one has further fields than its role and its content; none otherwise.
        contents: every text of a message, at least once.
        lengths: for each record, the characters of its messages.
        shapes: for each record, the roles of its messages.
        kinds: how many records have each of these shapes.
        texts: for each record, the texts of its messages.
    """

    size: int
    others: Mapping[str, Sequence[Any]] | None
    rows: Sequence[dict[str, Any]]
    turns: Sequence[dict[str, Any]]
    contents: list[str]
    lengths: list[int]
    shapes: list[tuple[str, ...]]
    kinds: dict[tuple[str, ...], int]
    texts: list[tuple[str, ...]]


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
    texts = _gathered(contents, sizes, size)
    return Columns(
        size=len(rows),
        others=fields and {name: values for name, values in fields.items() if name != "messages"},
        rows=rows,
        turns=turns if sum(map(len, turns)) != _TURN * len(turns) else (),
        contents=contents,
        lengths=_lengths(contents, size) if size else [sum(map(len, some)) for some in texts],
        shapes=shapes,
        kinds=kinds,
        texts=texts,
    )


def _lengths(contents: list[str], size: int) -> list[int]:
    """The characters of each record, of so many messages."""
    every = list(map(len, contents))
    total = every[::size]
    for place in range(1, size):
        total = list(map(add, total, every[place::size]))
    return total


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
