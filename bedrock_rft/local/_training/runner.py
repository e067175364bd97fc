"""Run jobs: validate them on one thread and train them on another, so that validation never waits for training.

A job's status changes only from the status that the writer expects, so a cancellation is never overwritten.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._service.responses import LABEL
from bedrock_rft.local._service.routes import ACTIVE, new_event
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.candidates import Gold
from bedrock_rft.local._training.dataset import InvalidFileError, Record, read_records
from bedrock_rft.local._training.reward import RewardFunction
from bedrock_rft.local._training.run import FUNCTION, JobFailure, JobRun
from bedrock_rft.local._training.trainer import Trainer
from bedrock_rft.local._training.worker_thread import STOP_TIMEOUT, JobWorker
from bedrock_rft.types.arn import LambdaArn

__all__ = ["JobRunner", "Settings"]

_log = logging.getLogger("bedrock_rft.local")

_SHARED_PROCESS = (
    "the reward runs in the process of the service, because it cannot run in a process of its own: {} If it exits or "
    "crashes, the service ends too."
)
_TRAINER_SETTINGS = ("n_epochs", "batch_size", "learning_rate_multiplier")


@dataclass(frozen=True)
class Settings:
    """Settings of all jobs, as `Service` describes them; the rewards by function name or ARN, or one for all."""

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
        self._training = JobWorker(store, ("running", "queued"), self._train_or_fail, name="local-training")
        validating = JobWorker(store, ("validating_files",), self._validate_or_fail, name="local-validating")
        self._workers = (validating, self._training)

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
            worker.join(STOP_TIMEOUT)

    def _train_or_fail(self, job: dict[str, Any], worker: JobWorker) -> None:
        with self._failures(job):
            self._train(job, worker)

    def _validate_or_fail(self, job: dict[str, Any], _worker: JobWorker) -> None:
        with self._failures(job):
            self._validate(job)

    @contextlib.contextmanager
    def _failures(self, job: dict[str, Any]) -> Generator[None]:
        """Turn any exception into the job's error, because an active job would be run again and again."""
        try:
            yield
        except JobFailure as failure:
            self._fail(job, failure)
        except ConfigurationError as error:
            self._fail(job, JobFailure("invalid_setting", error.message))
        except sqlite3.ProgrammingError:  # the store is closed
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

    def _validate(self, job: dict[str, Any]) -> None:
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
        started = "without a reward; pass reward=…" if rewards is None else f"with these: {', '.join(sorted(rewards))}"
        message = f"Function not found: {arn}. The local service was started {started}."
        raise JobFailure("reward_function_not_found", message, FUNCTION)

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
        started = f"training has started: {trainer.total_steps} steps."
        reason = reward.isolate()
        warning = None if reason is None else _SHARED_PROCESS.format(reason)
        if job["status"] == "queued" and not self._change_status(job, "running", started, warning):
            return
        JobRun(self._store, job, trainer, worker, self._settings.pace).run()
