"""What a check found, said the same way everywhere: in a terminal of 80 columns and in a notebook.

Standard library only, so that it can be used beside a reward.
"""

from __future__ import annotations

import html
import json
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from bedrock_rft._core.text import sanitize_line

__all__ = ["WIDTH", "Finding", "Findings", "Severity", "clip", "escape_html", "standalone_page", "wrap", "write_text"]

WIDTH = 80
"""Columns of a terminal."""

_ALONE = ":root{color-scheme:light dark}body{margin:2rem auto;padding:0 1rem;max-width:62rem}"

Severity = Literal["error", "warning", "unknown", "ok"]
"""`unknown` is what could not be found out, and is never a guess."""

_ORDER: tuple[Severity, ...] = ("error", "warning", "unknown", "ok")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: the severity: `error` if a job would fail or learn nothing, `warning` if it might, `unknown` if the check
            could not run, `ok` if nothing is wrong.
        code: identifies the check; stable between versions.
        summary: one sentence without its full stop.
        reason: why it matters, or how it was found out.
        remedy: the one command, change or policy statement that fixes it.
    """

    level: Severity
    code: str
    summary: str
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        parts = (self.summary, _sentence(self.reason), self.remedy)
        return " ".join(f"{sanitize_line(part)}{'' if part[-1:] in '.!?`}' else '.'}" for part in parts if part)


@dataclass(frozen=True)
class Findings:
    """What a check found. Print it, or let a notebook show it.

    Attributes:
        title: what was checked.
        findings: everything that was looked at, the worst first.
    """

    title: str
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.findings, key=lambda finding: _ORDER.index(finding.level)))
        object.__setattr__(self, "findings", ordered)

    @property
    def ok(self) -> bool:
        """Whether there is no error. There may be warnings, and things that could not be found out."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What has to be mended."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may have to be."""
        return self._of("warning")

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """What could not be found out."""
        return self._of("unknown")

    @property
    def verdict(self) -> str:
        """All of it in a few words."""
        counted = [
            _count(len(self.errors), "ERROR"),
            _count(len(self.warnings), "warning"),
            f"{len(self.unknown)} not known" if self.unknown else "",
        ]
        return ", ".join(part for part in counted if part) or "ok"

    def facts(self) -> Sequence[tuple[str, str]]:
        """What is shown between the title and the findings: names and values."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, with `verdict` and `ok`; what there is no number for is None."""
        found: dict[str, Any] = _json(asdict(self))
        return {**found, "verdict": self.verdict, "ok": self.ok}

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The same as JSON text, written to `path` where one is given."""
        return write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False), path)

    def __str__(self) -> str:
        facts = self.facts()
        wide = max((len(name) for name, _ in facts), default=0)
        end = f": {self.verdict}"
        lines = [clip(sanitize_line(self.title), WIDTH - len(end)) + end]  # whatever is cut, the verdict is not
        lines += [clip(f"  {name:<{wide}}  {sanitize_line(value)}") for name, value in facts]
        for finding in self.findings:
            lines += wrap(f"{finding.level + ':':<8} {finding}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        facts = "".join(
            f"<tr><th {left}>{escape_html(name)}</th><td {left}>{escape_html(value)}</td></tr>"
            for name, value in self.facts()
        )
        found = "".join(f"<li><b>{finding.level}</b> {escape_html(str(finding))}</li>" for finding in self.findings)
        return (
            f"<div><p><b>{escape_html(self.title)}</b>: {escape_html(self.verdict)}</p>"
            f"<table>{facts}</table><ul>{found}</ul></div>"
        )

    def _of(self, level: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)


def write_text(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text itself, written to `path` where one is given."""
    if path is not None:
        Path(path).expanduser().write_text(text, encoding="utf-8")
    return text


def _json(value: Any) -> Any:
    """As JSON has it: names that are text, lists, and no NaN."""
    if isinstance(value, Mapping):
        return {str(name): _json(inner) for name, inner in cast("Mapping[object, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_json(inner) for inner in cast("Sequence[Any]", value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, type(None))) else str(value)


def escape_html(text: str) -> str:
    """Text of unknown origin as HTML."""
    return html.escape(sanitize_line(text))


def standalone_page(title: str, body: str) -> str:
    """A page that stands alone: it runs no script and loads nothing, and its policy sees to that.

    Args:
        title: of unknown origin.
        body: HTML.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape_html(title)}</title><style>{_ALONE}</style></head><body>{body}</body></html>\n"
    )


def clip(line: str, width: int = WIDTH) -> str:
    """A line that fits into a terminal."""
    return line if len(line) <= width else line[: width - 1] + "…"


def wrap(text: str, *, indent: str = "  ", further: str = "      ") -> Sequence[str]:
    """A sentence as lines that fit into a terminal. What must be copied, such as an ARN, is not broken."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )


def _sentence(text: str) -> str:
    """Begin with a capital, unless it begins with a name that has its own spelling."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 'S' if noun.isupper() else 's'}" if number else ""
