"""Files on the service."""

from __future__ import annotations

from bedrock_rft.types._payload import Id, Payload

OPERATIONS = (
    ("POST", r"/files", "CreateFile"),
    ("GET", r"/files/.*", "GetFile"),
    ("GET", r"/files", "ListFiles"),
    ("DELETE", r"/files/.*", "DeleteFile"),
)
"""HTTP method, regular expression for the whole path, and IAM action of each operation."""


class File(Payload):
    """A file on the service (`GET /files/{id}`)."""

    id: Id
    """Opaque id. Some responses have `file-…`, others a bare UUID."""
    object: str = "file"
    bytes: int | None = None
    """Size in bytes."""
    created_at: int | None = None
    """Unix seconds."""
    filename: str = ""
    purpose: str = ""
    """`fine-tune` for training and validation data."""
    status: str | None = None
    """The status: `uploaded`, `processed` or `error` in OpenAI's API. Other values are kept."""
    status_details: str | None = None
    """Why a file was rejected, if the service gives a reason."""


class FileDeleted(Payload):
    """The response to deleting a file."""

    id: Id
    object: str = "file"
    deleted: bool = True
