"""TensorBoard tracker. Its run is a folder named after the job."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from bedrock_rft.trackers._protocol import distinct_name, job_settings, load_library, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["TensorBoard"]

_INVALID_IN_FOLDERS = re.compile(r"[^\w.-]|^\.+")
_INVALID_IN_TAGS = re.compile(r"[^\w./-]|^/+")  # the library replaces them too, so that different tags become equal
_LONGEST = 250


class TensorBoard:
    """Record a job for TensorBoard. Needs the extra 'tensorboard'.

    A job that is watched again is recorded in the same folder from its first step. Records of earlier watches are
    marked as superseded (`purge_step`), so TensorBoard shows each step once.

    Args:
        folder: contains a folder for each job. `tensorboard --logdir FOLDER` shows them.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs") -> None:
        self._folder = Path(folder)
        self._writer: Any = None

    def started(self, job: Job) -> None:
        """Open the folder of the job."""
        library = load_library("tensorboardX", "TensorBoard", "tensorboard")
        folder = self._folder / _INVALID_IN_FOLDERS.sub("_", job.id)[:128]
        purge_step = 0 if any(folder.glob("events.out.tfevents.*")) else None
        # Names of files begin with the second, and files are read in their order. Two in one second must differ.
        suffix = f".{time.time_ns()}"
        self._writer = library.SummaryWriter(logdir=str(folder), purge_step=purge_step, filename_suffix=suffix)
        for name, value in job_settings(job).items():
            self._writer.add_text(_tag(name), str(value), 0)

    def step(self, metrics: TrainingMetrics, timestamp: float | None) -> None:
        """Write the metrics."""
        for name, value in scalars(metrics):
            self._writer.add_scalar(_tag(name), value, metrics.step or 0, walltime=timestamp)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the name of the checkpoint."""
        model = checkpoint.fine_tuned_model_checkpoint or checkpoint.id
        self._writer.add_text("checkpoint", model, checkpoint.step_number or 0)

    def ended(self, job: Job) -> None:
        """Write the status of the job and the name of the tuned model."""
        self._writer.add_text("status", f"{job.status} {job.fine_tuned_model or ''}".rstrip(), 0)

    def close(self) -> None:
        """Write buffered data and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tag(name: str) -> str:
    return distinct_name(name, _INVALID_IN_TAGS, _LONGEST)
