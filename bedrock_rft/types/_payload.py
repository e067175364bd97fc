"""Strict out, lenient in: what every payload shares."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from typing_extensions import Self

from bedrock_rft._core.errors import ConfigurationError

Id = Annotated[str, Field(min_length=1)]
"""What a thing is asked for by: an empty one in a path would ask for the list of all of them."""

_PASSES = 8  # a union reports the same misfit under each of its members, so mending may uncover another


class Payload(BaseModel):
    """A payload: frozen, and open to fields the service adds later (`model_extra` keeps them)."""

    # Validators are compiled when first used: a process that reads one job need not pay for forty models.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", frozen=True, defer_build=True, populate_by_name=True, hide_input_in_errors=True
    )

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read what the service sent, as far as it can be read.

        A value of a type this version does not expect reads as its field's default rather than as an error, and a
        list item that cannot be read is left out: the service may learn new shapes. Only what has no default (an id)
        must be there.

        Args:
            content: the JSON text, UTF-8 with or without a byte order mark.

        Raises:
            ValueError: it is not JSON, or something without which it means nothing is missing.
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
        """Validate data, leaving out what does not fit. Raises ValueError as `read` does."""
        for _ in range(_PASSES):
            try:
                return cls.model_validate(data)
            except ValidationError as misfit:
                places = [error["loc"] for error in misfit.errors(include_url=False, include_input=False)]
                # Each once, though a union reports the same misfit under each of its members: removed twice, it would
                # take along what is around it. Deepest and last first, so that one list item does not move the next.
                found = {_found(data, place) for place in places}
                removed = [_remove(data, place) for place in sorted(found, key=_depth, reverse=True)]
                if not any(removed):
                    raise
        return cls.model_validate(data)


def _depth(place: tuple[int | str, ...]) -> tuple[int, list[tuple[int, str]]]:
    return len(place), [(step, "") if isinstance(step, int) else (-1, step) for step in place]


def _found(data: Any, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The steps of a place that lead somewhere, which those to a member of a union do not."""
    here: Any = data
    steps: list[int | str] = []
    for step in place:
        if _leads_on(here, step):
            here = here[step]
            steps.append(step)
    return tuple(steps)


def _remove(data: Any, place: tuple[int | str, ...]) -> bool:
    """Remove what stands at a place, or the nearest thing around it; say whether anything went."""
    parent: Any = None
    key: int | str = ""
    here: Any = data
    for step in place:
        if _leads_on(here, step):
            parent, key, here = here, step, here[step]
        # Any other step is a field that is missing, which goes with what it is missing from, or pydantic's name for a
        # member of a union, where the value is the same one.
    if parent is None:
        return False
    del parent[key]
    return True


def _leads_on(here: Any, step: int | str) -> bool:
    kept: Any = here  # narrowing it would make its items unknown
    if isinstance(here, dict):
        return step in kept
    return isinstance(here, list) and isinstance(step, int) and step < len(kept)


class Request(Payload):
    """A payload that users make: what is wrong with it is a `ConfigurationError`, said before anything is sent."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as misfit:
            raise ConfigurationError(f"{type(self).__name__}: {explain(misfit)}") from None


def explain(misfit: ValidationError) -> str:
    """Say what does not fit, without repeating the values: any of them may be secret."""
    found = misfit.errors(include_url=False, include_input=False)
    return "; ".join(
        ".".join(str(step) for step in error["loc"])
        + (": " if error["loc"] else "")
        + error["msg"].removeprefix("Value error, ")
        for error in found
    )
