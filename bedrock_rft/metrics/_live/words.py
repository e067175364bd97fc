"""Texts that the live views share."""

from __future__ import annotations

from typing import TextIO

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.metrics._live.state import State
from bedrock_rft.metrics._series import TITLES
from bedrock_rft.types.events import Event

__all__ = ["come_back", "duration", "encodable", "figure", "line", "named", "reached", "say", "told", "values"]

_NOTHING = 1e-9
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def line(text: str, limit: int = 500) -> str:
    """Return text of the service as one line without control characters and tabs."""
    return sanitize_line(text.replace("\t", " "), limit)


def named(name: str) -> str:
    """Return the title of a metric."""
    return line(TITLES.get(name, name), 40).partition(" (")[0]


def duration(seconds: float) -> str:
    """Format seconds in two units."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def reached(state: State) -> str:
    """Return the current step and the total."""
    step, total = state.step, state.metrics.total_steps
    if step is None:
        return ""
    return f"step {step:,} of {total:,}" if total is not None and total >= step else f"step {step:,}"


def figure(value: float) -> str:
    """Format a number with four digits; rounding errors become 0."""
    return f"{0.0 if abs(value) < _NOTHING else value:.4g}"


def values(state: State) -> list[tuple[str, float]]:
    """Return the latest value of each metric."""
    metrics = state.metrics
    return [(name, series[-1][1]) for name in metrics.names if (series := metrics.series(name))]


def told(event: Event) -> str:
    """Format an event as a line, with its level unless it is `info`."""
    level = "" if event.level in {"", "info"} else f"{line(event.level, 20)}: "
    return f"{level}{line(event.message)}"


def come_back(job: str) -> tuple[str, ...]:
    """Return the lines to print when watching is interrupted."""
    name = repr(line(job, 100))
    return (
        f"Job {line(job, 100)} is still running.",
        f"  resume     client.jobs.watch({name})",
        f"  stop it    client.jobs.cancel({name})",
    )


def encodable(stream: TextIO, text: str) -> str:
    """Replace characters that a stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO, text: str) -> None:
    """Write a line and flush."""
    stream.write(f"{encodable(stream, text)}\n")
    stream.flush()
