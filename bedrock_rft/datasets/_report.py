"""The report of a check: the limits, the problems of a file, and statistics of its records."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from bedrock_rft._core.findings import clip, fact_lines, summary_html, wrap, write_text
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.errors import ConfigurationError, DatasetError

Severity = Literal["error", "warning"]

_MAX_PROBLEM_CHARS = 400
_LINES_SHOWN = 3
_PROBLEMS_IN_ERROR = 5


@dataclass(frozen=True)
class Limits(ShortRepr):
    """Limits for a dataset. The service documents `min_records` and `max_records` for training files.

    Attributes:
        min_records: a file with fewer records has an error. Use `Limits(min_records=1)` for a validation file.
        max_records: a file with more records has an error.
        warn_records: a file with more records has a warning, because an AWS blog post allows fewer than the
            documentation.
        warn_prompt_chars: a longer prompt, in characters, has a warning. At about four characters a token, 120,000
            characters are close to 32,768 tokens.

    Raises:
        ConfigurationError: a limit is not an integer from 0, or `min_records` exceeds `max_records`.
    """

    min_records: int = 100
    max_records: int = 20_000
    warn_records: int = 10_000
    warn_prompt_chars: int = 120_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or value < 0:
                raise ConfigurationError(f"Limits({name}={value!r}) is not valid. Give an integer from 0.")
        if self.min_records > self.max_records:
            raise ConfigurationError(
                f"min_records is {self.min_records:,}, but at most {self.max_records:,} records are allowed. "
                "The lowest number of records must not exceed the highest."
            )


@dataclass(frozen=True)
class Problem:
    """One error or warning.

    Attributes:
        severity: `error` for the breach of a documented rule, `warning` if the rule is unknown or disputed.
        code: the identifier of the rule, which stays the same between versions.
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
        parts = (("line ", self.line), ("column ", self.column), ("", self.field))
        return ", ".join(f"{name}{value}" for name, value in parts if value)

    def __str__(self) -> str:
        place = self.place if self.line is not None or not self.place else f"field {self.place}"
        text = f"{place}: {self.summary}" if place else self.summary
        return sanitize_line(f"{text[:1].upper()}{text[1:]}. {self.remedy}.", _MAX_PROBLEM_CHARS)

    def __repr__(self) -> str:
        return f"<Problem {self.severity} {self.code}: {sanitize_line(self.place or self.summary, 80)}>"


class ProblemLog:
    """The problems of a file.

    Every problem is counted by its code, but only the first `max_problems` of each code are kept, so memory is bounded.
    """

    def __init__(self, max_problems: int) -> None:
        """Keep at most `max_problems` problems of each code."""
        self.counts: Counter[str] = Counter()
        self._max_problems = max_problems
        self._problems: list[Problem] = []

    def add(self, line: int | None, problem: Problem) -> None:
        """Log a problem of a line, or of the whole file if `line` is None."""
        self.counts[problem.code] += 1
        if self.counts[problem.code] <= self._max_problems:
            self._problems.append(replace(problem, line=line))

    def discard(self, code: str, lines: range) -> None:
        """Remove the problems with a code from the lines, each of which has one such problem."""
        self.counts[code] -= len(lines)
        self.counts += Counter[str]()  # without zeros
        self._problems = [problem for problem in self._problems if problem.code != code or problem.line not in lines]

    def with_severity(self, severity: Severity) -> tuple[Problem, ...]:
        """Return the problems of a severity by line; problems of the whole file come first."""
        problems = [problem for problem in self._problems if problem.severity == severity]
        # Sort the warnings of a line by code, because several checks log them. Errors are in the order of the fields.
        by_code = severity == "warning"
        return tuple(sorted(problems, key=lambda one: (one.line or 0, one.column or 0, one.code if by_code else "")))


@dataclass(frozen=True)
class Lengths(ShortRepr):
    """Lengths of prompts in characters, over all messages of a record.

    Attributes:
        least: length of the shortest prompt.
        median: half of the prompts are not longer.
        p95: 95 % of the prompts are not longer.
        greatest: length of the longest prompt.
        mean: mean length.
    """

    least: int = 0
    median: int = 0
    p95: int = 0
    greatest: int = 0
    mean: float = 0.0


@dataclass(frozen=True)
class Report:
    """The result of `validate`. Print it, or display it in a notebook.

    Attributes:
        name: name of the file.
        size: size in bytes.
        sha256: hex digest of the content.
        records: number of lines that are not empty.
        valid: number of records that follow the documented format. The statistics below are over these.
        errors: violations of documented rules by line, at most `limit` for each rule.
        warnings: possible problems by line, at most `limit` for each rule.
        counts: number of problems by code, including those beyond `limit`.
        roles: messages by role.
        prompt_lengths: lengths of the prompts of the first `compared` records, in characters.
        reference_types: records by the JSON type of their `reference_answer`, `missing` included.
        duplicate_prompts: records with the same messages as an earlier record.
        compared: number of records that were searched for duplicates: at most the first 40,000, twice as many as a
            job accepts.
        extra_fields: records by field other than `messages` and `reference_answer`. Further fields of messages are
            listed as `messages[].NAME`.
        limits: the limits that the file was checked against.
    """

    name: str
    size: int
    sha256: str
    records: int
    valid: int
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    counts: Mapping[str, int]
    roles: Mapping[str, int]
    prompt_lengths: Lengths
    reference_types: Mapping[str, int]
    duplicate_prompts: int
    compared: int
    extra_fields: Mapping[str, int]
    limits: Limits

    @property
    def ok(self) -> bool:
        """True if there is no error. There may be warnings."""
        return not self.errors

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Errors, followed by warnings."""
        return self.errors + self.warnings

    @property
    def duplicate_share(self) -> float:
        """Share of duplicates among the compared records, from 0 to 1."""
        return self.duplicate_prompts / self.compared if self.compared else 0.0

    def raise_for_errors(self) -> Report:
        """Return the report itself if it has no error.

        Raises:
            DatasetError: there are errors. The message shows the first five by line, `.problems` has every error that
                was kept, one sentence each.
        """
        if self.ok:
            return self
        total = self._count_problems(self.errors)
        # An invalid line is often the reason for a file with too few records, so lines come first.
        ordered = sorted(self.errors, key=lambda problem: problem.line is None)
        first = ordered[0]
        name = sanitize_line(self.name, 100)
        message = f"{name}: {first}"
        if total > 1:
            first_errors = ordered[:_PROBLEMS_IN_ERROR]
            lines = [f"{name} has {total:,} errors:", *map(str, first_errors)]
            if total > len(first_errors):
                lines.append(f"… and {total - len(first_errors):,} more: see .problems")
            message = "\n  ".join(lines)
        raise DatasetError(
            message,
            problems=[str(problem) for problem in self.errors],
            path=self.name,
            line=first.line,
            column=first.column,
            field=first.field,
        )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to `path` if given."""
        return write_text(json.dumps({**asdict(self), "ok": self.ok}, indent=2, ensure_ascii=False), path)

    def __repr__(self) -> str:
        return f"<Report {sanitize_line(self.name, 40)}: {self.records:,} records, {self.verdict}>"

    def __str__(self) -> str:
        records = f"{self.records:,} record{'' if self.records == 1 else 's'}"
        lines = [clip(f"{sanitize_line(self.name, 40)}  {records}, {_format_size(self.size)}  {self.verdict}")]
        lines.append(f"  sha256 {self.sha256}")  # never clipped
        lines += fact_lines(self._facts())
        for problems, more in self._problems_by_code():
            for problem in problems:
                lines += wrap(f"{problem.severity}: {problem}")
            if more:
                lines.append(f"      … and {more:,} more like this")
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """The number of errors or warnings in a few words."""
        if self.ok:
            warning_count = self._count_problems(self.warnings)
            return f"ok, {warning_count:,} warning{'' if warning_count == 1 else 's'}" if warning_count else "ok"
        errors = self._count_problems(self.errors)
        return f"{errors:,} ERROR{'' if errors == 1 else 'S'}"

    def _count_problems(self, problems: Sequence[Problem]) -> int:
        return sum(self.counts[code] for code in {problem.code for problem in problems})

    def _facts(self) -> list[tuple[str, str]]:
        lengths, compared = self.prompt_lengths, self.compared
        prompts = (
            f"{lengths.least:,} to {lengths.greatest:,} characters, median {lengths.median:,}, 95 % {lengths.p95:,}"
            if self.valid
            else ""
        )
        compared_text = f"{'the first ' if compared < self.valid else ''}{compared:,}"
        duplicates = f"{self.duplicate_prompts:,} of {compared_text} ({self.duplicate_share:.1%})" if compared else ""
        facts = [
            ("roles", _format_counts(self.roles)),
            ("prompts", prompts),
            ("duplicate prompts", duplicates),
            ("reference_answer", _format_counts(self.reference_types)),
            ("extra fields", _format_counts(self.extra_fields)),
        ]
        return [(name, value) for name, value in facts if value]

    def _problems_by_code(self) -> Iterator[tuple[Sequence[Problem], int]]:
        """Yield the first problems of each rule, to show them, and the number of its other problems."""
        by_code: dict[str, list[Problem]] = {}
        for problem in self.problems:
            by_code.setdefault(problem.code, []).append(problem)
        for code, problems in by_code.items():
            first_problems = problems[:_LINES_SHOWN]
            yield first_problems, self.counts[code] - len(first_problems)

    def _repr_html_(self) -> str:
        verdict = f"{self.records:,} records, {_format_size(self.size)}, {self.verdict}"
        problems = [(problem.severity, str(problem)) for shown, _ in self._problems_by_code() for problem in shown]
        return summary_html(self.name, verdict, [("sha256", self.sha256), *self._facts()], problems)


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _format_size(size: int) -> str:
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            break
        amount, unit = amount / 1000, larger
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
