"""Checkpoints: models saved during a job."""

from __future__ import annotations

from bedrock_rft.types._payload import Id, Payload


class CheckpointMetrics(Payload):
    """Metrics of a checkpoint. The names are not documented, so all are kept."""

    step: int | float | None = None


class Checkpoint(Payload):
    """A model saved at one step of a job (`GET /fine_tuning/jobs/{id}/checkpoints`)."""

    id: Id
    object: str = "fine_tuning.job.checkpoint"
    created_at: int | None = None
    """Unix seconds."""
    fine_tuning_job_id: str | None = None
    fine_tuned_model_checkpoint: str | None = None
    """The name to use as `model` in a chat completion."""
    step_number: int | None = None
    metrics: CheckpointMetrics | None = None
