"""Show a job on a terminal, redrawn in place."""

from __future__ import annotations

import time
from typing import IO, Any, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bedrock_rft._core.findings import wrap
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._live.words import come_back, duration, encodable, figure, line, named, reached, told, values
from bedrock_rft.metrics._spark import sparkline

__all__ = ["Terminal"]

_BARS = "▁█━"
_BAR = 30
_SPARK = 40
_METRICS = 8
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class _Encoding:
    """Stream that replaces characters it cannot encode instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(encodable(self._stream, text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """View that redraws every second, so that the elapsed time advances between polls."""

    def __init__(self, stream: TextIO, *, forced: bool) -> None:
        self._state = State()
        self._table = Table.grid()
        file = cast("IO[str]", _Encoding(stream))
        self._console = Console(file=file, force_terminal=forced or None, highlight=False)
        self._bars = encodable(stream, _BARS) == _BARS
        self._live = Live(console=self._console, get_renderable=self._drawn, refresh_per_second=1)
        self._open = False

    def show(self, state: State, change: Change) -> None:
        """Draw the current state."""
        del change
        self._state, self._table = state, self._metrics(state)  # only the time changes between polls
        if not self._open:
            self._open = True
            self._live.start()
        self._live.refresh()

    def leave(self, job: str) -> None:
        """Print how to resume below the last drawing."""
        self.close()
        for each in come_back(job):
            self._console.print(Text(each))

    def close(self) -> None:
        """Keep the last drawing on the terminal."""
        if self._open:
            self._open = False
            self._live.stop()

    def _drawn(self) -> Group:
        state, now = self._state, time.time()
        parts: list[RenderableType] = [self._head(state), self._progress(state, now)]
        if state.metrics:
            parts.append(self._table)
        steps = sorted(one.step_number for one in state.metrics.checkpoints if one.step_number is not None)
        if steps:
            parts.append(
                Text(f"checkpoints  {', '.join(f'{step:,}' for step in steps)}", no_wrap=True, overflow="ellipsis")
            )
        parts += [Text(f"  {told(event)}", style="dim", no_wrap=True, overflow="ellipsis") for event in state.messages]
        for alarm in state.alarms:
            colour = "red" if alarm.level == "error" else "yellow"
            parts += [Text(each, style=colour) for each in wrap(f"{alarm.level}: {alarm}")]
        return Group(*parts)

    def _head(self, state: State) -> Text:
        job = state.job
        head = Text(line(job.id, 60), style="bold", no_wrap=True, overflow="ellipsis")
        head.append(f"  {line(job.status, 30)}", style=_STYLES.get(job.status, "bold"))
        head.append(f"  {line(job.fine_tuned_model or job.model, 100)}", style="dim")
        return head

    def _progress(self, state: State, now: float) -> Text:
        step, total = state.step, state.metrics.total_steps
        text = Text(no_wrap=True, overflow="ellipsis")
        if step is not None and total:
            full = min(_BAR, _BAR * step // total)
            text.append(("━" if self._bars else "=") * full, style="cyan")
            text.append(("━" if self._bars else "-") * (_BAR - full), style="dim")
            text.append("  ")
        elapsed, remaining = state.elapsed(now), state.remaining(now)
        parts = [
            reached(state) or "no steps yet",
            f"{duration(elapsed)} so far" if elapsed is not None else "",
            f"{duration(remaining)} left" if remaining is not None else "",
        ]
        return text.append("  ".join(part for part in parts if part))

    def _metrics(self, state: State) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, max_width=24)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        for place, (name, value) in enumerate(values(state)[:_METRICS]):
            curve = sparkline([each for _, each in state.metrics.series(name)], _SPARK, unicode=self._bars)
            table.add_row(Text(named(name)), Text(figure(value)), Text(curve, style="cyan" if place == 0 else "dim"))
        return table
