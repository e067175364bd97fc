"""Show a job as lines of text, for logs and pipes, or as JSON, for programs."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from typing import Any, TextIO

from bedrock_rft._core.findings import WIDTH, Finding, clip, wrap
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._live.words import come_back, duration, figure, line, named, reached, say, told, values

__all__ = ["Json", "Nothing", "Plain"]

_CLOCK = 9  # columns of the time and a space


class Nothing:
    """View that shows nothing, except how to resume."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, state: State, change: Change) -> None:
        """Ignore the change."""

    def leave(self, job: str) -> None:
        """Print how to resume."""
        for each in come_back(job):
            say(sys.stderr, each)

    def close(self) -> None:
        """Do nothing."""


class Plain(Nothing):
    """View with one line for each message and checkpoint, for the latest step of each poll, and for each alarm."""

    def show(self, state: State, change: Change) -> None:
        """Write the changes."""
        for event in change.messages:
            self._dated(told(event), event.created_at)
        for one in change.checkpoints:
            where = f" at step {one.step_number:,}" if one.step_number is not None else ""
            self._dated(f"checkpoint{where}: {line(one.fine_tuned_model_checkpoint or one.id, 200)}", one.created_at)
        if change.status is not None or change.steps:
            say(self._stream, clip(f"{_clock(None)} {_summary(state)}"))
        for alarm in change.alarms:
            for each in wrap(f"{alarm.level}: {alarm}"):
                say(self._stream, each)

    def leave(self, job: str) -> None:
        """Print how to resume."""
        for each in come_back(job):
            say(self._stream, each)

    def _dated(self, text: str, at: float | None) -> None:
        lines = textwrap.wrap(text, WIDTH - _CLOCK, break_on_hyphens=False) or [""]
        for number, each in enumerate(lines):
            say(self._stream, f"{_clock(at) if number == 0 else ' ' * (_CLOCK - 1)} {each}")


class Json(Nothing):
    """View with one JSON object a line. Its `kind` is `status`, `step`, `message`, `checkpoint` or `alarm`.

    Numbers that are not finite are null, as JSON has none.
    """

    def show(self, state: State, change: Change) -> None:
        """Write the changes."""
        for event in change.messages:
            self._write("message", state, event.model_dump_json())
        for step in change.steps:
            self._write("step", state, step.metrics.model_dump_json(exclude_none=True), at=step.at)
        for one in change.checkpoints:
            self._write("checkpoint", state, one.model_dump_json())
        for alarm in change.alarms:
            self._write("alarm", state, _finding(alarm))
        if change.status is not None:
            job = change.job
            model = {"fine_tuned_model": job.fine_tuned_model} if job.fine_tuned_model else {}
            error = {"error": json.loads(job.error.model_dump_json())} if job.status == "failed" and job.error else {}
            self._write("status", state, "{}", status=job.status, **model, **error)

    def _write(self, kind: str, state: State, content: str, **more: Any) -> None:
        said = {"kind": kind, "job": state.job.id} | json.loads(content) | {"kind": kind, "job": state.job.id, **more}
        say(self._stream, json.dumps(said, allow_nan=False))


def _finding(finding: Finding) -> str:
    return json.dumps({name: getattr(finding, name) for name in ("level", "code", "summary", "reason", "remedy")})


def _summary(state: State) -> str:
    now = time.time()
    elapsed, remaining = state.elapsed(now), state.remaining(now)
    parts = [
        line(state.job.status, 20),
        reached(state),
        f"{duration(elapsed)} so far" if elapsed is not None else "",
        f"{duration(remaining)} left" if remaining is not None else "",
    ]
    summary = "  ".join(part for part in parts if part)
    for name, value in values(state):  # as many as fit, the reward first
        more = f"{summary}  {named(name)} {figure(value)}"
        if len(more) > WIDTH - _CLOCK:
            break
        summary = more
    return summary


def _clock(at: float | None) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # a time outside the calendar
        return "--:--:--"
