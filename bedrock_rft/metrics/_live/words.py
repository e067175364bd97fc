"""What is said of a run that is watched, whatever it is shown on."""

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
    """Text of the service's as one line without a control character or a tab."""
    return sanitize_line(text.replace("\t", " "), limit)


def named(name: str) -> str:
    """A metric's name for people."""
    return line(TITLES.get(name, name), 40).partition(" (")[0]


def duration(seconds: float) -> str:
    """Seconds, in the two units that matter."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def reached(state: State) -> str:
    """How far a run is: the step, of how many."""
    step, total = state.step, state.metrics.total_steps
    if step is None:
        return ""
    return f"step {step:,} of {total:,}" if total is not None and total >= step else f"step {step:,}"


def figure(value: float) -> str:
    """A number in four digits; what is 0 but for rounding is 0."""
    return f"{0.0 if abs(value) < _NOTHING else value:.4g}"


def values(state: State) -> list[tuple[str, float]]:
    """The latest value of each metric."""
    metrics = state.metrics
    return [(name, series[-1][1]) for name in metrics.names if (series := metrics.series(name))]


def told(event: Event) -> str:
    """A line of the log; its level where that is not the usual one."""
    level = "" if event.level in {"", "info"} else f"{line(event.level, 20)}: "
    return f"{level}{line(event.message)}"


def come_back(job: str) -> tuple[str, ...]:
    """What to say when a watch is left while the job goes on."""
    name = repr(line(job, 100))
    return (
        f"Job {line(job, 100)} goes on.",
        f"  come back  client.jobs.watch({name})",
        f"  stop it    client.jobs.cancel({name})",
    )


def encodable(stream: TextIO, text: str) -> str:
    """A text with a substitute for whatever a stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO, text: str) -> None:
    """Write a line at once."""
    stream.write(f"{encodable(stream, text)}\n")
    stream.flush()
