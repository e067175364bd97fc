"""MLflow tracker. Its run is found by a tag with the job id."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.trackers._protocol import distinct_name, job_settings, load_library, scalars
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["MLflow"]

_TAG = "bedrock_rft.job"
_INVALID = re.compile(r"[^\w\- /]|/(?=/|$)|^/+")  # in a name that is valid on every file system
_LONGEST = 250
_STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class MLflow:
    """Record a job as an MLflow run. Needs the extra 'mlflow'.

    The run is found again by its tag `bedrock_rft.job`, and a metric that it has for a step is not logged again.

    Args:
        tracking_uri: the tracking server or folder. Default: MLflow's own setting, such as MLFLOW_TRACKING_URI.
        experiment: the experiment to record in, created if it does not exist.
        tags: more tags for a new run.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment: str = "bedrock_rft",
        tags: Mapping[str, str] | None = None,
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
                client.log_param(run.info.run_id, _name(name), str(value))
        self._run = run.info.run_id

    def step(self, metrics: TrainingMetrics, timestamp: float | None) -> None:
        """Log metrics that are missing in the run."""
        entities: Any = import_module("mlflow.entities")
        step, moment = metrics.step or 0, int((time.time() if timestamp is None else timestamp) * 1000)
        named = [(_name(name), value) for name, value in scalars(metrics)]
        fresh = [entities.Metric(name, value, moment, step) for name, value in named if (name, step) not in self._known]
        if fresh:
            self._client.log_batch(self._run, metrics=fresh)
            self._known |= {(metric.key, step) for metric in fresh}

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store the name of the checkpoint in a tag."""
        step = checkpoint.step_number if checkpoint.step_number is not None else _name(checkpoint.id)
        model = checkpoint.fine_tuned_model_checkpoint or checkpoint.id
        self._client.set_tag(self._run, f"bedrock_rft.checkpoint.{step}", model)

    def ended(self, job: Job) -> None:
        """End the run with the status of the job, and store the name of the tuned model in a tag."""
        if job.fine_tuned_model:
            self._client.set_tag(self._run, "bedrock_rft.fine_tuned_model", job.fine_tuned_model)
        self._client.set_terminated(self._run, _STATUSES.get(job.status, "FINISHED"))

    def close(self) -> None:
        """Do nothing: MLflow keeps no connection open."""


def _name(name: str) -> str:
    return distinct_name(name, _INVALID, _LONGEST)


def _quote(text: str) -> str:
    for quote in ("'", '"'):
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise ConfigurationError("MLflow cannot search for a job id that contains both kinds of quotes.")
