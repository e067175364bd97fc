"""Problems as they are found: all of them counted, the first of each rule kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from bedrock_rft.datasets._report import Problem
from bedrock_rft.datasets._rules import Finding

__all__ = ["Problems"]


class Problems:
    """A bounded collection: a gigabyte of broken lines needs no more memory than ten.

    Attributes:
        counts: by the rule's code.
    """

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` problems of each rule."""
        self._limit = limit
        self._kept: dict[str, list[Problem]] = {}
        self.counts: Counter[str] = Counter()

    def error(self, line: int | None, finding: Finding) -> None:
        """Something the service documents as wrong."""
        self._add("error", finding, [line], 1)

    def warning(self, line: int | None, finding: Finding) -> None:
        """Something that may be wrong."""
        self._add("warning", finding, [line], 1)

    def warnings(self, lines: Sequence[int], finding: Finding) -> None:
        """The same, on several lines."""
        self._add("warning", finding, lines, len(lines))

    def errors(self, lines: Iterable[int], count: int, finding: Finding) -> None:
        """The same error on several lines, of which the first may be all that is known."""
        self._add("error", finding, lines, count)

    def sorted(self, severity: Literal["error", "warning"]) -> tuple[Problem, ...]:
        """What was kept, by line; what concerns the whole file comes first."""
        kept = [problem for alike in self._kept.values() for problem in alike if problem.severity == severity]
        return tuple(sorted(kept, key=lambda problem: (problem.line or 0, problem.column or 0)))

    def _add(
        self, severity: Literal["error", "warning"], finding: Finding, lines: Iterable[int | None], count: int
    ) -> None:
        self.counts[finding.code] += count
        kept = self._kept.setdefault(finding.code, [])
        code, field, what, mend, column = finding
        for line in lines:
            if len(kept) >= self._limit:
                return
            kept.append(Problem(severity, code, what, mend, line, column, field))
