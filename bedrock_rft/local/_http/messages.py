"""From what stands on a wire to a `Call`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from pydantic_core import from_json

from bedrock_rft._transport.transport import Request
from bedrock_rft.local._service.responses import Problem

__all__ = ["PREFIX", "call", "download", "kind", "route"]

PREFIX = "/v1"
"""Where the routes begin on a server."""


def kind(headers: Mapping[str, str]) -> str:
    """The media type of a body, in lower case and without its parameters; empty where none is named."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def route(raw_path: bytes) -> str | None:
    """The path from the base URL on, still percent-encoded; None where it is outside of it."""
    text = raw_path.decode("ascii", "replace")
    return text[len(PREFIX) :] if text.startswith(f"{PREFIX}/") else None


def call(method: str, path: str, query: str, body: bytes) -> Request:
    """Describe a request whose body is JSON, or empty.

    Raises:
        Problem: 400, the body is not JSON.
    """
    try:
        content = from_json(body) if body else None
    except ValueError:
        raise Problem(400, "The body is not valid JSON.") from None
    return Request(method, path, query=dict(parse_qsl(query, keep_blank_values=True)), json=content)


def download(call: Request) -> str | None:
    """The id of the file whose content is asked for, or None where something else is."""
    parts = [unquote(part) for part in call.path.split("/")[1:]]
    wanted = call.method == "GET" and len(parts) == 3 and (parts[0], parts[2]) == ("files", "content")  # noqa: PLR2004
    return (parts[1] or None) if wanted else None
