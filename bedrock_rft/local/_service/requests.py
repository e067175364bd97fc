"""Parse and validate requests as strictly as the service, and build responses and errors in its form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.store import Page
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.models import KNOWN_MODELS

PREFIX = "/v1"
"""Path of the base URL."""
_MAX_LIMIT = 100
_MAX_SETTING_CHARS = 1000
_UNSUPPORTED_KINDS = ("literal_error", "too_long", "none_required")

# The suffix that a notebook of AWS appends to the documented name of a model.
_VERSION = re.compile(r"-v\d+:\d+$", re.ASCII)

_MetadataKey = Annotated[str, Field(max_length=64)]
_MetadataValue = Annotated[str, Field(max_length=512)]
_Multiplier = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0, le=1_000_000)]


class Strict(BaseModel):
    """A JSON body or a part of a body."""

    # Observed: the service rejects unknown fields, and does not convert "1" to 1.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class _Function(Strict):
    function: LambdaArn


class _Grader(Strict):
    type: Literal["lambda"]
    lambda_: Annotated[_Function, Field(alias="lambda")]


class Hyperparameters(Strict):
    """The three documented settings, with the values of the documentation's example as defaults.

    Other settings are accepted, because the service may support more; the local service does not use them.
    """

    model_config = ConfigDict(extra="allow")

    n_epochs: _Count = 1
    batch_size: _Count = 4
    learning_rate_multiplier: _Multiplier = 1.0

    @model_validator(mode="after")
    def _limit_extra_fields(self) -> Hyperparameters:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, (str, int, float, type(None))) or len(f"{name}{value}") > _MAX_SETTING_CHARS:
                raise ValueError(f"{name[:100]} must be a number, a string, a boolean or null")
        return self


class _Reinforcement(Strict):
    grader: _Grader
    hyperparameters: Hyperparameters = Hyperparameters()


class _Method(Strict):
    type: Literal["reinforcement"]
    reinforcement: _Reinforcement


class CreateJob(Strict):
    """The body of `POST /fine_tuning/jobs`."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: _Method
    metadata: Annotated[dict[_MetadataKey, _MetadataValue], Field(max_length=16)] | None = None

    @property
    def unsupported_hyperparameters(self) -> list[str]:
        """Names of the hyperparameters that the local service does not use."""
        return list(self.method.reinforcement.hyperparameters.model_extra or {})


T = TypeVar("T", bound=BaseModel)


def validate_body(model: type[T], body: Any) -> T:
    """Validate a JSON body or the parameters of a query. Raise `ServiceError` (400) with the first invalid field."""
    if not isinstance(body, Mapping):
        raise ServiceError(400, "The body must be a JSON object.")
    try:
        return model.model_validate(body)
    except ValidationError as invalid:
        # Report a missing field last, because an unsupported value may be the reason why it is missing.
        error = min(invalid.errors(include_url=False), key=lambda error: error["type"] == "missing")
        param = ".".join(str(step) for step in error["loc"])
        message = _error_message(param, error["type"], error["msg"], local=model not in (CreateJob, ListParameters))
        raise ServiceError(400, message, param=param) from None


def _error_message(param: str, kind: str, message: str, *, local: bool) -> str:
    if kind == "extra_forbidden":
        if local:
            return f"The local service does not support '{param}'. Leave it out: it would have no effect."
        return f"{param} is not supported." if param == "suffix" else f"Unknown field '{param}'."
    if local and (kind in _UNSUPPORTED_KINDS or param.endswith("_penalty")):
        return f"The local service does not support this value of '{param}': {message}."
    if kind == "missing":
        return f"{param} is missing."
    return f"{param}: {message.removeprefix('Value error, ')}"


def is_base_model(model: str) -> bool:
    """Return whether a model can be tuned."""
    return _VERSION.sub("", model) in KNOWN_MODELS


class ListParameters(BaseModel):
    """The parameters of a list. A limit above 100 is lowered to 100, because notebooks of AWS send 200."""

    model_config = ConfigDict(frozen=True)

    limit: Annotated[int, Field(ge=1), AfterValidator(lambda limit: min(limit, _MAX_LIMIT))] = 20
    after: str = ""
    order: Literal["asc", "desc"] = "desc"
    purpose: str = ""


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body in lower case, without parameters; empty if no Content-Type is given."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def route_path(raw_path: bytes) -> str:
    """Return the path below the base URL, still percent-encoded; empty for any other path."""
    text = raw_path.decode("ascii", "replace")
    return text[len(PREFIX) :] if text.startswith(f"{PREFIX}/") else ""


def parse_request(method: str, path: str, query: str, body: bytes) -> Request:
    """Parse a request whose body is JSON or empty. Raise `ServiceError` (400) for any other body."""
    try:
        content = from_json(body) if body else None
    except ValueError:
        raise ServiceError(400, "The body is not valid JSON.") from None
    return Request(method, path, query=dict(parse_qsl(query, keep_blank_values=True)), json=content)


LABEL = "Local service"
"""Prefix of every message that the service itself writes into a job's events."""

_JSON = {"content-type": "application/json"}


def new_id(kind: str) -> str:
    """Return a random id that contains the kind of object, such as `local-file-…`."""
    return f"local-{kind}-{uuid4().hex}"


@dataclass(eq=False)
class ServiceError(Exception):
    """The error response to a request; `param` is the part of the request that caused it."""

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
    """Return an error in the service's envelope, with a request id."""
    body = {"code": error.code, "message": error.message, "param": error.param, "type": error.type}
    return add_request_id(Response(error.status, dict(_JSON), json.dumps({"error": body}).encode()))


def add_request_id(response: Response) -> Response:
    """Return the response with a new request id."""
    return Response(response.status, {**response.headers, "x-request-id": new_id("req")}, response.content)
