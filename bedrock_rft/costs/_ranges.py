"""Ranges of quantities and of money, and functions that format them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bedrock_rft._core.findings import JsonReport
from bedrock_rft.errors import ConfigurationError

_EXACT = 100  # larger amounts of money are written without cents


@dataclass(frozen=True)
class Range(JsonReport):
    """The lowest and the highest value of something that is not known exactly.

    Attributes:
        low: the lowest value.
        high: the highest value.
    """

    low: float
    high: float

    @classmethod
    def of(cls, value: float | tuple[float, float] | Range, name: str) -> Range:
        """Return the range for a number, a pair or a range. Raises `ConfigurationError` for anything else."""
        pair = (value.low, value.high) if isinstance(value, Range) else value
        low, high = pair if isinstance(pair, tuple) else (pair, pair)
        numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (low, high))
        if not numbers or not 0 <= low <= high < math.inf:
            raise ConfigurationError(
                f"{name} must be a number of at least 0, or a pair of such numbers, the lower first."
            )
        return cls(low, high)

    def plus(self, other: Range) -> Range:
        """Return the sum."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, other: Range | float) -> Range:
        """Return the product with a number or a range, neither of them negative."""
        factor = other if isinstance(other, Range) else Range(other, other)
        return Range(self.low * factor.low, self.high * factor.high)

    def __str__(self) -> str:
        low, high = _number(self.low), _number(self.high)
        return low if low == high else f"{low} to {high}"


def add(ranges: Iterable[Range]) -> Range:
    """Return the sum of ranges; 0 if there are none."""
    total = Range(0.0, 0.0)
    for each in ranges:
        total = total.plus(each)
    return total


def bill(hours: Range, amount: float) -> Range:
    """Return the cost of hours: for the exact time, and for whole hours, because the rounding is not published."""
    return Range(hours.low * amount, math.ceil(hours.high) * amount)


def format_money(amount: Range, currency: str) -> str:
    """Write an amount of money, such as `USD 12.40 to 160`."""
    low, high = _money(amount.low), _money(amount.high)
    return f"{currency} {low}" if low == high else f"{currency} {low} to {high}"


def format_hours(hours: Range) -> str:
    """Write hours, such as `0.4 to 5.6 hours`, or less than 0.1 hours in minutes or seconds."""
    units = (("hours", 1, 1, 0.1), ("min", 60, 0, 1), ("s", 3600, 0, 0))
    unit, factor, digits, _ = next(each for each in units if hours.high * each[1] >= each[3])
    low, high = (f"{value * factor:.{digits}f}" for value in (hours.low, hours.high))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _EXACT or value == int(value) else f"{value:.3g}"


def _money(value: float) -> str:
    if 0 < value < 0.01:  # noqa: PLR2004 - one cent
        return "less than 0.01"
    return f"{value:,.0f}" if value >= _EXACT else f"{value:,.2f}"
