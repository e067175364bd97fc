"""Show a job as lines of text, for logs and pipes, or as JSON, for programs."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from bedrock_rft._core.findings import WIDTH, clip, wrap
from bedrock_rft._core.output import print_error, write
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs import Cost
from bedrock_rft.metrics._live import words
from bedrock_rft.metrics._live.state import Change, State

_TIME_WIDTH = 9  # columns of the time and a space


class View:
    """View of a running job. The base class shows nothing, except how to resume."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._shown_money: float | None = None

    def show(self, state: State, change: Change) -> None:
        """Show the state after a poll."""

    def leave(self, job: str, *, seen: bool = True) -> None:
        """Print how to resume."""
        for line in words.resume_hint(job, seen=seen):
            print_error(line)

    def close(self) -> None:
        """End the view and keep its last output."""

    def _new_cost(self, state: State, change: Change) -> Cost | None:
        """Return the cost if the status is new or a further hour may be billed, else None."""
        cost = state.cost(time.time())
        if cost is None or cost.so_far is None or (change.status is None and cost.so_far.high == self._shown_money):
            return None
        self._shown_money = cost.so_far.high
        return cost

    def _print(self, line: str) -> None:
        write(self._stream, f"{line}\n")


class Plain(View):
    """View with one line for each message and checkpoint, for the latest step of each poll, and for each alarm.

    New rollouts are shown below the step.
    """

    _rollouts: Sequence[tuple[str, list[str]]] = ()

    def show(self, state: State, change: Change) -> None:
        """Write the changes."""
        texts = [(event.created_at, words.format_event(event)) for event in change.messages]
        for one in change.checkpoints:
            model = one.fine_tuned_model_checkpoint or one.id
            if not any(model in event.message for event in change.messages):  # a message may announce it
                step = f" at step {one.step_number:,}" if one.step_number is not None else ""
                texts.append((one.created_at, f"checkpoint{step}: {sanitize_line(model, 200)}"))
        if all(at is not None for at, _ in texts):
            texts.sort(key=lambda each: each[0] or 0.0)
        for at, text in texts:
            self._print_with_time(text, at)
        if change.status is not None or change.steps:
            self._print(clip(f"{_format_time(None)} {_summary(state)}"))
        if self._new_cost(state, change):
            for line in wrap(
                words.cost_text(state, time.time()), indent=" " * _TIME_WIDTH, next_indent=" " * _TIME_WIDTH
            ):
                self._print(line)
        self._show_rollouts(state)
        for alarm in change.alarms:
            for line in wrap(f"{alarm.level}: {alarm}"):
                self._print(line)

    def leave(self, job: str, *, seen: bool = True) -> None:
        """Print how to resume."""
        for line in words.resume_hint(job, seen=seen):
            self._print(line)

    def _show_rollouts(self, state: State) -> None:
        """Write the latest rollouts if they have changed, each text on one line, as the panel shows them."""
        found = words.rollout_lines(state)
        if found != self._rollouts:
            self._rollouts = found
            for result, texts in found:
                for line in (result, *(f"  {text}" for text in texts)):
                    self._print(clip(f"{'':{_TIME_WIDTH}}{line}"))

    def _print_with_time(self, text: str, at: float | None) -> None:
        lines = textwrap.wrap(text, WIDTH - _TIME_WIDTH, break_on_hyphens=False) or [""]
        self._print(f"{_format_time(at)} {lines[0]}")
        for line in lines[1:]:
            self._print(f"{'':{_TIME_WIDTH}}{line}")


class Json(View):
    """View with one JSON object a line. Its `kind` is status, step, message, checkpoint, alarm or cost. NaN is null."""

    def show(self, state: State, change: Change) -> None:
        """Write the changes."""
        job = change.job
        for event in change.messages:
            self._write("message", job.id, event.model_dump_json())
        for step in change.steps:
            self._write("step", job.id, step.metrics.model_dump_json(exclude_none=True), at=step.at)
        for one in change.checkpoints:
            self._write("checkpoint", job.id, one.model_dump_json())
        for alarm in change.alarms:
            self._write("alarm", job.id, **asdict(alarm))
        if cost := self._new_cost(state, change):
            self._write("cost", job.id, cost.to_json())
        if change.status is not None:
            model = {"fine_tuned_model": job.fine_tuned_model} if job.fine_tuned_model else {}
            error = {"error": json.loads(job.error.model_dump_json())} if job.status == "failed" and job.error else {}
            self._write("status", job.id, status=job.status, **model, **error)

    def _write(self, kind: str, job: str, content: str = "{}", **more: Any) -> None:
        head = {"kind": kind, "job": job}  # first in each line, and not replaced by fields of the content
        self._print(json.dumps(head | json.loads(content) | more | head, allow_nan=False))


def _summary(state: State) -> str:
    summary = "  ".join([sanitize_line(state.job.status, 20), *words.progress(state, time.time())])
    for _, title, value in words.latest_values(state):  # as many as fit, the reward first
        more = f"{summary}  {title} {value}"
        if len(more) > WIDTH - _TIME_WIDTH:
            break
        summary = more
    return summary


def _format_time(at: float | None) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # a time outside the calendar
        return "--:--:--"
