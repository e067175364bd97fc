"""A run in a folder that TensorBoard reads, named after the job."""

from __future__ import annotations

import os
import re
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from bedrock_rft.errors import MissingExtraError
from bedrock_rft.trackers._protocol import described, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["TensorBoard"]

_NOT_IN_FOLDERS = re.compile(r"[^\w.-]|^\.+")


class TensorBoard:
    """Records a job for TensorBoard; the extra is 'tensorboard'.

    A job that is watched again goes into the same folder. It is told from its beginning, and what earlier watches wrote
    is marked as superseded (`purge_step`), so TensorBoard shows each step once.

    Args:
        folder: where runs are kept; each job has a folder of its own in it. `tensorboard --logdir FOLDER` shows them.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs") -> None:
        self._folder = Path(folder)
        self._writer: Any = None

    def started(self, job: Job) -> None:
        """Open the job's folder."""
        try:
            library: Any = import_module("tensorboardX")
        except ImportError:
            raise MissingExtraError("TensorBoard()", "tensorboard") from None
        home = self._folder / _NOT_IN_FOLDERS.sub("_", job.id)[:128]
        again = any(home.glob("events.out.tfevents.*"))
        # Files are read in the order of their names, which begin with the second; two within one must not meet.
        suffix = f".{time.time_ns()}"
        self._writer = library.SummaryWriter(logdir=str(home), purge_step=0 if again else None, filename_suffix=suffix)
        for name, value in described(job).items():
            self._writer.add_text(name, str(value), 0)

    def step(self, metrics: TrainingMetrics, at: float | None) -> None:
        """Write the numbers."""
        for name, value in scalars(metrics):
            self._writer.add_scalar(name, value, metrics.step or 0, walltime=at)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the model's name."""
        model = checkpoint.fine_tuned_model_checkpoint or checkpoint.id
        self._writer.add_text("checkpoint", model, checkpoint.step_number or 0)

    def ended(self, job: Job) -> None:
        """Write how the job has ended."""
        self._writer.add_text("status", f"{job.status} {job.fine_tuned_model or ''}".rstrip(), 0)

    def close(self) -> None:
        """Write what is in memory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
