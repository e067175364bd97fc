"""Parse HTTP messages into `Request` objects."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from pydantic_core import from_json

from bedrock_rft._transport.transport import Request
from bedrock_rft.local._service.responses import ServiceError

__all__ = ["PREFIX", "media_type", "parse_request", "route_path"]

PREFIX = "/v1"
"""Path of the base URL."""


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body in lower case, without parameters; empty if no Content-Type is given."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def route_path(raw_path: bytes) -> str | None:
    """Return the path below the base URL, still percent-encoded; None if the path is outside of it."""
    text = raw_path.decode("ascii", "replace")
    return text[len(PREFIX) :] if text.startswith(f"{PREFIX}/") else None


def parse_request(method: str, path: str, query: str, body: bytes) -> Request:
    """Parse a request whose body is JSON or empty.

    Raises:
        ServiceError: 400 if the body is not JSON.
    """
    try:
        content = from_json(body) if body else None
    except ValueError:
        raise ServiceError(400, "The body is not valid JSON.") from None
    return Request(method, path, query=dict(parse_qsl(query, keep_blank_values=True)), json=content)
