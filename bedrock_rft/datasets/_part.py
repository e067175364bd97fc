"""What was found in some lines of a file, such that what was found in the lines after them can be added.

A part knows nothing of where its lines stand: its first line is line 1. So a file may be cut between any two lines, and
what is found stays the same.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bedrock_rft.datasets._problems import Problems
from bedrock_rft.datasets._rules import Finding

__all__ = ["Bounds", "Part"]


class Bounds(NamedTuple):
    """What a look has to know.

    Attributes:
        limit: how many problems to keep of each rule.
        longest_prompt: characters above which a prompt is warned of.
        compare: whether prompts are to be compared.
        secrets: whether something that looks like a secret may be there.
    """

    limit: int
    longest_prompt: int
    compare: bool = True
    secrets: bool = True


class Part:
    """What some lines hold.

    Attributes:
        problems: what is wrong with them.
        limit: how many problems of each rule are kept.
        lines: how many there are.
        records: how many are not empty.
        valid: how many are records without an error. All that follows is about these.
        stop: why nothing after these lines is worth a look; None where it is.
        blanks: how many empty lines are at the end: they are a mistake only where something follows them.
        blank: the first of them.
        roles: messages by role.
        references: records by the JSON type of their reference answer.
        first: the first line with each of these types.
        extras: records by further field.
        lengths: the characters of each prompt.
        prompts: a hash of each prompt.
        places: the lines of these, in pieces.
    """

    __slots__ = (
        "blank", "blanks", "extras", "first", "lengths", "limit", "lines", "places", "problems", "prompts", "records",
        "references", "roles", "stop", "valid",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.problems = Problems(limit)
        self.limit = limit
        self.lines = self.records = self.valid = self.blanks = 0
        self.stop: Finding | None = None
        self.blank: list[int] = []
        self.roles: Counter[str] = Counter()
        self.references: Counter[str] = Counter()
        self.first: dict[str, int] = {}
        self.extras: Counter[str] = Counter()
        self.lengths: list[int] = []
        self.prompts = array("q")
        self.places: list[Sequence[int]] = []
