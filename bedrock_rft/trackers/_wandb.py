"""A run in Weights & Biases, whose id is the job's."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from bedrock_rft.errors import MissingExtraError
from bedrock_rft.trackers._protocol import described, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["WeightsAndBiases"]

_NOT_IN_IDS = re.compile(r"[^\w.-]")


class WeightsAndBiases:
    """Records a job as a Weights & Biases run; the extra is 'wandb'.

    The run's id is the job's, and it is resumed where it is there already: what it has of a step is not logged again.
    Offline, where nothing can be looked up, each watch keeps a whole record of its own under the same id.

    Args:
        project: the project to record in.
        options: further arguments of `wandb.init`, such as `entity`, `group` or `mode="offline"`.
    """

    def __init__(self, project: str = "bedrock_rft", **options: Any) -> None:
        self._options = {"project": project, **options}
        self._run: Any = None

    def started(self, job: Job) -> None:
        """Resume the job's run, or begin one."""
        try:
            wandb: Any = import_module("wandb")
        except ImportError:
            raise MissingExtraError("WeightsAndBiases()", "wandb") from None
        name = _NOT_IN_IDS.sub("-", job.id)[:128]
        settings = {"id": name, "name": job.id, "resume": "allow", "config": described(job), **self._options}
        self._run = wandb.init(**settings)

    def step(self, metrics: TrainingMetrics, at: float | None) -> None:
        """Log the numbers, unless the run is past their step already."""
        del at  # the library keeps its own time
        numbers = dict(scalars(metrics))
        if metrics.step is None:
            self._run.summary.update(numbers)
        elif metrics.step >= self._run.step:
            self._run.log(numbers, step=metrics.step)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep the model's name in the summary."""
        step = checkpoint.step_number if checkpoint.step_number is not None else checkpoint.id
        self._run.summary[f"checkpoint/{step}"] = checkpoint.fine_tuned_model_checkpoint or checkpoint.id

    def ended(self, job: Job) -> None:
        """Keep how the job has ended in the summary."""
        self._run.summary.update({"status": job.status, "fine_tuned_model": job.fine_tuned_model})

    def close(self) -> None:
        """Finish the run, as the job may go on without it; it can be resumed."""
        if self._run is not None:
            self._run.finish()
            self._run = None
