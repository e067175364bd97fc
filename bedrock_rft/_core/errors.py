"""Exceptions that every layer may raise. `bedrock_rft.errors` is their public home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedrock_rft._core.text import sanitize_text

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
    "MissingExtraError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectRefusedError",
    "RewardError",
]


class BedrockRFTError(Exception):
    """The root: catch it to catch whatever the network, the service or the file system does."""

    def __init__(self, message: str) -> None:
        super().__init__(sanitize_text(message))

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
        self.report: Any = report


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


# Tracebacks and pickles show the module that users import.
for _name in __all__:
    globals()[_name].__module__ = "bedrock_rft.errors"
