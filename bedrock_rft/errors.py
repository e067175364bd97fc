"""Public exceptions.

```
BedrockRFTError
├─ ConfigurationError (ValueError)      invalid settings or arguments; nothing was sent
│   └─ MissingExtraError (ImportError)  an optional dependency is not installed
├─ DatasetError (ValueError)            the service would reject a dataset
│   └─ DatasetPermissionError (PermissionError)  a dataset cannot be read or written
├─ RewardError                          a reward raised or returned an invalid result
├─ APIError                             a request to the service failed
│   ├─ APIConnectionError               no response was received
│   │   └─ APITimeoutError (TimeoutError)
│   ├─ APIResponseError                 the response is not valid for this service
│   │   └─ RedirectRefusedError         the response was a redirect; it was not followed
│   └─ APIStatusError                   the service returned an error status
│       └─ BadRequestError AuthenticationError PermissionDeniedError NotFoundError
│          ConflictError RateLimitError InternalServerError
├─ AmbiguousCreateError                 a job may or may not have been created
├─ JobFailedError · JobCancelledError
└─ WaitTimeoutError (TimeoutError)      the job is still running
```

Messages state what happened, why, and what to do; `help` of each class is its entry in the documentation. All
exceptions can be pickled. None holds a secret: they keep no request, no request headers and no body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core import errors as _errors
from bedrock_rft._core.errors import *  # noqa: F403 - this module is the public home of those
from bedrock_rft._core.errors import BedrockRFTError

if TYPE_CHECKING:
    from bedrock_rft.types.jobs import Job

__all__ = ["JobCancelledError", "JobFailedError", "WaitTimeoutError"]
__all__ += _errors.__all__


class _JobError(BedrockRFTError):
    """Base class of errors about one job. `job` is its last known state."""

    def __init__(self, message: str, *, job: Job) -> None:
        super().__init__(message)
        self.job = job
        self.job_id, self.status, self.error = job.id, job.status, job.error


class JobFailedError(_JobError):
    """The job failed. `job.error` has the code, message and param of the service."""


class JobCancelledError(_JobError):
    """The job was cancelled, by this program or by another."""


class WaitTimeoutError(_JobError, TimeoutError):
    """The timeout of a wait expired. The job is still running."""


_errors.publish(JobCancelledError, JobFailedError, WaitTimeoutError)
