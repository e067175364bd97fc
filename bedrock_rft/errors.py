"""Everything that can go wrong, as one tree.

```
BedrockRFTError
├─ ConfigurationError (ValueError)      nothing was sent: no region, no identity, contradictory arguments
│   └─ MissingExtraError (ImportError)  an optional dependency is not installed
├─ DatasetError (ValueError)            a training file is not what the service takes
│   └─ DatasetPermissionError (PermissionError)  it may not be read, or not be written
├─ RewardError                          a reward raised, or answered nonsense
├─ APIError                             an exchange with the service failed
│   ├─ APIConnectionError               no reply came
│   │   └─ APITimeoutError (TimeoutError)
│   ├─ APIResponseError                 a reply came that is not the service's
│   │   └─ RedirectRefusedError         it pointed somewhere else; nothing followed it
│   └─ APIStatusError                   the service said no
│       └─ BadRequestError AuthenticationError PermissionDeniedError NotFoundError
│          ConflictError RateLimitError InternalServerError
├─ AmbiguousCreateError                 a job may or may not exist
├─ JobFailedError · JobCancelledError
└─ WaitTimeoutError (TimeoutError)      the job is still running
```

Messages say what, why and what now, in their first line. All of them pickle, and none holds a secret: no request, no
header of a request and no body is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.errors import (
    AmbiguousCreateError,
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTError,
    BedrockRFTWarning,
    ConfigurationError,
    ConflictError,
    DatasetError,
    DatasetPermissionError,
    InternalServerError,
    MissingExtraError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
    RewardError,
)

if TYPE_CHECKING:
    from bedrock_rft.types.jobs import Job

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AmbiguousCreateError",
    "AuthenticationError",
    "BadRequestError",
    "BedrockRFTError",
    "BedrockRFTWarning",
    "ConfigurationError",
    "ConflictError",
    "DatasetError",
    "DatasetPermissionError",
    "InternalServerError",
    "JobCancelledError",
    "JobFailedError",
    "MissingExtraError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectRefusedError",
    "RewardError",
    "WaitTimeoutError",
]


class _JobError(BedrockRFTError):
    """Something about one job, `.job`, as it was when last seen."""

    def __init__(self, message: str, *, job: Job) -> None:
        super().__init__(message)
        self.job = job
        self.job_id, self.status, self.error = job.id, job.status, job.error


class JobFailedError(_JobError):
    """The job failed; `.job.error` has the service's code, message and param."""


class JobCancelledError(_JobError):
    """The job was cancelled, by whomever."""


class WaitTimeoutError(_JobError, TimeoutError):
    """The time given to a wait is over. The job is still running."""
