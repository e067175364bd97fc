"""What the file system says, as this package says it."""

from __future__ import annotations

from bedrock_rft.errors import DatasetError, DatasetPermissionError

__all__ = ["trouble"]


def trouble(what: str, error: Exception) -> DatasetError:
    """The error to raise where `what`, such as "train.jsonl cannot be read", for this reason."""
    why = (error.strerror if isinstance(error, OSError) else None) or error
    if not isinstance(error, PermissionError):
        return DatasetError(f"{what}: {why}.")
    refused = DatasetPermissionError(f"{what}: {why}.")
    refused.errno = error.errno
    return refused
