"""Payloads of the service, as frozen pydantic models.

Requests are validated strictly. Responses are read leniently: unknown fields, statuses, event types and graders are
kept (see `bedrock_rft.types._payload`).
"""

from __future__ import annotations

from bedrock_rft.types._payload import Page
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.checkpoints import Checkpoint, CheckpointMetrics
from bedrock_rft.types.events import Event, TrainingMetrics
from bedrock_rft.types.files import File, FileDeleted
from bedrock_rft.types.jobs import CreateJob, Job, JobProblem, JobStatus
from bedrock_rft.types.method import (
    Grader,
    Hyperparameters,
    JobHyperparameters,
    LambdaFunction,
    LambdaGrader,
    Method,
    OtherGrader,
    Reinforcement,
)
from bedrock_rft.types.models import Model

__all__ = [
    "Checkpoint",
    "CheckpointMetrics",
    "CreateJob",
    "Event",
    "File",
    "FileDeleted",
    "Grader",
    "Hyperparameters",
    "Job",
    "JobHyperparameters",
    "JobProblem",
    "JobStatus",
    "LambdaArn",
    "LambdaFunction",
    "LambdaGrader",
    "Method",
    "Model",
    "OtherGrader",
    "Page",
    "Reinforcement",
    "TrainingMetrics",
]
