"""Texts that the live views share."""

from __future__ import annotations

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.metrics._live.state import State
from bedrock_rft.metrics._series import ROUNDING, TITLES
from bedrock_rft.types.events import Event

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_PREVIEW = 240


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
    of_total = f" of {total:,}" if step is not None and total is not None and total >= step else ""
    times = ((state.elapsed(now), "so far"), (state.remaining(now), "left"))
    parts = [f"step {step:,}{of_total}"] if step is not None else []
    return parts + [f"{format_duration(seconds)} {end}" for seconds, end in times if seconds is not None]


def cost_text(state: State, now: float) -> str:
    """Return the cost so far and at the end, with the part that is unknown, or "" if no cost is known."""
    cost = state.cost(now)
    if cost is None or not cost.summary:
        return ""
    start = "rehearsal on the local service: " if cost.note else "cost "
    return f"{start}{cost.summary} (at the published price; AWS does not say how it rounds hours)"


def latest_values(state: State) -> list[tuple[str, str, str]]:
    """Return the name of each metric, its title without unit, and its latest value; rounding errors become 0."""
    metrics = state.metrics
    latest = [(name, series[-1][1]) for name in metrics.names if (series := metrics.series(name))]
    titles = [sanitize_line(TITLES.get(name, name), 40).partition(" (")[0] for name, _ in latest]
    values = [f"{0.0 if abs(value) < ROUNDING else value:.4g}" for _, value in latest]
    return [(name, title, value) for (name, _), title, value in zip(latest, titles, values, strict=True)]


def rollout_lines(state: State) -> list[tuple[str, list[str]]]:
    """Return the result of each of the latest rollouts with its prompt and its answer, or why they cannot be read."""
    if state.rollouts_problem:
        return [(f"rollouts: {sanitize_line(state.rollouts_problem, 300)}", [])]
    lines: list[tuple[str, list[str]]] = []
    for one in state.rollouts:
        parts = "".join(f"  {sanitize_line(name, 30)} {value:.3g}" for name, value in one.parts.items())
        result = f"reward {one.score:.3g}{parts}" if one.error is None else f"error: {sanitize_line(one.error, 200)}"
        texts = ["not recorded" if text is None else _preview(text) for text in (one.prompt, one.answer)]
        lines.append((result, texts))
    return lines


def _preview(text: str) -> str:
    """Return the beginning and the end of a text as one line."""
    line = sanitize_line(" ".join(text.split()), 100_000)
    return line if len(line) <= _PREVIEW else f"{line[: _PREVIEW // 2]} … {line[-_PREVIEW // 2 :]}"


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
