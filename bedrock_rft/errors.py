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

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedrock_rft._findings import Findings
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

_LONGEST = 2000
# Those that turn the direction of writing among them, and what no encoding has.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, limit: int = _LONGEST) -> str:
    """Return text of unknown origin that is safe to print: one line, control characters escaped, at most `limit`."""
    return shown(text, limit).replace("\n", "\\n")[:limit]


def shown(text: str, limit: int = _LONGEST) -> str:
    """The same of a text of this package's own, which may have lines."""
    escaped = _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


class BedrockRFTError(Exception):
    """The root: catch it to catch whatever the network, the service or the file system does."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))

    @property
    def message(self) -> str:
        """What happened, why, and what to do about it."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword arguments do not survive pickle by themselves, and these cross process boundaries.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[BedrockRFTError], args: tuple[Any, ...], state: dict[str, Any]) -> BedrockRFTError:
    error: BedrockRFTError = (OSError if issubclass(kind, OSError) else kind).__new__(kind, *args)  # not ValueError's
    error.args = args
    error.__dict__.update(state)
    return error


class BedrockRFTWarning(UserWarning):
    """Something that may be right but often is not, said once for each cause."""


class ConfigurationError(BedrockRFTError, ValueError):
    """Nothing was sent: there is no region or no identity, or what was given makes no sense."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'bedrock_rft[{extra}]'")


class DatasetError(BedrockRFTError, ValueError):
    """A training file is not what the service takes.

    Attributes:
        problems: one sentence each: the line, the field, what is wrong and how to mend it.
        path, line, column, field: of the problem that the message names, as far as they are known; from 1, in bytes.
    """

    path: str | None = None
    line: int | None = None
    column: int | None = None
    field: str | None = None

    def __init__(self, message: str, *, problems: Sequence[str] = (), **place: str | int | None) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.__dict__.update(place)


class DatasetPermissionError(DatasetError, PermissionError):
    """A training file may not be read, or its place not be written to."""


class RewardError(BedrockRFTError):
    """A reward raised, or answered nonsense.

    Attributes:
        rollout: the id of the rollout that was being scored, where one is to blame.
        code: names what is wrong, and stays as it is from version to version, such as `raised` or `ids_missing`.
        cause: the name of the type of the exception that the reward raised, where it did.
        report: of the check that found it, where there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        rollout: str | None = None,
        code: str = "reward",
        cause: str | None = None,
        report: Any = None,
    ) -> None:
        super().__init__(message)
        self.rollout = rollout
        self.code = code
        self.cause = cause
        self.report: Findings | None = report


class APIError(BedrockRFTError):
    """An exchange with the service failed.

    Attributes:
        method: the HTTP method.
        path: the route, without its query.
        attempts: how many times the request was sent.
        elapsed: seconds from the first attempt to the error.
    """

    method: str = ""
    path: str = ""
    attempts: int = 1
    elapsed: float = 0.0


class APIConnectionError(APIError):
    """No reply came.

    Attributes:
        reason: `refused`, `dns`, `certificate`, `tls`, `timeout`, `closed`, `proxy` or `other`.
        sent: False where nothing of the request can have reached the service.
    """

    def __init__(self, message: str, *, reason: str = "other", sent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.sent = sent


class APITimeoutError(APIConnectionError, TimeoutError):
    """No reply came in time."""


class APIResponseError(APIError):
    """A reply came that is not the service's: HTML, a truncated body, an answer without an id.

    Attributes:
        status: the HTTP status.
        request_id: what the service calls this exchange, where it said so.
    """

    def __init__(self, message: str, *, status: int = 0, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


class RedirectRefusedError(APIResponseError):
    """The reply pointed to another place. Nothing was sent there: credentials and data go to one origin."""


class APIStatusError(APIError):
    """The service said no.

    Attributes:
        status: the HTTP status.
        code: the service's own code, such as `access_denied`.
        param: the part of the request that it blames.
        type: the service's class of error.
        request_id: what the service calls this exchange; AWS support asks for it.
        retry_after: seconds the service asked to wait, where it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,  # noqa: A002 - the service's own word
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code, self.param, self.type = code, param, type
        self.request_id = request_id
        self.retry_after = retry_after


class BadRequestError(APIStatusError):
    """400, 413, 415 or 422: the request is not one the service takes."""


class AuthenticationError(APIStatusError):
    """401: the service does not know who is asking, or the signature or key is not valid."""


class PermissionDeniedError(APIStatusError):
    """The identity is known and may not do this.

    Attributes:
        action: the IAM action that is missing, such as `bedrock-mantle:CreateFile`.
        resource: the ARN it is missing on.
    """

    action: str | None = None
    resource: str | None = None


class NotFoundError(APIStatusError):
    """404 or 410: there is no such thing, or no such route."""


class ConflictError(APIStatusError):
    """409: the thing is not in a state that allows this."""


class RateLimitError(APIStatusError):
    """429, or any status whose code says throttling."""


class InternalServerError(APIStatusError):
    """500 and above: the service failed, or has no capacity."""


class AmbiguousCreateError(BedrockRFTError):
    """A job may or may not exist. Nothing was sent again, so there is at most one.

    Attributes:
        marker: what the job carries in its metadata; `client.jobs.find(marker)` looks for it.
        training_file: the id of the training file it was to use.
        since: Unix seconds before which the job cannot have been created.
    """

    def __init__(self, message: str, *, marker: str, training_file: str, since: float) -> None:
        super().__init__(message)
        self.marker = marker
        self.training_file = training_file
        self.since = since


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
