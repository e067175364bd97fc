"""Texts that the live views share."""

from __future__ import annotations

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.metrics._live.state import State
from bedrock_rft.metrics._series import NOTHING, TITLES
from bedrock_rft.types.events import Event

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def metric_title(name: str) -> str:
    """Return the title of a metric without its unit."""
    return sanitize_line(TITLES.get(name, name), 40).partition(" (")[0]


def format_duration(seconds: float) -> str:
    """Format seconds in one or two units."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def progress(state: State, now: float) -> list[str]:
    """Return the current step, the elapsed and the remaining time, as far as they are known."""
    step, total = state.step, state.metrics.total_steps
    elapsed, remaining = state.elapsed(now), state.remaining(now)
    parts: list[str] = []
    if step is not None:
        parts.append(f"step {step:,} of {total:,}" if total is not None and total >= step else f"step {step:,}")
    if elapsed is not None:
        parts.append(f"{format_duration(elapsed)} so far")
    if remaining is not None:
        parts.append(f"{format_duration(remaining)} left")
    return parts


def money(state: State, now: float) -> str:
    """Return the money so far and at the end, with what is unknown about it; empty if there is none to show."""
    cost = state.cost(now)
    return f"cost {cost.summary} (published price; rounding is not known)" if cost is not None and cost.summary else ""


def format_number(value: float) -> str:
    """Format a number with four digits; rounding errors become 0."""
    return f"{0.0 if abs(value) < NOTHING else value:.4g}"


def latest_values(state: State) -> list[tuple[str, float]]:
    """Return the name and latest value of each metric."""
    metrics = state.metrics
    return [(name, series[-1][1]) for name in metrics.names if (series := metrics.series(name))]


def format_event(event: Event) -> str:
    """Format an event as a line, with its level unless it is `info`."""
    level = "" if event.level in {"", "info"} else f"{sanitize_line(event.level, 20)}: "
    return f"{level}{sanitize_line(event.message, 500)}"


def resume_hint(job: str, *, seen: bool) -> tuple[str, ...]:
    """Return the lines to print when watching is interrupted. The state of a job that was never seen is unknown."""
    name = sanitize_line(job, 100)
    return (
        f"Job {name} is still running." if seen else f"Job {name} was never reached, so its state is unknown.",
        f"  resume     client.jobs.watch({name!r})",
        f"  stop it    client.jobs.cancel({name!r})",
    )
