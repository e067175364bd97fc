"""Problems as they are found: all of them counted, the first of each rule kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from bedrock_rft.datasets._rules import Finding

__all__ = ["Problems", "Severity"]

Severity = Literal["error", "warning"]


class Problems:
    """A bounded collection: a gigabyte of broken lines needs no more memory than ten.

    Attributes:
        counts: by the rule's code.
    """

    __slots__ = ("_kept", "_limit", "counts")

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` problems of each rule."""
        self._limit = limit
        self._kept: dict[str, list[tuple[Severity, int | None, Finding]]] = {}
        self.counts: Counter[str] = Counter()

    def error(self, line: int | None, finding: Finding) -> None:
        """Something the service documents as wrong."""
        self._add("error", finding, [line], 1)

    def warning(self, line: int | None, finding: Finding) -> None:
        """Something that may be wrong."""
        self._add("warning", finding, [line], 1)

    def warnings(self, lines: Iterable[int], finding: Finding) -> None:
        """The same, on several lines, in their order."""
        found = list(lines)
        if found:
            self._add("warning", finding, found, len(found))

    def errors(self, lines: Iterable[int], count: int, finding: Finding) -> None:
        """The same error on several lines, of which the first may be all that is known."""
        self._add("error", finding, lines, count)

    def take(self, later: Problems, before: int) -> None:
        """Take what was found further on, where line 1 has `before` lines before it."""
        for code, alike in later._kept.items():
            kept = self._kept.setdefault(code, [])
            for severity, line, finding in alike[: self._limit - len(kept)]:
                kept.append((severity, None if line is None else before + line, finding))
        self.counts.update(later.counts)

    def sorted(self, severity: Severity) -> list[tuple[int | None, Finding]]:
        """What was kept, by line; what concerns the whole file comes first."""
        kept = [(line, finding) for alike in self._kept.values() for level, line, finding in alike if level == severity]
        # Errors were found line by line, and warnings rule by rule: which rule came first depends on how a file is cut.
        if severity == "warning":
            kept.sort(key=lambda one: one[1].code)
        return sorted(kept, key=lambda one: (one[0] or 0, one[1].column or 0))

    def _add(self, severity: Severity, finding: Finding, lines: Iterable[int | None], count: int) -> None:
        self.counts[finding.code] += count
        kept = self._kept.setdefault(finding.code, [])
        for line in lines:
            if len(kept) >= self._limit:
                return
            kept.append((severity, line, finding))
