"""How the rehearsal says yes, no, and who it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bedrock_rft._transport.transport import Response
from bedrock_rft.local._service.store import Rows

__all__ = ["REHEARSAL", "Problem", "made", "new_id", "nowhere", "page", "refuse", "stamped"]

REHEARSAL = "Rehearsal on this machine"

_JSON = {"content-type": "application/json"}


def new_id(kind: str) -> str:
    """An opaque id that shows what it belongs to, such as `local-file-…`."""
    return f"local-{kind}-{uuid4().hex}"


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - it is an answer, not a fault
    """Why a request is refused.

    Attributes:
        status: the HTTP status.
        message: for the person who sent it.
        code: the service's own word, such as `validation_error`.
        param: the part of the request to blame.
        type: the service's class of error.
    """

    status: int
    message: str
    code: str = "validation_error"
    param: str | None = None
    type: str = "invalid_request_error"


def made(payload: Mapping[str, Any]) -> Response:
    """A success with a JSON body."""
    return Response(200, dict(_JSON), json.dumps(payload, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def page(rows: Rows) -> Response:
    """A success with a page of a list."""
    data = rows.data
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return made({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": rows.has_more})


def refuse(problem: Problem) -> Response:
    """A refusal, in the service's envelope."""
    body = {"code": problem.code, "message": problem.message, "param": problem.param, "type": problem.type}
    return Response(problem.status, dict(_JSON), json.dumps({"error": body}).encode())


def nowhere() -> Response:
    """What the service answers on a path it does not have: 404 and nothing else."""
    return Response(404, {}, b"")


def stamped(reply: Response) -> Response:
    """The same reply with an id for this exchange."""
    return Response(reply.status, {**reply.headers, "x-request-id": new_id("req")}, reply.content)
