"""Graders of an answer's length and form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedrock_rft.rewards._runtime.graders.extraction import boxed, strip_thoughts
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout

_OLD_NAMES = {"most": "max_length", "room": "tolerance", "least": "min_length"}


@dataclass(frozen=True, eq=False, repr=False)
class Length(Leaf):
    """Score 1 up to a length, then fall linearly to 0 within the tolerance, so that there is no cliff.

    The length includes the thoughts of a reasoning model.

    Attributes:
        max_length: the largest length that scores 1, in characters or words.
        tolerance: the excess over `max_length` at which the score reaches 0. If 0, any excess scores 0.
        min_length: a shorter answer scores 0.
        words: count words instead of characters.
        name: the name in `metrics_list`.

    Raises:
        ValueError: the lengths contradict each other.
        TypeError: an argument is unknown, or uses its old name from version 0.2.

    Source:
        The soft overlong punishment of DAPO (Yu et al., 2025), shifted to the range from 0 to 1.
    """

    max_length: int
    tolerance: int = 0
    min_length: int = 1
    words: bool = False
    name: str = "length"

    if not TYPE_CHECKING:

        def __new__(cls, *_: Any, **named: Any) -> Length:  # noqa: PYI034 - typing has Self from Python 3.11 on
            """Raise `TypeError` for unknown arguments. The error names the new name if it was renamed after 0.2."""
            old = next((name for name in named if name not in cls.__annotations__), None)
            if old is not None:
                hint = f"; it was renamed to {_OLD_NAMES[old]!r}" if old in _OLD_NAMES else ""
                raise TypeError(f"Length() got an unexpected argument {old!r}{hint}")
            return super().__new__(cls)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length < 1 or self.tolerance < 0 or not 0 <= self.min_length <= self.max_length:
            raise ValueError(
                f"Length() needs max_length >= 1, tolerance >= 0 and 0 <= min_length <= max_length, but got {self!r}"
            )

    def grade(self, rollout: Rollout) -> float:
        text = rollout.answer.strip()
        length = len(text.split()) if self.words else len(text)
        if length < self.min_length:
            return 0.0
        excess = length - self.max_length
        if excess <= 0:
            return 1.0
        return max(0.0, 1 - excess / self.tolerance) if self.tolerance else 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Format(Leaf):
    r"""Score the share of the required elements that the answer has.

    Each tag has to occur once, closed, in the given order and not nested. A repeated tag counts as missing, because
    models learn to repeat tags if that pays. The thoughts of a reasoning model count for `tags` only: a `\boxed{…}`
    or a marker has to stand after the last `</think>`.

    Attributes:
        tags: tag names such as `("think", "answer")` for `<think>…</think><answer>…</answer>`.
        boxed: require a `\boxed{…}`.
        marker: require exactly one line that begins with this text, such as `####`.
        name: the name in `metrics_list`.
    """

    tags: tuple[str, ...] = ()
    boxed: bool = False
    marker: str | None = None
    name: str = "format"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tags", tuple(self.tags))
        if any(not re.fullmatch(r"[A-Za-z][\w-]*", tag) for tag in self.tags):
            raise ValueError(f"tags must be names without brackets, such as 'think', not {self.tags!r}")
        if not (self.tags or self.boxed or self.marker):
            raise ValueError("Format() needs at least one of tags, boxed and marker")

    def grade(self, rollout: Rollout) -> float:
        checks = self._check_tags(rollout.answer)
        answer = strip_thoughts(rollout.answer)
        if self.boxed:
            checks.append(boxed(answer) not in (None, ""))
        if self.marker:
            # Text after the first </think> counts as well, so that repeating the whole answer does not pay.
            after_first = rollout.answer.partition("</think>")[2] or rollout.answer
            checks.append(_count_lines(answer, self.marker) == 1 == _count_lines(after_first, self.marker))
        return sum(checks) / len(checks)

    def _check_tags(self, text: str) -> list[bool]:
        """Return for each tag whether it occurs as required."""
        results: list[bool] = []
        end = 0
        for tag in self.tags:
            opening, closing = f"<{tag}>", f"</{tag}>"
            start, stop = text.find(opening), text.find(closing)
            once = text.count(opening) == 1 and text.count(closing) == 1
            valid = once and end <= start and start + len(opening) <= stop
            results.append(valid)
            end = stop + len(closing) if valid else end
        return results


def _count_lines(text: str, start: str) -> int:
    return sum(line.lstrip().startswith(start) for line in text.split("\n"))
