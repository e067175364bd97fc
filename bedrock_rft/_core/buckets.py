"""Group the values of a record field: equal values together, or many numbers and dates in quarters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

_QUARTERS = 4
_MAX_DISTINCT = 12
_MAX_LABEL = 60
_YEAR_2000, _YEAR_2100 = 946_684_800, 4_102_444_800  # Unix time

T = TypeVar("T")
_Bucket = tuple[int, float, str]
"""A group's sort key and label: numbers and ranges first, then text, then missing values."""


def group_by_value(items: Iterable[T], value_of: Callable[[T], Any]) -> list[tuple[str, list[T]]]:
    """Return groups of items with equal or similar values, ordered by value, each group with its label."""
    pairs = [(value_of(item), item) for item in items]
    bucket = _bucket_function([value for value, _ in pairs])
    groups: dict[_Bucket, list[T]] = {}
    for value, item in pairs:
        groups.setdefault(bucket(value), []).append(item)
    return [(key[-1], groups[key]) for key in sorted(groups)]


def value_text(value: Any) -> str:
    """Return message content, or any JSON value, as text."""
    if isinstance(value, list):
        parts = (cast("dict[str, Any]", part) for part in cast("Sequence[Any]", value) if isinstance(part, dict))
        return "".join(str(part.get("text", "")) for part in parts)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bucket_function(values: Sequence[Any]) -> Callable[[Any], _Bucket]:
    present = [value for value in values if value is not None]
    to_number: Callable[[Any], float | None] = _as_number
    to_text: Callable[[float], str] = _format_number
    if present and all(_parse_date(value) is not None for value in present):
        to_number, to_text = _parse_date, _format_date
    elif scale := _epoch_scale([number for number in map(_as_number, present) if number is not None]):
        to_text = lambda number: _format_date(number / scale)  # noqa: E731 - one of several
    numbers = sorted(number for number in map(to_number, present) if number is not None)
    if len(set(numbers)) <= _MAX_DISTINCT:
        cuts, edges = [], []
    else:
        cuts = [numbers[len(numbers) * quarter // _QUARTERS] for quarter in range(1, _QUARTERS)]
        edges = [numbers[0], *cuts, numbers[-1]]

    def bucket(value: Any) -> _Bucket:
        if value is None:
            return 2, 0.0, "missing"
        number = to_number(value)
        if edges:
            if number is None:
                return 2, 1.0, "not a number"
            place = sum(number >= cut for cut in cuts)
            return 0, float(place), f"{to_text(edges[place])} to {to_text(edges[place + 1])}"
        if number is None or isinstance(value, str):
            return 1, 0.0, value_text(value)[:_MAX_LABEL]
        return 0, number, to_text(number)

    return bucket


def _as_number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _parse_date(value: Any) -> float | None:
    if not isinstance(value, str) or "-" not in value:
        return None
    try:
        parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


def _epoch_scale(numbers: Sequence[float]) -> float | None:
    """Return the units in a second if all numbers are Unix times of the years 2000 to 2099, else None."""
    for scale in (1.0, 1e3, 1e6, 1e9):
        if numbers and all(_YEAR_2000 <= number / scale < _YEAR_2100 for number in numbers):
            return scale
    return None


def _format_date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"


def _format_number(number: float) -> str:
    return f"{int(number)}" if number == int(number) else f"{number:.6g}"
