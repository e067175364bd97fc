"""Show a job as an HTML panel in a notebook cell, updated in place, without scripts."""

# IPython is only partly annotated.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from IPython.display import HTML, display

from bedrock_rft._core.findings import escape_html, findings_html
from bedrock_rft.metrics._html import STYLE, charts
from bedrock_rft.metrics._live import words
from bedrock_rft.metrics._live.lines import View
from bedrock_rft.metrics._live.state import Change, State

_STYLE = """
.rft-live .h{display:flex;flex-wrap:wrap;gap:0 1.5rem;margin:.3rem 0}
.rft-live .b{background:#8883;height:6px;border-radius:3px;max-width:56rem}
.rft-live .b div{background:#2f7fc1;height:6px;border-radius:3px}
.rft-live ul{margin:.4rem 0;padding-left:1.2rem}.rft-live ul.m{opacity:.75;font-size:13px;overflow-wrap:anywhere}
"""


class Notebook(View):
    """View with one panel, updated after each poll."""

    def __init__(self) -> None:
        super().__init__(None)
        self._handle: Any = None
        self._state = State()

    def show(self, state: State, change: Change) -> None:
        """Show the current state."""
        del change
        self._state = state
        self._update(panel(state, time.time()))

    def leave(self, job: str, *, seen: bool = True) -> None:
        """Show how to resume in the panel."""
        hint = "".join(f"<p>{escape_html(line)}</p>" for line in words.resume_hint(job, seen=seen))
        self._update(f"{panel(self._state, time.time())}{hint}" if self._handle else hint)

    def _update(self, text: str) -> None:
        if self._handle is None:
            self._handle = display(HTML(text), display_id=True)  # type: ignore[no-untyped-call] # IPython is not annotated
        else:
            self._handle.update(HTML(text))  # type: ignore[no-untyped-call] # likewise


def panel(state: State, now: float) -> str:
    """Render a job as HTML without scripts or external resources, as of `now` (Unix seconds)."""
    job, step, total = state.job, state.step, state.metrics.total_steps
    model = escape_html(job.fine_tuned_model or job.model)
    width = min(100, 100 * step / total) if step and total else None
    values = [f"{escape_html(title)} <b>{value}</b>" for _, title, value in words.latest_values(state)]
    findings = (*state.limits, *state.alarms)
    alarms = findings_html((alarm.level, str(alarm)) for alarm in findings)
    messages = "".join(f"<li>{escape_html(words.format_event(event))}</li>" for event in state.messages)
    rollouts = "".join(
        f"<li>{'<br>'.join([f'<b>{escape_html(result)}</b>', *map(escape_html, texts)])}</li>"
        for result, texts in words.rollout_lines(state)
    )
    parts = [
        _row([f"<b>{escape_html(job.id)}</b>", escape_html(job.status), model, *words.progress(state, now)]),
        _row([escape_html(words.cost_text(state, now))]),
        f"<div class='b'><div style='width:{width:.1f}%'></div></div>" if width is not None else "",
        _row(values),
        charts([("", state.metrics)]) if state.metrics else "",
        f"<ul>{alarms}</ul>" if alarms else "",
        f"<ul class='m'>{rollouts}</ul>" if rollouts else "",
        f"<ul class='m'>{messages}</ul>" if messages else "",
    ]
    return f"<div class='rft-run rft-live'><style>{STYLE}{_STYLE}</style>{''.join(parts)}</div>"


def _row(items: Iterable[str]) -> str:
    spans = "".join(f"<span>{item}</span>" for item in items if item)
    return f"<div class='h'>{spans}</div>" if spans else ""
