"""Adapters of MLflow, Weights & Biases and TensorBoard."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.trackers._protocol import distinct_name, job_settings, load_library, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

_TAG = "bedrock_rft.job"
_INVALID_IN_MLFLOW = re.compile(r"[^\w\- /]|/(?=/|$)|^/+")  # in a name that is valid on every file system
_STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
_INVALID_IN_FOLDERS = re.compile(r"[^\w.-]|^\.+")
_INVALID_IN_TAGS = re.compile(r"[^\w./-]|^/+")  # the library replaces them too, so that different tags become equal
_INVALID_IN_IDS = re.compile(r"[^\w.-]")


class MLflow:
    """Record a job as an MLflow run. Needs the extra 'mlflow'.

    The run is found again by its tag `bedrock_rft.job`. A metric that the run already has for a step is not logged
    again.

    Args:
        tracking_uri: the tracking server or folder. Default: MLflow's own setting, such as MLFLOW_TRACKING_URI.
        experiment: the experiment to record in, created if it does not exist.
        tags: more tags for a new run.
    """

    def __init__(
        self, tracking_uri: str | None = None, *, experiment: str = "bedrock_rft", tags: Mapping[str, str] | None = None
    ) -> None:
        self._uri = tracking_uri
        self._experiment = experiment
        self._tags = dict(tags or {})
        self._client: Any = None
        self._run = ""
        self._known: set[tuple[str, int]] = set()

    def started(self, job: Job) -> None:
        """Find the run of the job, or create it."""
        mlflow = load_library("mlflow", "MLflow", "mlflow")
        client = self._client = mlflow.MlflowClient(tracking_uri=self._uri)
        existing = client.get_experiment_by_name(self._experiment)
        experiment = existing.experiment_id if existing is not None else client.create_experiment(self._experiment)
        found = client.search_runs([experiment], filter_string=f"tags.`{_TAG}` = {_quote(job.id)}", max_results=1)
        if found:
            run = found[0]
            self._known = {
                (name, metric.step)
                for name in run.data.metrics
                for metric in client.get_metric_history(run.info.run_id, name)
            }
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = client.create_run(experiment, tags={**self._tags, _TAG: job.id}, run_name=job.id)
            for name, value in job_settings(job).items():
                client.log_param(run.info.run_id, distinct_name(name, _INVALID_IN_MLFLOW), str(value))
        self._run = run.info.run_id

    def step(self, metrics: TrainingMetrics, timestamp: float | None) -> None:
        """Log metrics that are missing in the run."""
        entities: Any = import_module("mlflow.entities")
        step, moment = metrics.step or 0, int((time.time() if timestamp is None else timestamp) * 1000)
        named = [(distinct_name(name, _INVALID_IN_MLFLOW), value) for name, value in scalars(metrics)]
        fresh = [entities.Metric(name, value, moment, step) for name, value in named if (name, step) not in self._known]
        if fresh:
            self._client.log_batch(self._run, metrics=fresh)
            self._known |= {(metric.key, step) for metric in fresh}

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store the name of the checkpoint in a tag."""
        step = (
            checkpoint.step_number
            if checkpoint.step_number is not None
            else distinct_name(checkpoint.id, _INVALID_IN_MLFLOW)
        )
        model = checkpoint.fine_tuned_model_checkpoint or checkpoint.id
        self._client.set_tag(self._run, f"bedrock_rft.checkpoint.{step}", model)

    def ended(self, job: Job) -> None:
        """End the run with the status of the job, and store the name of the tuned model in a tag."""
        if job.fine_tuned_model:
            self._client.set_tag(self._run, "bedrock_rft.fine_tuned_model", job.fine_tuned_model)
        self._client.set_terminated(self._run, _STATUSES.get(job.status, "FINISHED"))

    def close(self) -> None:
        """Do nothing: MLflow keeps no connection open."""


def _quote(text: str) -> str:
    for quote in ("'", '"'):
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise ConfigurationError("MLflow cannot search for a job id that contains both kinds of quotes.")


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
        # File names begin with the time in seconds, and files are read in the order of their names. Two files of one
        # second need different names.
        suffix = f".{time.time_ns()}"
        self._writer = library.SummaryWriter(logdir=str(folder), purge_step=purge_step, filename_suffix=suffix)
        for name, value in job_settings(job).items():
            self._writer.add_text(distinct_name(name, _INVALID_IN_TAGS), str(value), 0)

    def step(self, metrics: TrainingMetrics, timestamp: float | None) -> None:
        """Write the metrics."""
        for name, value in scalars(metrics):
            self._writer.add_scalar(distinct_name(name, _INVALID_IN_TAGS), value, metrics.step or 0, walltime=timestamp)

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


class WeightsAndBiases:
    """Record a job as a Weights & Biases run. Needs the extra 'wandb'.

    An existing run with the id of the job is resumed, and steps that the run already has are not logged again. In
    offline mode, existing runs cannot be found, so each watch records the whole job under the same id.

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
        """Finish the run. If the job is still running, the run can be resumed."""
        if self._run is not None:
            self._run.finish()
            self._run = None
