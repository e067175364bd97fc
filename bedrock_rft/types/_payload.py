"""Base classes of payloads: requests are validated strictly, responses leniently."""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from typing_extensions import Self

from bedrock_rft._core.errors import ConfigurationError
from bedrock_rft._core.text import short_repr

T = TypeVar("T")

Id = Annotated[str, Field(min_length=1)]
"""A non-empty id. An empty id in a path would address the list of all objects."""

_PASSES = 8  # a union reports an error for each member, so a removal may reveal another error


class Payload(BaseModel):
    """A frozen payload that keeps unknown fields in `model_extra`."""

    # Validators are compiled at first use, because a process needs only a few of the models.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", frozen=True, defer_build=True, populate_by_name=True, hide_input_in_errors=True
    )

    def __repr__(self) -> str:
        """Return one short line with the fields that are set."""
        return short_repr(self, (name for name in type(self).model_fields if name != "object"))

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Parse a response leniently, because the service may change.

        A value of an unexpected type is replaced by the default of its field, and a list item that cannot be parsed is
        left out. Raise `ValueError` if the content is not JSON, or if a field without a default is missing.
        """
        content = content.removeprefix(b"\xef\xbb\xbf")
        try:
            return cls.model_validate_json(content)
        except ValidationError as misfit:
            if (
                misfit.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
                == "json_invalid"
            ):
                raise
        return cls.salvage(from_json(content))

    @classmethod
    def salvage(cls, data: Any) -> Self:
        """Validate data without the parts that do not fit. Raises ValueError as `read` does."""
        for _ in range(_PASSES):
            try:
                return cls.model_validate(data)
            except ValidationError as misfit:
                errors = misfit.errors(include_url=False, include_input=False)
                # Remove each place once: a union reports the same place for each member. Deepest and last first, so
                # that removing a list item moves no other.
                places = {_existing_place(data, error["loc"]) for error in errors} - {()}
                if not places:
                    raise
                for *parents, last in sorted(places, key=_deletion_order, reverse=True):
                    parent: Any = functools.reduce(operator.getitem, parents, data)
                    del parent[last]
        return cls.model_validate(data)


def _deletion_order(place: tuple[int | str, ...]) -> tuple[int, list[tuple[int, str]]]:
    """Return a sort key: by depth, then by position in a list."""
    return len(place), [(step, "") if isinstance(step, int) else (-1, step) for step in place]


def _existing_place(data: Any, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the steps of a location that exist in the data. Missing fields and names of union members do not."""
    steps: list[int | str] = []
    for step in place:
        if isinstance(data, (dict, list)):
            with contextlib.suppress(IndexError, KeyError, TypeError):
                data = cast("Any", data)[step]
                steps.append(step)
    return tuple(steps)


class Page(Payload, Generic[T]):
    """One page of a list. Operations iterate over all pages."""

    object: str = "list"
    data: tuple[T, ...]
    """The items. A response without `data`, or with null, is not a list, and must not be read as an empty list."""
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    """False if the service does not return it."""

    @classmethod
    def salvage(cls, data: Any) -> Self:
        """Validate data without the parts that do not fit. Raise `ValueError` if no item of a list can be read."""
        # If such a response were read as an empty list, a search for a job would find nothing and create a second job.
        items: Any = cast("dict[str, Any]", data).get("data") if isinstance(data, dict) else None
        has_items = bool(items)  # before the validation, which removes items that do not fit
        page = super().salvage(data)
        if has_items and not page.data:
            raise ValueError("none of the items of the list can be read")
        return page


class Request(Payload):
    """A request payload. Invalid fields raise `ConfigurationError` before anything is sent."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as misfit:
            raise ConfigurationError(f"{type(self).__name__}: {explain(misfit)}") from None


def explain(misfit: ValidationError) -> str:
    """Describe validation errors without the values, which may be secret."""
    found = misfit.errors(include_url=False, include_input=False)
    return "; ".join(
        ".".join(str(step) for step in error["loc"])
        + (": " if error["loc"] else "")
        + error["msg"].removeprefix("Value error, ")
        for error in found
    )
