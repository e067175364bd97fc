"""Run the training of one job, and store each step.

The events of a step and the policy after it are stored in one transaction, and only while the job is running. So a
cancellation takes effect between steps, and a restarted service continues after the last stored step: no event is lost
or repeated.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from bedrock_rft.errors import RewardError
from bedrock_rft.local._service.responses import LABEL, new_id
from bedrock_rft.local._service.routes import new_event
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.trainer import Trainer
from bedrock_rft.local._training.worker_thread import JobWorker

__all__ = ["FUNCTION", "JobFailure", "JobRun"]

FUNCTION = "method.reinforcement.grader.lambda.function"
"""The field of a job that names the reward function."""

_CHECKPOINTS = 4
_WRITE_SHARE = 10  # steps are stored together if storing each would take more than a tenth of the time


@dataclass(eq=False)
class JobFailure(Exception):  # noqa: N818 - it becomes the job's error
    """The error of a failed job."""

    code: str
    message: str
    param: str | None = None


class JobRun:
    """The training of a job, from its last stored step on."""

    def __init__(self, store: Store, job: dict[str, Any], trainer: Trainer, worker: JobWorker, pace: float) -> None:
        """Restore a new trainer to the last stored step. The run pauses for `pace` seconds after each step."""
        self._store = store
        self._job = job
        self._trainer = trainer
        self._worker = worker
        self._pace = pace
        self._progress = store.load_progress(job["id"])
        if self._progress.state:
            trainer.restore(self._progress.state)
        total = trainer.total_steps
        self._checkpoint_steps = {math.ceil(total * quarter / _CHECKPOINTS) for quarter in range(1, _CHECKPOINTS + 1)}
        self._unwritten: list[dict[str, Any]] = []
        self._due = 0.0

    def run(self) -> None:
        """Train until the job is done or cancelled, or the service stops.

        Raises:
            JobFailure: the reward function failed.
        """
        while self._trainer.done < self._trainer.total_steps:
            metrics = self._step()
            is_checkpoint = metrics["step"] in self._checkpoint_steps
            if is_checkpoint or self._pace or self._worker.stopping or time.monotonic() >= self._due:
                if not self._write(metrics if is_checkpoint else None):
                    return
                self._wait_pace()
            if self._worker.stopping:
                return
        self._finish()

    def _step(self) -> dict[str, Any]:
        try:
            metrics: dict[str, Any] = dict(self._trainer.step(self._trainer.done + 1))
        except RewardError as error:
            raise JobFailure("reward_function_error", error.message, FUNCTION) from error
        message = f"Step {metrics['step']}/{metrics['total_steps']}: training metrics"
        self._unwritten.append(new_event(message, data=metrics))
        tokens = self._progress.tokens + self._trainer.tokens
        self._progress = self._progress._replace(step=metrics["step"], tokens=tokens)
        return metrics

    def _write(self, checkpoint: dict[str, Any] | None) -> bool:
        """Store the steps since the last call; return False if the job is no longer running."""
        started = time.monotonic()
        state = self._trainer.state()
        with self._store.transaction():
            if not self._is_running():
                return False
            for event in self._unwritten:
                self._store.add("event", event, parent=self._job["id"])
            if checkpoint is not None:
                self._add_checkpoint(checkpoint, state)
            self._store.save_progress(self._job["id"], self._progress._replace(state=state))
        self._unwritten = []
        self._due = time.monotonic() + (time.monotonic() - started) * _WRITE_SHARE
        return True

    def _is_running(self) -> bool:
        job = self._store.get("job", self._job["id"])
        return job is not None and job["status"] == "running"

    def _add_checkpoint(self, metrics: dict[str, Any], state: str) -> None:
        step, job, now = metrics["step"], self._job["id"], int(time.time())
        model = f"{self._model_name}:step-{step}"
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
        self._store.save_policy(model, job=job, created=now, tuned=False, state=state)
        self._store.add("event", new_event(f"{LABEL}: checkpoint created at step {step}: {model}."), parent=job)

    @property
    def _model_name(self) -> str:
        return f"local-ft:{self._job['model']}:{self._job['id'].rpartition('-')[2][:12]}"

    def _wait_pace(self) -> None:
        until = time.monotonic() + self._pace
        while not self._worker.stopping and (left := until - time.monotonic()) > 0 and self._is_running():
            self._worker.pause(left)

    def _finish(self) -> None:
        job, now, model = self._job["id"], int(time.time()), self._model_name
        fields: dict[str, Any] = {"fine_tuned_model": model, "trained_tokens": self._progress.tokens}
        with self._store.transaction():
            if not self._store.update_job(job, expect=("running",), status="succeeded", finished_at=now, **fields):
                return
            self._store.save_policy(model, job=job, created=now, tuned=True, state=self._trainer.state())
            self._store.add("event", new_event(f"{LABEL}: the tuned model is ready: {model}."), parent=job)
            self._store.add("event", new_event(f"{LABEL}: the job has succeeded."), parent=job)
