"""Problems of a dataset, and the bounded log that collects them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._rules import Violation

__all__ = ["Problem", "ProblemLog", "Severity"]

Severity = Literal["error", "warning"]

_MAX_CHARS = 400


@dataclass(frozen=True)
class Problem:
    """One error or warning.

    Attributes:
        severity: `error` if it breaks a documented rule, `warning` if the rule is unknown or disputed.
        code: identifies the rule; stable between versions.
        summary: the problem.
        remedy: the change that fixes it.
        line: the line, from 1; None if the whole file is concerned.
        column: the byte within the line, from 1, if known.
        field: the path of the field, such as `messages[0].role`.
    """

    severity: Severity
    code: str
    summary: str
    remedy: str
    line: int | None = None
    column: int | None = None
    field: str | None = None

    @property
    def place(self) -> str:
        """The line, the column and the field, as far as they are known."""
        known = [
            f"line {self.line}" if self.line is not None else "",
            f"column {self.column}" if self.column is not None else "",
            self.field or "",
        ]
        return ", ".join(part for part in known if part)

    def __str__(self) -> str:
        text = f"{self.place}: {self.summary}" if self.place else self.summary
        return sanitize_line(f"{text[:1].upper()}{text[1:]}. {self.remedy}.", _MAX_CHARS)

    def __repr__(self) -> str:
        return f"<Problem {self.severity} {self.code}: {sanitize_line(self.place or self.summary, 80)}>"


class ProblemLog:
    """The problems of a file. All are counted, and the first of each rule are kept, so memory is bounded.

    Attributes:
        counts: the number of problems by code.
    """

    def __init__(self, max_problems: int) -> None:
        """Keep at most `max_problems` of each rule."""
        self.counts: Counter[str] = Counter()
        self._max_problems = max_problems
        self._problems: list[Problem] = []

    def error(self, line: int | None, violation: Violation) -> None:
        """Log an error."""
        self._add("error", line, violation)

    def warning(self, line: int | None, violation: Violation) -> None:
        """Log a warning."""
        self._add("warning", line, violation)

    def sorted(self, severity: Severity) -> tuple[Problem, ...]:
        """Return the problems of a severity by line; those of the whole file come first."""
        found = [problem for problem in self._problems if problem.severity == severity]
        # Warnings of one line come from several checks. Errors are already in the order of the fields.
        by_code = severity == "warning"
        return tuple(sorted(found, key=lambda one: (one.line or 0, one.column or 0, one.code if by_code else "")))

    def _add(self, severity: Severity, line: int | None, violation: Violation) -> None:
        code, field, summary, remedy, column = violation
        self.counts[code] += 1
        if self.counts[code] <= self._max_problems:
            self._problems.append(Problem(severity, code, summary, remedy, line, column, field))
