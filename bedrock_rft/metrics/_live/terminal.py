"""Show a job on a terminal, redrawn in place."""

from __future__ import annotations

import time
from typing import IO, Any, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bedrock_rft._core.findings import wrap
from bedrock_rft._core.output import encodable, write
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.metrics._live import words
from bedrock_rft.metrics._live.lines import View
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._series import sparkline

_BARS = "▁█━"
_BAR = 30
_SPARK = 40
_METRICS = 8
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class _SafeStream:
    """Stream that never raises because of its encoding, or because it is missing or closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal(View):
    """View that redraws every second, so that the elapsed time advances between polls."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._state = State()
        self._table = Table.grid()
        self._console = Console(file=cast("IO[str]", _SafeStream(stream)), force_terminal=True, highlight=False)
        # Streams in memory have no encoding, and take any text.
        self._bars = encodable(_BARS, getattr(stream, "encoding", None) or "utf-8") == _BARS
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=1)
        self._open = False

    def show(self, state: State, change: Change) -> None:
        """Draw the current state."""
        del change
        self._state, self._table = state, self._metrics_table(state)  # only the time changes between polls
        if not self._open:
            self._open = True
            self._live.start()
        self._live.refresh()

    def leave(self, job: str, *, seen: bool = True) -> None:
        """Print how to resume below the last drawing."""
        self.close()
        for line in words.resume_hint(job, seen=seen):
            self._console.print(Text(line))

    def close(self) -> None:
        """Keep the last drawing on the terminal."""
        if self._open:
            self._open = False
            self._live.stop()

    def _render(self) -> Group:
        state = self._state
        parts: list[RenderableType] = [self._head_line(state), self._progress_line(state)]
        if state.metrics:
            parts.append(self._table)
        if money := words.cost_text(state, time.time()):
            parts += [Text(line, style="dim") for line in wrap(money, indent="", next_indent="  ")]
        steps = sorted(one.step_number for one in state.metrics.checkpoints if one.step_number is not None)
        if steps:
            parts.append(_text_line(f"checkpoints  {', '.join(f'{step:,}' for step in steps)}"))
        for result, texts in words.rollout_lines(state):
            parts.append(_text_line(result, "cyan"))
            parts += [_text_line(f"  {text}", "dim" if place == 0 else "") for place, text in enumerate(texts)]
        parts += [_text_line(f"  {words.format_event(event)}", "dim") for event in state.messages]
        for alarm in (*state.limits, *state.alarms):
            colour = "red" if alarm.level == "error" else "yellow"
            parts += [Text(line, style=colour) for line in wrap(f"{alarm.level}: {alarm}")]
        return Group(*parts)

    def _head_line(self, state: State) -> Text:
        job = state.job
        head = _text_line(sanitize_line(job.id, 60), "bold")
        head.append(f"  {sanitize_line(job.status, 30)}", style=_STYLES.get(job.status, "bold"))
        return head.append(f"  {sanitize_line(job.fine_tuned_model or job.model, 100)}", style="dim")

    def _progress_line(self, state: State) -> Text:
        step, total = state.step, state.metrics.total_steps
        line = _text_line()
        if step is not None and total:
            full = min(_BAR, _BAR * step // total)
            line.append(("━" if self._bars else "=") * full, style="cyan")
            line.append(("━" if self._bars else "-") * (_BAR - full) + "  ", style="dim")
        parts = words.progress(state, time.time())
        return line.append("  ".join(parts if step is not None else ["no steps yet", *parts]))

    def _metrics_table(self, state: State) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, max_width=24)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        for place, (name, title, value) in enumerate(words.latest_values(state)[:_METRICS]):
            curve = sparkline([each for _, each in state.metrics.series(name)], _SPARK, unicode=self._bars)
            style = "cyan" if place == 0 else "dim"
            table.add_row(Text(title), Text(value), Text(curve, style=style))
        return table


def _text_line(text: str = "", style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
