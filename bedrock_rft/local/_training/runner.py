"""Jobs on their way: validated on one thread, trained on another, so that checking never waits for training.

A status changes only from the one the writer believes the job is in, so a cancel is never overwritten.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_rft.local._service.responses import REHEARSAL
from bedrock_rft.local._service.routes import ACTIVE, event
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.dataset import InvalidFile, Record, read_records
from bedrock_rft.local._training.reward import Reward
from bedrock_rft.local._training.run import FUNCTION, Failure, Run
from bedrock_rft.local._training.trainer import Trainer
from bedrock_rft.local._training.worker_thread import Lane
from bedrock_rft.types.arn import LambdaArn

__all__ = ["Runner", "Settings"]

_log = logging.getLogger("bedrock_rft.local")


@dataclass(frozen=True)
class Settings:
    """How jobs run.

    Attributes:
        rewards: what scores: one for every function, or one for each by its name or ARN.
        seed: of the training's random numbers.
        pace: seconds between steps.
        minimum_records: the smallest training file taken.
        group_size: answers sampled per prompt.
    """

    rewards: Reward | Mapping[str, Reward] | None = None
    seed: int = 0
    pace: float = 0.0
    minimum_records: int = 100
    group_size: int = 8


class Runner:
    """Runs the jobs of a store until it is stopped. A job that is not finished by then goes on at the next start."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._training = Lane(store, ("running", "queued"), self._guarded(self._train), name="local-training")
        validating = Lane(store, ("validating_files",), self._guarded(self._validate), name="local-validating")
        self._lanes = (validating, self._training)

    def start(self) -> None:
        """Begin, with whatever was left."""
        for lane in self._lanes:
            lane.start()

    def wake(self) -> None:
        """Say that a job was made or cancelled."""
        for lane in self._lanes:
            lane.wake()

    def stop(self) -> None:
        """Stop after the step that is being taken."""
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.join()

    def _guarded(self, work: Callable[[dict[str, Any], Lane], None]) -> Callable[[dict[str, Any], Lane], None]:
        """Turn whatever goes wrong into the job's outcome."""

        def run(job: dict[str, Any], lane: Lane) -> None:
            try:
                work(job, lane)
            except Failure as failure:
                self._fail(job, failure)
            except sqlite3.ProgrammingError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the job's outcome
                # A job that stays active would be taken up again at once, and for ever.
                _log.exception("The job %s failed in a way that was not expected.", job["id"])
                self._fail(job, Failure("server_error", f"The rehearsal itself failed ({type(error).__name__})."))

        return run

    def _fail(self, job: dict[str, Any], failure: Failure) -> None:
        error = {"code": failure.code, "message": failure.message, "param": failure.param}
        with self._store.transaction():
            if self._store.change(job["id"], expect=ACTIVE, status="failed", finished_at=int(time.time()), error=error):
                said = event(f"{REHEARSAL}: the job failed. {failure.message}", level="error")
                self._store.add("event", said, parent=job["id"])

    def _move(self, job: dict[str, Any], status: str, message: str, **fields: Any) -> bool:
        """Change a job's status and say so, unless it is not in the status it was seen in."""
        with self._store.transaction():
            if self._store.change(job["id"], expect=(job["status"],), status=status, **fields) is None:
                return False
            self._store.add("event", event(f"{REHEARSAL}: {message}"), parent=job["id"])
        job.update(fields, status=status)
        return True

    def _validate(self, job: dict[str, Any], _: Lane) -> None:
        records, validation = self._files(job)
        self._reward(job)
        for file, read in ((job["training_file"], records), (job["validation_file"], validation)):
            if file is not None:
                self._store.index(file, [record.prompt_key for record in read])
        self._move(job, "queued", f"the training file is valid: {len(records)} records. The job is queued.")
        self._training.wake()

    def _files(self, job: dict[str, Any]) -> tuple[list[Record], list[Record]]:
        training = self._records(job, "training_file", self._settings.minimum_records)
        return training, [] if job["validation_file"] is None else self._records(job, "validation_file", 1)

    def _records(self, job: dict[str, Any], name: str, minimum: int) -> list[Record]:
        try:
            return read_records(self._store.content(job[name]), minimum=minimum)
        except InvalidFile as error:
            raise Failure(f"invalid_{name}", error.message, name) from error
        except FileNotFoundError as error:
            raise Failure(f"invalid_{name}", f"The file '{job[name]}' was deleted.", name) from error

    def _reward(self, job: dict[str, Any]) -> Reward:
        arn = LambdaArn(job["method"]["reinforcement"]["grader"]["lambda"]["function"])
        rewards = self._settings.rewards
        if isinstance(rewards, Reward):
            return rewards
        if rewards is None:
            why = f"Function not found: {arn}. The rehearsal was started without a reward; give it one."
            raise Failure("reward_function_not_found", why, FUNCTION)
        unqualified = arn.removesuffix(f":{arn.qualifier}") if arn.qualifier else arn
        for name in (arn, unqualified, arn.name):
            if name in rewards:
                return rewards[name]
        known = ", ".join(sorted(rewards)) or "none"
        raise Failure(
            "reward_function_not_found", f"Function not found: {arn}. The rehearsal knows: {known}.", FUNCTION
        )

    def _train(self, job: dict[str, Any], lane: Lane) -> None:
        records, validation = self._files(job)
        group, wanted = self._settings.group_size, job["method"]["reinforcement"]["hyperparameters"]
        trainer = Trainer(
            records, self._reward(job), validation=validation, seed=self._settings.seed, group_size=group, **wanted
        )
        batch: int = wanted["batch_size"]
        per_epoch = math.ceil(len(records) / batch)

        def answers(step: int) -> int:
            # The last batch of an epoch holds what is left.
            return group * min(batch, len(records) - (step - 1) % per_epoch * batch)

        start = f"training has started: {trainer.total_steps} steps."
        if job["status"] == "queued" and not self._move(job, "running", start):
            return
        Run(self._store, job, trainer, lane, pace=self._settings.pace, answers=answers).go()
