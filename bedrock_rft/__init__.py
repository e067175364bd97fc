"""Typed reinforcement fine-tuning of open-weight models on Amazon Bedrock.

`from bedrock_rft import Client` is the way in. Importing the package costs nothing: each name is loaded when it is
first used.
"""

from __future__ import annotations

from bedrock_rft._core.version import __version__

# What type checkers know by this name; importing `typing` for it would cost more than all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bedrock_rft._auth.identity import Identity
    from bedrock_rft._client.client import AsyncClient, Client
    from bedrock_rft._transport.signing import SigV4Auth
    from bedrock_rft._transport.transport import Request, Response, Transport
    from bedrock_rft.errors import (
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
        JobCancelledError,
        JobFailedError,
        MissingExtraError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RedirectRefusedError,
        RewardError,
        WaitTimeoutError,
    )
    from bedrock_rft.types import Checkpoint, Event, File, Hyperparameters, Job, LambdaArn, Model, TrainingMetrics

_WHERE = {
    "_client.client": ("AsyncClient", "Client"),
    "_auth.identity": ("Identity",),
    "_transport.signing": ("SigV4Auth",),
    "_transport.transport": ("Request", "Response", "Transport"),
    "errors": (
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
    ),
    "types": ("Checkpoint", "Event", "File", "Hyperparameters", "Job", "LambdaArn", "Model", "TrainingMetrics"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AmbiguousCreateError",
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "BedrockRFTError",
    "BedrockRFTWarning",
    "Checkpoint",
    "Client",
    "ConfigurationError",
    "ConflictError",
    "DatasetError",
    "DatasetPermissionError",
    "Event",
    "File",
    "Hyperparameters",
    "Identity",
    "InternalServerError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "LambdaArn",
    "MissingExtraError",
    "Model",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectRefusedError",
    "Request",
    "Response",
    "RewardError",
    "SigV4Auth",
    "TrainingMetrics",
    "Transport",
    "WaitTimeoutError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"bedrock_rft.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
