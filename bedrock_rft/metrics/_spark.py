"""Draw a curve in one line of text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from bedrock_rft.metrics._series import extent

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-~=+*#"
_NOT_FINITE = "!"


def sparkline(values: Sequence[float], width: int, *, unicode: bool = True) -> str:
    """Return values as bars between their minimum and maximum.

    Args:
        values: the values in order. If there are more than columns, each bar is a mean. NaN and infinity are `!`.
        width: maximum number of columns.
        unicode: use block elements instead of ASCII characters.
    """
    shades = _BARS if unicode else _PLAIN
    finite = [value for value in values if math.isfinite(value)]
    low, high = extent(finite) or (0.0, 0.0)
    span = high / 2 - low / 2  # halves, because the range of very large values overflows
    count = min(len(values), width)
    edges = [len(values) * index // count for index in range(count + 1)] if count else []
    bars: list[str] = []
    for start, stop in itertools.pairwise(edges):
        mean = sum(value / (stop - start) for value in values[start:stop])
        if not math.isfinite(mean):
            bars.append(_NOT_FINITE)
        elif not span:
            bars.append(shades[len(shades) // 2 - 1])
        else:
            height = int((mean / 2 - low / 2) / span * len(shades))
            bars.append(shades[min(len(shades) - 1, max(0, height))])
    return "".join(bars)
