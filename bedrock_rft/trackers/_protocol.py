"""Protocol of trackers, and functions that the adapters share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from bedrock_rft.errors import MissingExtraError
from bedrock_rft.metrics._series import number
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job, hyperparameters_of

_LONGEST = 250  # characters of a name that every tracker takes


@runtime_checkable
class Tracker(Protocol):
    """Record a watched job.

    Every watch reports a job from its first step, whether or not it was watched before. A tracker must find the record
    of a job by its id, and must not record anything twice. An exception of a method does not end the watch: there is
    one warning, and the same call is repeated after the next poll, before later calls.
    """

    def started(self, job: Job) -> None:
        """Start recording. This method is called first, and once."""
        ...

    def step(self, metrics: TrainingMetrics, timestamp: float | None, /) -> None:
        """Record the metrics of a step. Later metrics of the same step cause another call.

        Args:
            metrics: the metrics.
            timestamp: Unix time of the event of the metrics, or None if the service gives none.
        """
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record a checkpoint."""
        ...

    def ended(self, job: Job) -> None:
        """Record the end of the job."""
        ...

    def close(self) -> None:
        """Stop recording. This method is called last, and once, also if the job is still running."""
        ...


def load_library(module: str, tracker: str, extra: str) -> Any:
    """Import the library of a tracker. Raise `MissingExtraError` if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(f"{tracker}()", extra) from None


def scalars(metrics: TrainingMetrics) -> Iterator[tuple[str, float]]:
    """Return the numeric metrics of a step by name."""
    for name, value in metrics:
        found = number(value)
        if found is not None and name not in {"step", "total_steps"}:
            yield name, found


def job_settings(job: Job) -> dict[str, Any]:
    """Return the settings of a job, for the parameters of a run."""
    found = {
        "model": job.model or None,
        "training_file": job.training_file or None,
        "validation_file": job.validation_file,
        "reward": str(job.reward) if job.reward else None,
        **hyperparameters_of(job),
    }
    return {name: value for name, value in found.items() if value is not None}


def distinct_name(name: str, invalid: re.Pattern[str]) -> str:
    """Return a valid name. A changed name ends with a hash, so that different names stay different."""
    cleaned = invalid.sub("_", name)
    if cleaned == name and len(name) <= _LONGEST:
        return name
    suffix = f"_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return cleaned[: _LONGEST - len(suffix)] + suffix
