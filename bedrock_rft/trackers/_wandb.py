"""Weights & Biases tracker. The id of its run is the id of the job."""

from __future__ import annotations

import re
from typing import Any

from bedrock_rft.trackers._protocol import job_settings, load_library, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["WeightsAndBiases"]

_INVALID_IN_IDS = re.compile(r"[^\w.-]")


class WeightsAndBiases:
    """Record a job as a Weights & Biases run. Needs the extra 'wandb'.

    An existing run with the id of the job is resumed, and steps that it has are not logged again. In offline mode no
    run can be looked up, so each watch records the whole job under the same id.

    Args:
        project: the project to record in.
        options: more arguments of `wandb.init`, such as `entity`, `group` or `mode="offline"`.
    """

    def __init__(self, project: str = "bedrock_rft", **options: Any) -> None:
        self._options = {"project": project, **options}
        self._run: Any = None

    def started(self, job: Job) -> None:
        """Resume the run of the job, or create it."""
        wandb = load_library("wandb", "WeightsAndBiases", "wandb")
        name = _INVALID_IN_IDS.sub("-", job.id)[:128]
        settings = {"id": name, "name": job.id, "resume": "allow", "config": job_settings(job), **self._options}
        self._run = wandb.init(**settings)

    def step(self, metrics: TrainingMetrics, timestamp: float | None) -> None:
        """Log the metrics, unless the run has a later step."""
        del timestamp  # the library uses its own clock
        numbers = dict(scalars(metrics))
        if metrics.step is None:
            self._run.summary.update(numbers)
        elif metrics.step >= self._run.step:
            self._run.log(numbers, step=metrics.step)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store the name of the checkpoint in the summary."""
        step = checkpoint.step_number if checkpoint.step_number is not None else checkpoint.id
        self._run.summary[f"checkpoint/{step}"] = checkpoint.fine_tuned_model_checkpoint or checkpoint.id

    def ended(self, job: Job) -> None:
        """Store the status of the job and the name of the tuned model in the summary."""
        self._run.summary.update({"status": job.status, "fine_tuned_model": job.fine_tuned_model})

    def close(self) -> None:
        """Finish the run. It can be resumed if the job is still running."""
        if self._run is not None:
            self._run.finish()
            self._run = None
