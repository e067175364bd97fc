"""Run jobs: validate them on one thread and train them on another, so that no validation waits for training.

A job's status changes only from the status that the writer expects, so a cancellation is never overwritten. The events
of a training step and the policy after it are stored in one transaction, and only while the job is running. So a
cancellation takes effect between steps, and a restarted service continues after the last stored step: no event is lost
or repeated.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.local._service.requests import LABEL, new_id
from bedrock_rft.local._service.routes import ACTIVE, new_event
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.dataset import InvalidFileError, Record, read_records
from bedrock_rft.local._training.policy import Gold
from bedrock_rft.local._training.reward import RewardFunction
from bedrock_rft.local._training.trainer import Trainer
from bedrock_rft.types.arn import LambdaArn

_log = logging.getLogger("bedrock_rft.local")

_SHARED_PROCESS_WARNING = (
    "the reward runs in the process of the service, because it cannot run in a process of its own: {} If it exits or "
    "crashes, the service ends too."
)
_TRAINER_SETTINGS = ("n_epochs", "batch_size", "learning_rate_multiplier")
_FUNCTION_FIELD = "method.reinforcement.grader.lambda.function"  # the field of a job that names the reward function
_CHECKPOINT_COUNT = 4
_WRITE_SHARE = 10  # steps are stored together if storing each would take more than a tenth of the time
_STOP_TIMEOUT = 5.0  # seconds that stopping waits for an invocation of the reward function
_SAVE_INTERVAL = 1.0  # seconds between attempts to store a failure on a full disk


@dataclass(frozen=True)
class Settings:
    """Settings of all jobs, which `Service` describes. `rewards` is one reward for all jobs, or a mapping."""

    rewards: RewardFunction | Mapping[str, RewardFunction] | None = None
    seed: int = 0
    pace: float = 0.0
    minimum_records: int = 100
    group_size: int = 8
    gold: Gold | None = None


class JobRunner:
    """Runs the jobs of a store until it is stopped. An unfinished job continues at the next start."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._training = JobWorker(store, ("running", "queued"), partial(self._attempt, self._train), "local-training")
        validate = partial(self._attempt, self._validate)
        self._workers = (JobWorker(store, ("validating_files",), validate, "local-validating"), self._training)

    def start(self) -> None:
        """Start, with unfinished jobs first."""
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Notify the threads that a job was created or cancelled."""
        for worker in self._workers:
            worker.wake()

    def stop(self) -> None:
        """Stop after the current step."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(_STOP_TIMEOUT)

    def _attempt(self, work: _Work, job: dict[str, Any], worker: JobWorker) -> None:
        """Run a part of a job, and mark the job as failed if an exception is raised.

        Otherwise the job would stay active and be run again and again. `sqlite3.ProgrammingError` is raised again,
        because it means that the store is closed.
        """
        try:
            work(job, worker)
        except JobFailure as failure:
            self._fail(job, failure)
        except ConfigurationError as error:
            self._fail(job, JobFailure("invalid_setting", error.message))
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, OSError) as error:
            _log.exception("The job %s failed because its state could not be stored.", job["id"])
            reason = getattr(error, "strerror", None) or str(error)
            message = f"The state of the job could not be stored: {reason}. Free disk space, then create a new job."
            self._fail(job, JobFailure("storage_error", message))
        except Exception as error:  # noqa: BLE001 - see above
            _log.exception("The job %s failed unexpectedly.", job["id"])
            message = f"The local service failed ({type(error).__name__}). Its log has the traceback."
            self._fail(job, JobFailure("server_error", message))

    def _fail(self, job: dict[str, Any], failure: JobFailure) -> None:
        error = {"code": failure.code, "message": failure.message, "param": failure.param}
        event = new_event(f"{LABEL}: the job failed. {failure.message}", level="error")
        fields: dict[str, Any] = {"status": "failed", "finished_at": int(time.time()), "error": error}
        self._store.fail_job(job["id"], event, expect=ACTIVE, **fields)

    def _change_status(self, job: dict[str, Any], status: str, message: str, warning: str | None = None) -> bool:
        """Change a job's status and add its events; return False if the status has changed meanwhile."""
        with self._store.transaction():
            if self._store.update_job(job["id"], expect=(job["status"],), status=status) is None:
                return False
            self._store.add("event", new_event(f"{LABEL}: {message}"), parent=job["id"])
            if warning is not None:
                self._store.add("event", new_event(f"{LABEL}: {warning}", level="warn"), parent=job["id"])
        job.update(status=status)
        return True

    def _validate(self, job: dict[str, Any], _worker: JobWorker) -> None:
        records, _ = self._read_files(job)
        self._find_reward(job)
        self._change_status(job, "queued", f"the training file is valid: {len(records)} records. The job is queued.")
        self._training.wake()

    def _read_files(self, job: dict[str, Any]) -> tuple[list[Record], list[Record]]:
        training = self._read_records(job, "training_file", self._settings.minimum_records)
        return training, [] if job["validation_file"] is None else self._read_records(job, "validation_file", 1)

    def _read_records(self, job: dict[str, Any], name: str, minimum: int) -> list[Record]:
        try:
            return read_records(self._store.read_file(job[name]), minimum=minimum)
        except InvalidFileError as error:
            raise JobFailure(f"invalid_{name}", error.message, name) from error
        except FileNotFoundError as error:
            raise JobFailure(f"invalid_{name}", f"The file '{job[name]}' was deleted.", name) from error

    def _find_reward(self, job: dict[str, Any]) -> RewardFunction:
        arn = LambdaArn(job["method"]["reinforcement"]["grader"]["lambda"]["function"])
        rewards = self._settings.rewards
        if isinstance(rewards, RewardFunction):
            return rewards
        unqualified = arn.removesuffix(f":{arn.qualifier}") if arn.qualifier else arn
        for name in (arn, unqualified, arn.name):
            if name in (rewards or {}):
                return cast("Mapping[str, RewardFunction]", rewards)[name]
        startup = "without a reward; pass reward=…" if rewards is None else f"with these: {', '.join(sorted(rewards))}"
        message = f"Function not found: {arn}. The local service was started {startup}."
        raise JobFailure("reward_function_not_found", message, _FUNCTION_FIELD)

    def _train(self, job: dict[str, Any], worker: JobWorker) -> None:
        records, validation = self._read_files(job)
        hyperparameters = job["method"]["reinforcement"]["hyperparameters"]
        reward = self._find_reward(job)
        trainer = Trainer(
            records,
            reward,
            validation=validation,
            seed=self._settings.seed,
            group_size=self._settings.group_size,
            gold=self._settings.gold,
            **{name: hyperparameters[name] for name in _TRAINER_SETTINGS},
        )
        message = f"training has started: {trainer.total_steps} steps."
        reason = reward.isolate()
        warning = None if reason is None else _SHARED_PROCESS_WARNING.format(reason)
        if job["status"] == "queued" and not self._change_status(job, "running", message, warning):
            return
        JobRun(self._store, job, trainer, worker, self._settings.pace).run()


@dataclass(eq=False)
class JobFailure(Exception):  # noqa: N818 - it becomes the job's error
    """The error of a failed job."""

    code: str
    message: str
    param: str | None = None


class JobRun:
    """The training of a job, which continues after the last stored step."""

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
        self._checkpoint_steps = {
            math.ceil(total * quarter / _CHECKPOINT_COUNT) for quarter in range(1, _CHECKPOINT_COUNT + 1)
        }
        self._pending_events: list[dict[str, Any]] = []
        self._next_write = 0.0

    def run(self) -> None:
        """Train until the job is done or cancelled, or the service stops. Raise `JobFailure` if the reward failed."""
        while self._trainer.done < self._trainer.total_steps:
            metrics = self._step()
            is_checkpoint = metrics["step"] in self._checkpoint_steps
            if is_checkpoint or self._pace or self._worker.stopping or time.monotonic() >= self._next_write:
                if not self._write(metrics if is_checkpoint else None):
                    return
                until = time.monotonic() + self._pace
                while not self._worker.stopping and (left := until - time.monotonic()) > 0 and self._is_running():
                    self._worker.pause(left)
            if self._worker.stopping:
                return
        self._finish()

    def _step(self) -> dict[str, Any]:
        try:
            metrics: dict[str, Any] = dict(self._trainer.step(self._trainer.done + 1))
        except RewardError as error:
            raise JobFailure("reward_function_error", error.message, _FUNCTION_FIELD) from error
        message = f"Step {metrics['step']}/{metrics['total_steps']}: training metrics"
        self._pending_events.append(new_event(message, data=metrics))
        tokens = self._progress.tokens + self._trainer.tokens
        self._progress = self._progress._replace(step=metrics["step"], tokens=tokens)
        return metrics

    def _write(self, checkpoint: dict[str, Any] | None) -> bool:
        """Store the steps since the last call; return False if the job is no longer running."""
        start = time.monotonic()
        state = self._trainer.state()
        with self._store.transaction():
            if not self._is_running():
                return False
            for event in self._pending_events:
                self._store.add("event", event, parent=self._job["id"])
            if checkpoint is not None:
                self._add_checkpoint(checkpoint, state)
            self._store.save_progress(self._job["id"], self._progress._replace(state=state))
        self._pending_events = []
        self._next_write = time.monotonic() + (time.monotonic() - start) * _WRITE_SHARE
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

    def _finish(self) -> None:
        job, now, model = self._job["id"], int(time.time()), self._model_name
        fields: dict[str, Any] = {"fine_tuned_model": model, "trained_tokens": self._progress.tokens}
        with self._store.transaction():
            if not self._store.update_job(job, expect=("running",), status="succeeded", finished_at=now, **fields):
                return
            self._store.save_policy(model, job=job, created=now, tuned=True, state=self._trainer.state())
            self._store.add("event", new_event(f"{LABEL}: the tuned model is ready: {model}."), parent=job)
            self._store.add("event", new_event(f"{LABEL}: the job has succeeded."), parent=job)


_Work = Callable[[dict[str, Any], "JobWorker"], None]


class JobWorker(threading.Thread):
    """A thread that works through the jobs in certain statuses, oldest first, until `stopping` is true."""

    def __init__(self, store: Store, statuses: tuple[str, ...], work: _Work, name: str) -> None:
        # The thread is a daemon, because a reward function that never returns must not keep the process alive.
        super().__init__(name=name, daemon=True)
        self.stopping = False
        self._store = store
        self._statuses = statuses
        self._work = work
        self._changed = threading.Event()

    def wake(self) -> None:
        """Notify the thread that a job has changed."""
        self._changed.set()

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until a job changes."""
        if self._changed.wait(seconds):
            self._changed.clear()

    def stop(self) -> None:
        """Ask the thread to end after the current step."""
        self.stopping = True
        self._changed.set()

    def run(self) -> None:
        """Work until `stop` is called."""
        try:
            while not self.stopping:
                job = self._store.next_job(*self._statuses)
                if job is not None:
                    self._work(job, self)
                elif self._store.has_unsaved_failures:
                    self._store.save_failures()
                    self.pause(_SAVE_INTERVAL)
                else:
                    self._changed.wait()
                    self._changed.clear()
        except sqlite3.ProgrammingError:
            # The service closed the store while a reward function was still running, because stopping waits only
            # `_STOP_TIMEOUT` seconds. The interrupted step is repeated at the next start.
            if not self.stopping:
                raise
