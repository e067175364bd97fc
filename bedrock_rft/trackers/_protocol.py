"""Protocol of trackers."""

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
    """Record a watched job.

    Every watch tells a run from its beginning, whether or not it was watched before, so whoever records must know a job
    again by its id and not record twice what is there already. What a method raises does not end the watch: there is
    one warning, and the same call is made again at the next look, before those that follow it.
    """

    def started(self, job: Job) -> None:
        """Start recording. Called once, first."""
        ...

    def step(self, metrics: TrainingMetrics, at: float | None) -> None:
        """Record the metrics of a step. Later metrics of the same step cause another call.

        Args:
            metrics: the numbers.
            at: Unix seconds when they came, where the service says so.
        """
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record a checkpoint."""
        ...

    def ended(self, job: Job) -> None:
        """Record the end of the job."""
        ...

    def close(self) -> None:
        """Stop recording. Called once, last, also if the job is still running."""
        ...


def scalars(metrics: TrainingMetrics) -> Iterator[tuple[str, float]]:
    """Return the numeric metrics of a step by name."""
    for name, value in metrics:
        found = number(value)
        if found is not None and name not in {"step", "total_steps"}:
            yield name, found


def described(job: Job) -> dict[str, Any]:
    """Return the settings of a job, for the parameters of a run."""
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
