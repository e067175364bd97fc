"""What requests must be: read as strictly as the service reads them, so that what passes here does not fail there."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedrock_rft._transport.transport import Query, Request
from bedrock_rft.local._service.responses import Problem
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.models import KNOWN_MODELS

__all__ = ["CreateJob", "Listing", "is_base", "listing", "parameter", "read"]

_LARGEST_PAGE = 100
_PAGE = 20

# AWS's own notebook writes a version behind the documented name.
_VERSION = re.compile(r"-v\d+:\d+$", re.ASCII)

_Key = Annotated[str, Field(max_length=64)]
_Value = Annotated[str, Field(max_length=512)]
_Setting = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0, le=1_000_000)]


class _Strict(BaseModel):
    # Observed: the service refuses fields it does not know, and does not turn "1" into 1.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class _Function(_Strict):
    function: LambdaArn


class _Grader(_Strict):
    type: Literal["lambda"]
    lambda_: Annotated[_Function, Field(alias="lambda")]


class Hyperparameters(_Strict):
    """The three documented settings, with the values of the documentation's example."""

    n_epochs: _Count = 1
    batch_size: _Count = 4
    learning_rate_multiplier: _Setting = 1.0


class _Reinforcement(_Strict):
    grader: _Grader
    hyperparameters: Hyperparameters = Hyperparameters()


class _Method(_Strict):
    type: Literal["reinforcement"]
    reinforcement: _Reinforcement


class CreateJob(_Strict):
    """The body of `POST /fine_tuning/jobs`."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: _Method
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = None


T = TypeVar("T", bound=BaseModel)


def read(model: type[T], body: Any) -> T:
    """Read a JSON body.

    Raises:
        Problem: 400, naming the first field that does not fit.
    """
    if not isinstance(body, dict):
        raise Problem(400, "The body must be a JSON object.")
    try:
        return model.model_validate(body)
    except ValidationError as misfit:
        error = misfit.errors(include_url=False, include_input=False)[0]
        param = ".".join(str(step) for step in error["loc"])
        raise Problem(400, _sentence(param, error["type"], error["msg"]), param=param) from None


def _sentence(param: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return f"{param} is not supported." if param == "suffix" else f"Unknown field '{param}'."
    if kind == "missing":
        return f"{param} is missing."
    return f"{param}: {message.removeprefix('Value error, ')}"


def is_base(model: str) -> bool:
    """Whether a model is one that can be tuned."""
    return _VERSION.sub("", model) in KNOWN_MODELS


class Listing(BaseModel):
    """The parameters of a list."""

    model_config = ConfigDict(frozen=True)

    limit: int
    after: str | None
    ascending: bool


def listing(call: Request) -> Listing:
    """Read the parameters of a list: `limit` (1 to 100, 20 unless told), `after` and `order`.

    Raises:
        Problem: 400, naming the parameter.
    """
    text = parameter(call.query, "limit")
    if text is not None and not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _LARGEST_PAGE):
        raise Problem(400, f"limit must be a whole number from 1 to {_LARGEST_PAGE}.", param="limit")
    order = parameter(call.query, "order") or "desc"
    if order not in {"asc", "desc"}:
        raise Problem(400, "order must be 'asc' or 'desc'.", param="order")
    after = parameter(call.query, "after")
    return Listing(limit=int(text) if text else _PAGE, after=after or None, ascending=order == "asc")


def parameter(query: Query, name: str) -> str | None:
    """A query parameter as text."""
    value = query.get(name)
    return None if value is None else str(value)
