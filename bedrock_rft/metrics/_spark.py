"""Draw a curve in one line of text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from bedrock_rft.metrics._series import extent

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-~=+*#"
_GONE = "!"


def sparkline(values: Sequence[float], width: int, *, unicode: bool = True) -> str:
    """Return values as bars between their minimum and maximum.

    Args:
        values: in order. Where there are more than fit, each bar is the mean of its share; NaN and the infinities show
            as `!`.
        width: the most columns.
        unicode: block elements; else characters that every terminal has.
    """
    shades = _BARS if unicode else _PLAIN
    finite = [value for value in values if math.isfinite(value)]
    low, high = extent(finite) or (0.0, 0.0)
    span = high / 2 - low / 2  # halves, because the range of very large values overflows
    bars: list[str] = []
    for share in _shares(values, width):
        if not all(map(math.isfinite, share)):
            bars.append(_GONE)
        elif not span:
            bars.append(shades[len(shades) // 2 - 1])
        else:
            place = (sum(value / len(share) for value in share) / 2 - low / 2) / span
            bars.append(shades[min(len(shades) - 1, max(0, int(place * len(shades))))])
    return "".join(bars)


def _shares(values: Sequence[float], width: int) -> list[Sequence[float]]:
    count = min(len(values), width)
    edges = [len(values) * place // count for place in range(count + 1)] if count else [0]
    return [values[start:stop] for start, stop in itertools.pairwise(edges)]
