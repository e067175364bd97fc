"""What records a run: five methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from bedrock_rft.metrics._series import number
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["Tracker", "described", "scalars"]


@runtime_checkable
class Tracker(Protocol):
    """Records a run that is watched.

    Every watch tells a run from its beginning, whether or not it was watched before, so whoever records must know a job
    again by its id and not record twice what is there already. What a method raises does not end the watch: there is
    one warning, and the same call is made again at the next look, before those that follow it.
    """

    def started(self, job: Job) -> None:
        """The watch has begun. Called first, and once."""
        ...

    def step(self, metrics: TrainingMetrics, at: float | None) -> None:
        """There are numbers of a step. What comes later about the same step comes as another call.

        Args:
            metrics: the numbers.
            at: Unix seconds when they came, where the service says so.
        """
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """A model was saved."""
        ...

    def ended(self, job: Job) -> None:
        """The job has succeeded, failed or been cancelled."""
        ...

    def close(self) -> None:
        """The watch is over, whether or not the job is. Called last, and once."""
        ...


def scalars(metrics: TrainingMetrics) -> Iterator[tuple[str, float]]:
    """The numbers of a step by name; what is no number is left out."""
    for name, value in metrics:
        found = number(value)
        if found is not None and name not in {"step", "total_steps"}:
            yield name, found


def described(job: Job) -> dict[str, Any]:
    """What a job was started with, as it is looked up later."""
    method = job.method.reinforcement if job.method else None
    settings = method.hyperparameters if method else None
    found = {
        "model": job.model or None,
        "training_file": job.training_file or None,
        "validation_file": job.validation_file,
        "reward": str(job.reward) if job.reward else None,
        **(dict(settings) if settings is not None else {}),
    }
    return {name: value for name, value in found.items() if value is not None}
