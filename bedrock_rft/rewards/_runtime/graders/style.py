"""Graders of how an answer is written: how long it is, and whether it has the form that was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bedrock_rft.rewards._runtime.graders.extraction import boxed
from bedrock_rft.rewards._runtime.reward import Leaf, check_name
from bedrock_rft.rewards._runtime.rollout import Rollout

__all__ = ["Format", "Length"]


@dataclass(frozen=True, eq=False, repr=False)
class Length(Leaf):
    """1 up to a length, falling evenly to 0 where it is `room` longer: no cliff for a model to fall off.

    Attributes:
        most: characters, or words, that cost nothing.
        room: how many more until nothing is left; 0 for a cliff.
        least: an answer that is shorter gets 0.
        words: count words instead of characters.
        name: in `metrics_list`.

    Source:
        The soft overlong punishment of DAPO (Yu et al., 2025), moved to 0…1.
    """

    most: int
    room: int = 0
    least: int = 1
    words: bool = False
    name: str = "length"

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.most < 1 or self.room < 0 or not 0 <= self.least <= self.most:
            raise ValueError("most is at least 1, room not negative, and least not above most")

    def grade(self, rollout: Rollout) -> float:
        text = rollout.answer.strip()
        length = len(text.split()) if self.words else len(text)
        if length < self.least:
            return 0.0
        over = length - self.most
        if over <= 0:
            return 1.0
        return max(0.0, 1 - over / self.room) if self.room else 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Format(Leaf):
    r"""The share of what was asked for that the answer has.

    Tags have to stand once each, in order, closed, and not inside one another: a tag that is repeated counts as absent,
    since repeating it is how a model farms such a reward.

    Attributes:
        tags: such as `("think", "answer")` for `<think>…</think><answer>…</answer>`.
        boxed: ask for a `\boxed{…}`.
        marker: ask for a line that begins with it, such as `####`.
        name: in `metrics_list`.
    """

    tags: tuple[str, ...] = ()
    boxed: bool = False
    marker: str | None = None
    name: str = "format"

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "tags", tuple(self.tags))
        if any(not re.fullmatch(r"[A-Za-z][\w-]*", tag) for tag in self.tags):
            raise ValueError("tags are names without their brackets, such as 'think'")
        if not (self.tags or self.boxed or self.marker):
            raise ValueError("say what the answer has to have: tags, boxed or marker")

    def grade(self, rollout: Rollout) -> float:
        text = rollout.answer
        kept = self._tags(text)
        if self.boxed:
            kept.append(boxed(text) not in (None, ""))
        if self.marker:
            kept.append(sum(line.lstrip().startswith(self.marker) for line in text.split("\n")) == 1)
        return sum(kept) / len(kept)

    def _tags(self, text: str) -> list[bool]:
        kept: list[bool] = []
        end = 0
        for tag in self.tags:
            opening, closing = f"<{tag}>", f"</{tag}>"
            start, stop = text.find(opening), text.find(closing)
            once = text.count(opening) == 1 and text.count(closing) == 1
            good = once and end <= start and start + len(opening) <= stop
            kept.append(good)
            end = stop + len(closing) if good else end
        return kept
