"""Typed reinforcement fine-tuning of open-weight models on Amazon Bedrock.

Start with `from bedrock_rft import Client`. Importing the package loads no other library: each name is loaded
when it is first used.
"""

from __future__ import annotations

from bedrock_rft._core.lazy import lazy_names
from bedrock_rft._core.version import __version__

# Type checkers know this name; importing `typing` would cost more than the rest of the module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from bedrock_rft._auth.identity import Identity
    from bedrock_rft._client.client import AsyncClient, Client
    from bedrock_rft._transport.sigv4_auth import SigV4Auth
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_client.client": ("AsyncClient", "Client"),
        "_auth.identity": ("Identity",),
        "_transport.sigv4_auth": ("SigV4Auth",),
        "_transport.transport": ("Request", "Response", "Transport"),
        "errors": [name for name in __all__ if name.endswith(("Error", "Warning"))],
        "types": ("Checkpoint", "Event", "File", "Hyperparameters", "Job", "LambdaArn", "Model", "TrainingMetrics"),
    },
    renamed={"Call": "bedrock_rft.Request", "Reply": "bedrock_rft.Response"},
)
