"""The training of one job: no step is shown before it is remembered.

What a step says and the policy after it are written in one transaction, and only while the job is running. So a cancel
takes hold between steps, and a rehearsal that starts again goes on after the last step it told of: no event is lost and
none comes twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.local._service.responses import REHEARSAL, new_id
from bedrock_rft.local._service.routes import event
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.trainer import Trainer
from bedrock_rft.local._training.worker_thread import Lane

__all__ = ["FUNCTION", "Failure", "Run"]

FUNCTION = "method.reinforcement.grader.lambda.function"
"""The part of a job that is to blame for its reward."""

_CHECKPOINTS = 4
_SHARE = 10  # steps are written together where writing each would take more than a tenth of the time


@dataclass(eq=False)
class Failure(Exception):  # noqa: N818 - it is a job's outcome
    """Why a job fails, in the words its owner will read."""

    code: str
    message: str
    param: str | None = None


class Run:
    """Takes a job from the step it has come to as far as it goes."""

    def __init__(
        self,
        store: Store,
        job: dict[str, Any],
        trainer: Trainer,
        lane: Lane,
        *,
        pace: float,
        answers: Callable[[int], int],
    ) -> None:
        """Take up where the job was left.

        Args:
            store: where it was left, and where it goes on.
            job: what the service shows of it.
            trainer: made anew; it is put where it was.
            lane: says when to stop.
            pace: seconds between steps.
            answers: how many answers a step, counted from 1, samples.
        """
        self._store = store
        self._job = job
        self._trainer = trainer
        self._lane = lane
        self._pace = pace
        self._answers = answers
        self._progress = store.progress(job["id"])
        if self._progress.state:
            trainer.restore(self._progress.state)
        total = trainer.total_steps
        self._marks = {math.ceil(total * quarter / _CHECKPOINTS) for quarter in range(1, _CHECKPOINTS + 1)}
        self._unwritten: list[dict[str, Any]] = []
        self._due = 0.0

    def go(self) -> None:
        """Train until the job is done, cancelled or to be stopped.

        Raises:
            Failure: the reward failed.
        """
        while self._trainer.done < self._trainer.total_steps:
            metrics = self._step()
            mark = metrics["step"] in self._marks
            if mark or self._pace or self._lane.stopping or time.monotonic() >= self._due:
                if not self._write(metrics if mark else None):
                    return
                self._rest()
            if self._lane.stopping:
                return
        self._finish()

    def _step(self) -> dict[str, Any]:
        try:
            metrics: dict[str, Any] = dict(self._trainer.step(self._trainer.done + 1))
        except RewardError as error:
            raise Failure("reward_function_error", error.message, FUNCTION) from error
        self._unwritten.append(
            event(f"Step {metrics['step']}/{metrics['total_steps']}: training metrics", data=metrics)
        )
        tokens = round(metrics["response_length_mean"] * self._answers(metrics["step"]))
        self._progress = replace(self._progress, step=metrics["step"], tokens=self._progress.tokens + tokens)
        return metrics

    def _write(self, mark: dict[str, Any] | None) -> bool:
        """Remember what was done since the last time; False where the job is not running any more."""
        began = time.monotonic()
        state = self._trainer.state()
        with self._store.transaction():
            if not self._running():
                return False
            for said in self._unwritten:
                self._store.add("event", said, parent=self._job["id"])
            if mark is not None:
                self._checkpoint(mark, state)
            self._store.advance(self._job["id"], replace(self._progress, state=state))
        self._unwritten = []
        self._due = time.monotonic() + (time.monotonic() - began) * _SHARE
        return True

    def _running(self) -> bool:
        job = self._store.get("job", self._job["id"])
        return job is not None and job["status"] == "running"

    def _checkpoint(self, metrics: dict[str, Any], state: str) -> None:
        step, job, now = metrics["step"], self._job["id"], int(time.time())
        model = f"{self._tuned}:step-{step}"
        payload = {
            "id": new_id("ftckpt"),
            "object": "fine_tuning.job.checkpoint",
            "created_at": now,
            "fine_tuning_job_id": job,
            "fine_tuned_model_checkpoint": model,
            "step_number": step,
            "metrics": metrics,
        }
        self._store.add("checkpoint", payload, parent=job)
        self._store.learn(model, job=job, created=now, tuned=False, state=state)
        self._store.add("event", event(f"{REHEARSAL}: checkpoint created at step {step}: {model}."), parent=job)

    @property
    def _tuned(self) -> str:
        return f"local-ft:{self._job['model']}:{self._job['id'].rpartition('-')[2][:12]}"

    def _rest(self) -> None:
        until = time.monotonic() + self._pace
        while not self._lane.stopping and (left := until - time.monotonic()) > 0 and self._running():
            self._lane.pause(left)

    def _finish(self) -> None:
        job, now, model = self._job["id"], int(time.time()), self._tuned
        done = {
            "status": "succeeded",
            "finished_at": now,
            "fine_tuned_model": model,
            "trained_tokens": self._progress.tokens,
        }
        with self._store.transaction():
            if self._store.change(job, expect=("running",), **done) is None:
                return
            self._store.learn(model, job=job, created=now, tuned=True, state=self._trainer.state())
            self._store.add("event", event(f"{REHEARSAL}: the tuned model is ready: {model}."), parent=job)
            self._store.add("event", event(f"{REHEARSAL}: the job has succeeded."), parent=job)
