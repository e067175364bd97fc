"""Responses of the local service: JSON, lists, errors and ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bedrock_rft._transport.transport import Response
from bedrock_rft.local._service.store import Page

__all__ = ["LABEL", "ServiceError", "add_request_id", "error_response", "json_response", "list_response", "new_id"]

LABEL = "Local service"
"""Prefix of every message that the service itself writes into a job's events."""

_JSON = {"content-type": "application/json"}


def new_id(kind: str) -> str:
    """Return an opaque id that names its kind, such as `local-file-…`."""
    return f"local-{kind}-{uuid4().hex}"


@dataclass(eq=False)
class ServiceError(Exception):
    """A request that gets an error response; `param` is the part of the request that is at fault."""

    status: int
    message: str
    code: str = "validation_error"
    param: str | None = None
    type: str = "invalid_request_error"


def json_response(payload: Mapping[str, Any]) -> Response:
    """Return a success with a JSON body."""
    return Response(200, dict(_JSON), json.dumps(payload, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def list_response(page: Page) -> Response:
    """Return a success with one page of a list."""
    data = page.data
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return json_response(
        {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": page.has_more}
    )


def error_response(error: ServiceError) -> Response:
    """Return an error in the service's envelope."""
    body = {"code": error.code, "message": error.message, "param": error.param, "type": error.type}
    return Response(error.status, dict(_JSON), json.dumps({"error": body}).encode())


def add_request_id(response: Response) -> Response:
    """Return the response with a new request id."""
    return Response(response.status, {**response.headers, "x-request-id": new_id("req")}, response.content)
