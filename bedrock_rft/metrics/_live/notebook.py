"""Show a job as an HTML panel in a notebook cell, updated in place, without scripts."""

# IPython is only partly annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import time
from typing import Any

from IPython.display import HTML, display

from bedrock_rft._core.findings import escape_html
from bedrock_rft.metrics._html import STYLE, charts
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._live.words import come_back, duration, figure, named, reached, told, values

__all__ = ["Notebook", "panel"]

_STYLE = """
.rft-live .h{display:flex;flex-wrap:wrap;gap:0 1.5rem;margin:.3rem 0}
.rft-live .b{background:#8883;height:6px;border-radius:3px;max-width:56rem}
.rft-live .b div{background:#2f7fc1;height:6px;border-radius:3px}
.rft-live ul{margin:.4rem 0;padding-left:1.2rem}.rft-live ul.m{opacity:.75;font-size:13px;overflow-wrap:anywhere}
.rft-live .error{color:#c62828}.rft-live .warning{color:#b26a00}
"""


class Notebook:
    """View with one panel, updated after each poll."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._state = State()

    def show(self, state: State, change: Change) -> None:
        """Show the current state."""
        del change
        self._state = state
        self._update(panel(state, time.time()))

    def leave(self, job: str) -> None:
        """Show how to resume in the panel."""
        said = "".join(f"<p>{escape_html(each)}</p>" for each in come_back(job))
        self._update(f"{panel(self._state, time.time())}{said}" if self._handle else said)

    def close(self) -> None:
        """Keep the last panel in the notebook."""

    def _update(self, text: str) -> None:
        if self._handle is None:
            self._handle = display(HTML(text), display_id=True)  # type: ignore[no-untyped-call] # IPython is not annotated
        else:
            self._handle.update(HTML(text))  # type: ignore[no-untyped-call] # likewise


def panel(state: State, now: float) -> str:
    """Render a job as HTML without scripts or external resources.

    Args:
        state: what is known of it.
        now: Unix seconds.
    """
    parts = [
        _head(state, now),
        _bar(state),
        _latest(state),
        charts([("", state.metrics)]) if state.metrics else "",
        _listed(
            [f"<b class='{alarm.level}'>{alarm.level}</b> {escape_html(str(alarm))}" for alarm in state.alarms], ""
        ),
        _listed([escape_html(told(event)) for event in state.messages], "m"),
    ]
    return f"<div class='rft-run rft-live'><style>{STYLE}{_STYLE}</style>{''.join(parts)}</div>"


def _head(state: State, now: float) -> str:
    job, elapsed, remaining = state.job, state.elapsed(now), state.remaining(now)
    parts = [
        f"<b>{escape_html(job.id)}</b>",
        f"<span>{escape_html(job.status)}</span>",
        f"<span>{escape_html(job.fine_tuned_model or job.model)}</span>",
        reached(state),
        f"{duration(elapsed)} so far" if elapsed is not None else "",
        f"{duration(remaining)} left" if remaining is not None else "",
    ]
    return f"<div class='h'>{''.join(f'<span>{part}</span>' for part in parts if part)}</div>"


def _bar(state: State) -> str:
    step, total = state.step, state.metrics.total_steps
    if step is None or not total:
        return ""
    return f"<div class='b'><div style='width:{min(100, 100 * step / total):.1f}%'></div></div>"


def _latest(state: State) -> str:
    latest = [f"<span>{escape_html(named(name))} <b>{figure(value)}</b></span>" for name, value in values(state)]
    return f"<div class='h'>{''.join(latest)}</div>" if latest else ""


def _listed(items: list[str], kind: str) -> str:
    return f"<ul class='{kind}'>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""
