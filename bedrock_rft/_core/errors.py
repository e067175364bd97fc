"""Exceptions that every layer may raise. `bedrock_rft.errors` is their public home."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

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


@functools.cache
def _documentation_address() -> str:
    """Return the address of the documentation of this version, or its folder if the build did not know the address."""
    from importlib.metadata import PackageNotFoundError, metadata  # slow to import, and only errors need it

    with suppress(PackageNotFoundError):
        for entry in metadata("bedrock_rft").get_all("Project-URL") or ():
            name, _, address = entry.partition(", ")
            if name == "Documentation":
                return str(address).rpartition("/")[0]
    return "docs"


class _Help:
    def __init__(self, entry: str) -> None:
        self._entry = entry

    def __get__(self, error: BaseException | None, kind: type[BaseException] | None = None) -> str:
        return f"{_documentation_address()}/troubleshooting.md#{self._entry}"


class BedrockRFTError(Exception):
    """Base class of every exception that the network, the service or the file system can cause.

    Attributes:
        help: the address of the entry of the class in the documentation, which ends with
            `docs/troubleshooting.md#ratelimiterror`. A package that was not built for a release has no address, and
            gives only this path.
    """

    help: ClassVar[_Help] = _Help("")

    def __init__(self, message: str, **attributes: Any) -> None:
        """Create an error with attributes of its class."""
        super().__init__(sanitize_text(message))
        for name, value in attributes.items():
            if name not in dir(type(self)):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    @property
    def message(self) -> str:
        """Return what happened, why, and what to do."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # Restore the attributes too, which pickle alone would lose, because errors cross process boundaries.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[BedrockRFTError], args: tuple[Any, ...], state: dict[str, Any]) -> BedrockRFTError:
    error: BedrockRFTError = (OSError if issubclass(kind, OSError) else kind).__new__(kind, *args)  # not ValueError's
    error.args = args
    error.__dict__.update(state)
    return error


class BedrockRFTWarning(UserWarning):
    """A setting or input that is probably wrong. Each cause warns once."""


class ConfigurationError(BedrockRFTError, ValueError):
    """Invalid or missing settings or arguments. Nothing was sent."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'bedrock_rft[{extra}]'")


class DatasetError(BedrockRFTError, ValueError):
    """The service would reject a dataset.

    Attributes:
        problems: one sentence for each problem, with its line, field and remedy.
        path, line, column, field: position of the problem in the message, if known. Lines and columns count from 1;
            columns are in bytes.
    """

    problems: Sequence[str] = ()
    path: str | None = None
    line: int | None = None
    column: int | None = None
    field: str | None = None


class DatasetPermissionError(DatasetError, PermissionError):
    """A dataset cannot be read or written because of file permissions."""


class RewardError(BedrockRFTError):
    """A reward raised an exception or returned an invalid result.

    Attributes:
        rollout: the id of the rollout that caused the error, if it is known.
        code: identifies the error, such as `raised` or `ids_missing`; stable between versions.
        cause: the type name of the exception that the reward raised, if any.
        report: the report of the check that found the error, if any.
    """

    rollout: str | None = None
    code: str = "reward"
    cause: str | None = None
    report: Any = None


class APIError(BedrockRFTError):
    """A request to the service failed.

    Attributes:
        method: the HTTP method.
        path: the route without its query.
        attempts: number of times the request was sent.
        elapsed: seconds from the first attempt to the error.
    """

    method: str = ""
    path: str = ""
    attempts: int = 1
    elapsed: float = 0.0


class APIConnectionError(APIError):
    """No response was received.

    Attributes:
        reason: `refused`, `dns`, `certificate`, `tls`, `timeout`, `closed`, `proxy`, `header` or `other`.
        sent: False if no part of the request can have reached the service.
    """

    reason: str = "other"
    sent: bool = True


class APITimeoutError(APIConnectionError, TimeoutError):
    """No complete response was received in time."""


class APIResponseError(APIError):
    """A response is not valid for this service: HTML, a truncated body, an object without an id.

    Attributes:
        status: the HTTP status.
        request_id: the request id of the service, if the response has one.
    """

    status: int = 0
    request_id: str | None = None


class RedirectRefusedError(APIResponseError):
    """The response was a redirect. It was not followed, because credentials and data go to one origin only."""


class APIStatusError(APIError):
    """The service returned an error status.

    Attributes:
        status: the HTTP status.
        code: the error code of the service, such as `access_denied`.
        param: the request parameter that caused the error.
        type: the error type of the service.
        request_id: the request id of the service, which AWS support asks for.
        retry_after: seconds to wait before a retry, if the service named them.
    """

    status: int = 0
    code: str | None = None
    param: str | None = None
    type: str | None = None
    request_id: str | None = None
    retry_after: float | None = None


class BadRequestError(APIStatusError):
    """400, 413, 415 or 422: the request is invalid."""


class AuthenticationError(APIStatusError):
    """401: the key, the credentials or the signature are invalid."""


class PermissionDeniedError(APIStatusError):
    """The identity lacks a permission.

    Attributes:
        action: the missing IAM action, such as `bedrock-mantle:CreateFile`.
        resource: the ARN of the resource that the action is missing for.
    """

    action: str | None = None
    resource: str | None = None


class NotFoundError(APIStatusError):
    """404 or 410: the object or the route does not exist."""


class ConflictError(APIStatusError):
    """409: the state of the object does not allow the operation."""


class RateLimitError(APIStatusError):
    """429, or another status with a throttling code."""


class InternalServerError(APIStatusError):
    """500 or above: the service failed or has no capacity."""


class AmbiguousCreateError(BedrockRFTError):
    """A job may or may not have been created. The request was not repeated, so there is at most one such job.

    Attributes:
        marker: the marker in the metadata of the job; `client.jobs.find(marker)` searches for it.
        training_file: the id of the training file.
        since: Unix time in seconds; the job cannot have been created earlier.
    """

    marker: str = ""
    training_file: str = ""
    since: float = 0.0


def publish(*kinds: type[Exception]) -> None:
    """Set the module of classes to `bedrock_rft.errors`, for imports, tracebacks and pickles, and set their `help`."""
    for kind in kinds:
        kind.__module__ = "bedrock_rft.errors"
        if issubclass(kind, BedrockRFTError):
            kind.help = _Help(kind.__name__.lower())


publish(*(globals()[_name] for _name in __all__))
