"""Findings: results of checks, rendered for terminals of 80 columns, notebooks and JSON."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from typing_extensions import Self

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft._core.redaction import redact_account
from bedrock_rft._core.text import ShortRepr, sanitize_line

WIDTH = 80
"""Columns of a terminal line."""

_PAGE_STYLE = ":root{color-scheme:light dark}body{margin:2rem auto;padding:0 1rem;max-width:62rem}"

Severity = Literal["error", "warning", "unknown", "ok"]
"""`unknown` means that a check could not run; it is never a guess."""

_ORDER: tuple[Severity, ...] = ("error", "warning", "unknown", "ok")

LEVEL_COLOURS = {"error": "#d83a36", "warning": "#a86600", "ok": "#24863d"}
"""Colours of text with a contrast of at least 4 to 1 on white and on black."""

_RENAMED = {"what": "summary", "why": "reason", "mend": "remedy"}


@dataclass(frozen=True)
class Finding(ShortRepr):
    """One result of a check.

    Attributes:
        level: the severity: `error` if a job would fail or learn nothing, `warning` if it might, `unknown` if the check
            could not run, `ok` if nothing is wrong.
        code: the identifier of the check, which stays the same between versions.
        summary: one sentence without its full stop.
        reason: why the result matters, or how it was obtained.
        remedy: the one command, change or policy statement that fixes the problem.
    """

    level: Severity
    code: str
    summary: str
    reason: str = ""
    remedy: str = ""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name in _RENAMED:
                raise AttributeError(f"Finding.{name} was renamed to Finding.{_RENAMED[name]}")
            raise AttributeError(f"'Finding' object has no attribute {name!r}")

    def __str__(self) -> str:
        parts = (self.summary, _capitalize(self.reason), self.remedy)
        return " ".join(f"{sanitize_line(part)}{'' if part[-1:] in '.!?`}' else '.'}" for part in parts if part)


class JsonReport(ShortRepr):
    """Base class of dataclasses that are written as JSON."""

    _derived: ClassVar[tuple[str, ...]] = ()
    """Names of the properties that `to_dict` adds to the fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON values."""
        return {name: _json_value(getattr(self, name)) for name in (*vars(self), *self._derived)}

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return JSON text, and write it to `path` if given. Raises `DatasetError` if the file cannot be written."""
        return write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False), path)


def _json_value(value: Any) -> Any:
    if isinstance(value, JsonReport):
        return value.to_dict()
    return [_json_value(one) for one in cast("Any", value)] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Findings(JsonReport):
    """A report: the results of several checks. Print it, or display it in a notebook.

    Attributes:
        title: the object that was checked.
        findings: all results, the most severe first.
    """

    title: str
    findings: tuple[Finding, ...]
    _derived: ClassVar[tuple[str, ...]] = ("verdict", "ok")

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.findings, key=lambda finding: _ORDER.index(finding.level)))
        object.__setattr__(self, "findings", ordered)

    @property
    def ok(self) -> bool:
        """Return True if there is no error. There may be warnings and unknown results."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the errors."""
        return self._with_level("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Return the warnings."""
        return self._with_level("warning")

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """Return the checks that could not run."""
        return self._with_level("unknown")

    @property
    def verdict(self) -> str:
        """Return a summary in a few words, such as `1 ERROR, 2 warnings`."""
        counts = [
            _format_count(len(self.errors), "ERROR"),
            _format_count(len(self.warnings), "warning"),
            _format_count(len(self.unknown), "check") + " could not run" if self.unknown else "",
        ]
        return ", ".join(part for part in counts if part) or "ok"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values to show between the title and the findings."""
        return ()

    def redacted(self) -> Self:
        """Return a copy without account ids, names of resources, key ids and addresses, to publish it.

        Equal values have equal replacements, such as `ACCOUNT-1`. A name is recognised only if it is also part
        of an ARN.
        """
        texts = {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), str)}
        parts = [*texts.values(), *(text for one in self.findings for text in (one.summary, one.reason, one.remedy))]
        changed = iter(redact_account(parts))
        own = {name: next(changed) for name in texts}
        findings = [
            replace(finding, summary=next(changed), reason=next(changed), remedy=next(changed))
            for finding in self.findings
        ]
        return replace(self, **own, findings=tuple(findings))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, with `verdict` and `ok`. NaN and infinity become None."""
        from pydantic_core import to_json  # slow to import

        content: dict[str, Any] = json.loads(to_json(self, inf_nan_mode="null", fallback=str))
        return {**content, **{name: getattr(self, name) for name in self._derived}}

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a self-contained HTML page without scripts, and write it to `path` if given."""
        return write_text(standalone_page(self.title, self._repr_html_()), path)

    def __str__(self) -> str:
        head = wrap(f"{sanitize_line(self.title)}: {self.verdict}", indent="", next_indent="  ")
        return "\n".join([*head, *fact_lines(self.facts()), *finding_lines(self.findings)])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {sanitize_line(self.title, WIDTH)}: {self.verdict}>"

    def _repr_html_(self) -> str:
        rows = [(finding.level, str(finding)) for finding in self.findings]
        return summary_html(self.title, self.verdict, self.facts(), rows)

    def _with_level(self, level: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)


def write_text(text: str, path: str | os.PathLike[str] | None) -> str:
    """Return text, and write it to `path` if given: as UTF-8, whole or not at all. Raises `DatasetError`."""
    if path is not None:
        content = text.encode("utf-8", "backslashreplace")
        if Path(path).is_char_device() or Path(path).is_fifo():  # a device such as /dev/stdout must not be replaced
            Path(path).write_bytes(content)
        else:
            with AtomicFile(path) as file:
                file.write(content)
                file.commit()
    return text


def escape_html(text: str) -> str:
    """Escape text of unknown origin for HTML."""
    return html.escape(sanitize_line(text))


def summary_html(
    title: str, verdict: str, facts: Iterable[tuple[str, str]], findings: Iterable[tuple[str, str]]
) -> str:
    """Return a report as HTML: names and values in a table, then levels and texts in a list."""
    head = f"<p><b>{escape_html(title)}</b>: {escape_html(verdict)}</p>"
    return f"<div style='max-width:60rem'>{head}{facts_html(facts)}<ul>{findings_html(findings)}</ul></div>"


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """Return names and values as a table with its own styles, because notebooks align tables to the right."""
    style = "text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0"
    rows = "".join(
        f"<tr><th style='{style};white-space:nowrap'>{escape_html(name)}</th>"
        f"<td style='{style};overflow-wrap:anywhere'>{escape_html(value)}</td></tr>"
        for name, value in facts
    )
    return f"<table style='margin:.5rem 0;border-collapse:collapse'>{rows}</table>"


def findings_html(findings: Iterable[tuple[str, str]]) -> str:
    """Return levels and texts as list items."""
    return "".join(
        f"<li style='text-align:left;margin:.25rem 0;overflow-wrap:anywhere'>"
        f"<b style='color:{LEVEL_COLOURS.get(level, 'inherit')}'>{level}</b> {escape_html(text)}</li>"
        for level, text in findings
    )


def scrollable_table(table: str) -> str:
    """Return a table that scrolls if it is wider than the page."""
    return f"<div style='overflow-x:auto'>{table}</div>"


def standalone_page(title: str, body: str, script: str = "") -> str:
    """Return a self-contained page of HTML. Its security policy allows no other script, and loads nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'" + (f"; script-src 'sha256-{digest}'" if script else "")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape_html(title)}</title><style>{_PAGE_STYLE}</style></head><body>{body}"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def clip(line: str, width: int = WIDTH) -> str:
    """Cut a line to a width."""
    return line if len(line) <= width else line[: width - 1] + "…"


def wrap(text: str, *, indent: str = "  ", next_indent: str = "      ") -> Sequence[str]:
    """Wrap text to lines of a terminal. Long words, such as ARNs, are not broken, so they can be copied."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=next_indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fact_lines(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values as lines of a terminal, with the values aligned."""
    width = max((len(name) for name, _ in facts), default=0)
    texts = (f"{name:<{width}}  {sanitize_line(value)}" for name, value in facts)
    return [line for text in texts for line in wrap(text, next_indent=" " * (width + 4))]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines of a terminal."""
    return [line for finding in findings for line in wrap(f"{finding.level + ':':<8} {finding}")]


def _capitalize(text: str) -> str:
    """Capitalise the first letter, unless the text begins with a name in mixed case."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 'S' if noun.isupper() else 's'}" if number else ""
