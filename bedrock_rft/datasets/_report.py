"""What was found in a file: problems, each with its place and its remedy, and what the records look like."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.errors import DatasetError

__all__ = ["Lengths", "Problem", "Report"]

_LINES_SHOWN = 3
_WIDTH = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or may be.

    Attributes:
        severity: `error` where the service documents a rule, `warning` where it is unknown or disputed.
        code: names the rule, and stays as it is from version to version.
        what: what is wrong.
        mend: what to do about it.
        line: from 1; None where it is about the whole file.
        column: the byte within the line, from 1, where known.
        field: such as `messages[0].role`.
    """

    severity: Literal["error", "warning"]
    code: str
    what: str
    mend: str
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
        place = self.place
        said = f"{place}: {self.what}" if place else self.what
        return sanitize_line(f"{said[:1].upper()}{said[1:]}. {self.mend}.", 400)


@dataclass(frozen=True)
class Lengths:
    """How long the prompts are, in characters, over all messages of a record.

    Attributes:
        least: of the shortest.
        median: half of the prompts are no longer. Exact, unless a file has more than 16,384 different lengths; then it
            may be up to 1 % below.
        p95: 19 of 20 are no longer, as exactly.
        greatest: of the longest.
        mean: their mean.
    """

    least: int = 0
    median: int = 0
    p95: int = 0
    greatest: int = 0
    mean: float = 0.0


@dataclass(frozen=True)
class Report:
    """What `validate` found. Print it, or let a notebook show it.

    Attributes:
        name: of the file.
        size: bytes.
        sha256: hex digest of the content.
        records: lines that are not empty.
        valid: records without an error.
        errors: what the service documents as wrong, in the order of lines, up to a number for each rule.
        warnings: what may be wrong, likewise.
        counts: how often each rule was broken, by its code; all of them are counted.
        roles: messages by role, over the valid records, as all that follows.
        prompt_lengths: in characters.
        reference_types: records by the JSON type of their `reference_answer`, `missing` among them.
        duplicate_prompts: records whose messages are those of an earlier record.
        compared: records among which duplicates were looked for: the first 131,072, six times what a job takes.
        extra_fields: records by each field that is neither `messages` nor `reference_answer`; what stands beside role
            and content in a message is `messages[].…`.
        rules: the bounds it was held to.
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
    rules: Rules

    @property
    def ok(self) -> bool:
        """Whether there is no error. There may be warnings."""
        return not self.errors

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Errors, then warnings."""
        return self.errors + self.warnings

    @property
    def duplicate_share(self) -> float:
        """Duplicates among the records compared, from 0 to 1."""
        return self.duplicate_prompts / self.compared if self.compared else 0.0

    def raise_for_errors(self) -> Report:
        """Return the report itself where it has no error.

        Raises:
            DatasetError: it has; `.problems` has every error that was kept, a sentence each.
        """
        if self.ok:
            return self
        total = sum(self.counts[code] for code in {problem.code for problem in self.errors})
        more = f" ({total - 1:,} more: see .problems)" if total > 1 else ""
        # A bad line is often why there are too few good ones.
        worst = next((problem for problem in self.errors if problem.line is not None), self.errors[0])
        raise DatasetError(
            f"{self.name}: {worst}{more}",
            problems=[str(problem) for problem in self.errors],
            path=self.name,
            line=worst.line,
            column=worst.column,
            field=worst.field,
        )

    def __str__(self) -> str:
        return "\n".join([*self._head(), *self._listed("error", self.errors), *self._listed("warning", self.warnings)])

    def _head(self) -> list[str]:
        records = f"{self.records:,} record{'' if self.records == 1 else 's'}"
        facts = [(name, value) for name, value in self._facts() if value]
        wide = max((len(name) for name, _ in facts), default=0)
        lines = [_clip(f"{sanitize_line(self.name, 40)}  {records}, {_bytes(self.size)}  {self.verdict}")]
        lines.append(f"  sha256 {self.sha256}")  # whole, for which the column of the others has no room
        return lines + [_clip(f"  {name:<{wide}}  {sanitize_line(value)}") for name, value in facts]

    @property
    def verdict(self) -> str:
        """Whether it will do, in a few words."""
        if self.ok:
            warned = sum(self.counts[code] for code in {problem.code for problem in self.warnings})
            return f"ok, {warned:,} warning{'' if warned == 1 else 's'}" if warned else "ok"
        broken = sum(self.counts[code] for code in {problem.code for problem in self.errors})
        return f"{broken:,} ERROR{'' if broken == 1 else 'S'}"

    def _facts(self) -> list[tuple[str, str]]:
        lengths, compared = self.prompt_lengths, self.compared
        prompts = (
            f"{lengths.least:,} to {lengths.greatest:,} characters, median {lengths.median:,}, 95 % {lengths.p95:,}"
            if self.valid
            else ""
        )
        among = f"{'the first ' if compared < self.valid else ''}{compared:,}"
        duplicates = f"{self.duplicate_prompts:,} of {among} ({self.duplicate_share:.1%})" if compared else ""
        return [
            ("roles", _listing(self.roles)),
            ("prompts", prompts),
            ("duplicate prompts", duplicates),
            ("reference_answer", _listing(self.reference_types)),
            ("extra fields", _listing(self.extra_fields)),
        ]

    def _listed(self, title: str, problems: Sequence[Problem]) -> list[str]:
        found: dict[str, list[Problem]] = {}
        for problem in problems:
            found.setdefault(problem.code, []).append(problem)
        lines: list[str] = []
        for code, alike in found.items():
            for problem in alike[:_LINES_SHOWN]:
                lines += _wrap(f"{title}: {problem}")
            if (more := self.counts[code] - min(len(alike), _LINES_SHOWN)) > 0:
                lines.append(f"      … and {more:,} more like this")
        return lines

    def _repr_html_(self) -> str:
        facts = f"<tr><th align='left'>sha256</th><td align='left'>{self.sha256}</td></tr>" + "".join(
            f"<tr><th align='left'>{_escaped(name)}</th><td align='left'>{_escaped(value)}</td></tr>"
            for name, value in self._facts()
            if value
        )
        problems = "".join(
            f"<li><b>{problem.severity}</b> {_escaped(str(problem))}</li>" for problem in self._first_of_each()
        )
        return (
            f"<div><p><b>{_escaped(self.name)}</b>: {self.records:,} records, {_bytes(self.size)}, "
            f"<b>{_escaped(self.verdict)}</b></p><table>{facts}</table><ul>{problems}</ul></div>"
        )

    def _first_of_each(self) -> list[Problem]:
        seen: dict[str, int] = {}
        kept: list[Problem] = []
        for problem in self.problems:
            seen[problem.code] = seen.get(problem.code, 0) + 1
            if seen[problem.code] <= _LINES_SHOWN:
                kept.append(problem)
        return kept


def _escaped(text: str) -> str:
    return html.escape(sanitize_line(text))


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _clip(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def _wrap(line: str) -> list[str]:
    import textwrap

    return textwrap.wrap(line, _WIDTH, initial_indent="  ", subsequent_indent="      ")


def _bytes(size: int) -> str:
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            break
        amount, unit = amount / 1000, larger
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
