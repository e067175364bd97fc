"""Files the service keeps."""

from __future__ import annotations

from bedrock_rft.types._payload import Id, Payload

__all__ = ["File", "FileDeleted"]


class File(Payload):
    """A file as the service knows it (`GET /files/{id}`)."""

    id: Id
    """Opaque: some replies show `file-…`, some a bare UUID."""
    object: str = "file"
    bytes: int | None = None
    """Size in bytes."""
    created_at: int | None = None
    """Unix seconds."""
    filename: str = ""
    purpose: str = ""
    """`fine-tune` for training and validation data."""
    status: str | None = None
    """OpenAI's are `uploaded`, `processed` and `error`; others are kept as they come."""
    status_details: str | None = None
    """Why a file was refused, where the service says so."""


class FileDeleted(Payload):
    """The answer to deleting a file."""

    id: Id
    object: str = "file"
    deleted: bool = True
