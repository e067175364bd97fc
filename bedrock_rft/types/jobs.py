"""Fine-tuning jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bedrock_rft.types._payload import Id, Payload, Request
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.method import LambdaGrader, Method

__all__ = ["TERMINAL", "CreateJob", "CreateMethod", "CreateReinforcement", "Job", "JobProblem", "JobStatus"]

JobStatus = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"] | str
"""The statuses of today. Others are kept as they come, and none of them ends a wait."""

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""The statuses after which nothing more happens."""


class JobProblem(Payload):
    """Why a job failed."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    """The part of the request that is to blame, such as `training_file`."""


class Job(Payload):
    """A fine-tuning job as it stood when it was read (`GET /fine_tuning/jobs/{id}`)."""

    id: Id
    object: str = "fine_tuning.job"
    status: JobStatus = ""
    created_at: int | None = None
    """Unix seconds."""
    finished_at: int | None = None
    """Unix seconds; None while it runs."""
    model: str = ""
    """The model that is tuned."""
    fine_tuned_model: str | None = None
    """The name to use as `model` in a chat completion, once the job has succeeded."""
    training_file: str = ""
    validation_file: str | None = None
    method: Method | None = None
    metadata: dict[str, Any] | None = None
    error: JobProblem | None = None
    """Why it failed. Some replies carry an empty one while all is well: the status decides."""
    trained_tokens: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether it has succeeded, failed or been cancelled."""
        return self.status in TERMINAL

    @property
    def reward(self) -> LambdaArn | None:
        """The ARN of the reward function, where the job says so."""
        grader = self.method.reinforcement.grader if self.method and self.method.reinforcement else None
        return grader.arn if isinstance(grader, LambdaGrader) else None


class CreateReinforcement(Request):
    """The reward and the settings of a job to be."""

    grader: LambdaGrader
    hyperparameters: dict[str, Any] = Field(default_factory=dict)


class CreateMethod(Request):
    """How a job to be trains."""

    type: Literal["reinforcement"] = "reinforcement"
    reinforcement: CreateReinforcement


class CreateJob(Request):
    """The body of `POST /fine_tuning/jobs`. The service refuses fields it does not know, `suffix` among them."""

    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    method: CreateMethod
    metadata: dict[str, str]

    def sent(self) -> dict[str, Any]:
        """What goes to the service."""
        return self.model_dump(by_alias=True, exclude_none=True)
