"""Fine-tuning jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bedrock_rft.types._payload import Id, Payload, Request
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.method import LambdaGrader, Method

OPERATIONS = (
    ("POST", r"/fine_tuning/jobs", "CreateFineTuningJob"),
    ("GET", r"/fine_tuning/jobs/.*", "GetFineTuningJob"),
    ("GET", r"/fine_tuning/jobs", "ListFineTuningJobs"),
    ("POST", r"/fine_tuning/jobs/[^/]*/cancel", "CancelFineTuningJob"),
)
"""HTTP method, regular expression for the whole path, and IAM action of each operation."""

JobStatus = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"] | str
"""Known statuses. Unknown statuses are kept, and count as not final."""

MARKER = "bedrock_rft_marker"
"""The key of a job's metadata that holds its name or another unique text."""

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""Final statuses."""


class JobProblem(Payload):
    """Why a job failed."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    """The parameter that caused the failure, such as `training_file`."""


class Job(Payload):
    """A fine-tuning job, as it was when it was fetched (`GET /fine_tuning/jobs/{id}`)."""

    id: Id
    object: str = "fine_tuning.job"
    status: JobStatus = ""
    created_at: int | None = None
    """Unix seconds."""
    finished_at: int | None = None
    """Unix seconds; None while the job runs."""
    model: str = ""
    """The base model."""
    fine_tuned_model: str | None = None
    """The name to use as `model` in a chat completion, once the job has succeeded."""
    training_file: str = ""
    validation_file: str | None = None
    method: Method | None = None
    metadata: dict[str, Any] | None = None
    error: JobProblem | None = None
    """The problem of a failed job. Some responses have an empty problem without a failure, so the status decides."""
    trained_tokens: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Return True if the job has succeeded, failed or been cancelled."""
        return self.status in TERMINAL

    @property
    def reward(self) -> LambdaArn | None:
        """Return the ARN of the reward function, if the job includes it."""
        grader = self.method.reinforcement.grader if self.method and self.method.reinforcement else None
        return grader.arn if isinstance(grader, LambdaGrader) else None


def hyperparameters_of(job: Job | None) -> dict[str, Any]:
    """Return the hyperparameters that a job reports, without those that are null."""
    method = job.method.reinforcement if job and job.method else None
    found = method.hyperparameters if method else None
    return {name: value for name, value in found if value is not None} if found else {}


class CreateReinforcement(Request):
    """Reward and hyperparameters of a job to create."""

    grader: LambdaGrader
    hyperparameters: dict[str, Any] = Field(default_factory=dict)


class CreateMethod(Request):
    """Training method of a job to create."""

    type: Literal["reinforcement"] = "reinforcement"
    reinforcement: CreateReinforcement


class CreateJob(Request):
    """The body of `POST /fine_tuning/jobs`. The service rejects unknown fields, such as `suffix`."""

    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    method: CreateMethod
    metadata: dict[str, str]

    def sent(self) -> dict[str, Any]:
        """Return the JSON body of the request."""
        return self.model_dump(by_alias=True, exclude_none=True)
