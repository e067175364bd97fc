"""Graders of answers that are JSON: equal to the reference, or as a schema wants them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from bedrock_rft.rewards._runtime.reward import Leaf, validate_name
from bedrock_rft.rewards._runtime.rollout import Rollout

__all__ = ["JsonEqual", "JsonSchema", "find_json"]

_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)```", re.DOTALL)
_STARTS = re.compile(r"[\[{]")
_TRIES = 50
_LONGEST = 1_000_000
_NOTHING = object()


def find_json(text: str) -> Any:
    """The JSON value in a text: all of it, the last fenced block, or the last object or array that stands in it.

    Raises:
        ValueError: there is none.
    """
    text = text[-_LONGEST:].strip()
    fences = [match.group(1) for match in _FENCE.finditer(text)]
    for candidate in [text, *reversed(fences[-_TRIES:])]:
        if (found := _parsed(candidate)) is not _NOTHING:
            return found
    found = _embedded(text)
    if found is _NOTHING:
        raise ValueError("there is no JSON in it")
    return found


def _embedded(text: str) -> Any:
    """The last value that is not inside another one."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found, place, tries = _NOTHING, 0, 0
    while tries < _TRIES and (match := _STARTS.search(text, place)):
        tries += 1
        try:
            found, place = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place = match.start() + 1
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _NOTHING


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True, eq=False, repr=False)
class JsonEqual(Leaf):
    """1 where the JSON in the answer equals the reference.

    The order of keys does not count; 1 and 1.0 are equal, 1 and true are not. A reference that is text is read as JSON
    where it is JSON.

    Attributes:
        partial: give the share of the reference's leaves that are there and right, less what was added.
        name: in `metrics_list`.
    """

    partial: bool = False
    name: str = "json"

    def __post_init__(self) -> None:
        validate_name(self.name)

    def grade(self, rollout: Rollout) -> float:
        wanted = rollout.reference
        if isinstance(wanted, str) and (parsed := _parsed(wanted)) is not _NOTHING:
            wanted = parsed
        try:
            return self._compared(wanted, find_json(rollout.answer))
        except (ValueError, RecursionError):  # nested a thousand deep it is no answer either
            return 0.0

    def _compared(self, wanted: Any, found: Any) -> float:
        if not self.partial:
            return float(_equal(wanted, found))
        ours, theirs = _leaves(wanted), _leaves(found)
        right = sum(path in theirs and _equal(value, theirs[path]) for path, value in ours.items())
        return right / max(len(ours), len(theirs), 1)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("Sequence[Any]", one), cast("Sequence[Any]", other)
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(one == other)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Every value that is no object or array, by its path; an empty one is a leaf."""
    items: list[tuple[Any, Any]]
    if isinstance(value, dict) and value:
        items = list(cast("Mapping[str, Any]", value).items())
    elif isinstance(value, list) and value:
        items = list(enumerate(cast("Sequence[Any]", value)))
    else:
        return {path: value}
    return {name: leaf for key, inner in items for name, leaf in _leaves(inner, (*path, key)).items()}


@dataclass(frozen=True, eq=False, repr=False)
class JsonSchema(Leaf):
    """1 where the JSON in the answer is as a schema wants it. Needs fastjsonschema, here and in the Lambda.

    Attributes:
        schema: in JSON Schema, drafts 4 to 7.
        name: in `metrics_list`.

    Raises:
        ImportError: fastjsonschema is not installed: pip install 'bedrock_rft[json-schema]'.
        ValueError: the schema is none.
    """

    schema: Mapping[str, Any]
    name: str = "schema"

    def __post_init__(self) -> None:
        validate_name(self.name)
        _ = self._validate

    @property
    def requirements(self) -> tuple[str, ...]:
        return ("fastjsonschema",)

    @cached_property
    def _validate(self) -> Callable[[Any], Any]:
        try:
            import fastjsonschema
        except ImportError as error:
            raise ImportError(
                "JsonSchema needs fastjsonschema: pip install 'bedrock_rft[json-schema]'; in a Lambda, package it along"
            ) from error
        try:
            return cast("Callable[[Any], Any]", fastjsonschema.compile(dict(self.schema)))
        except (fastjsonschema.JsonSchemaDefinitionException, TypeError, ValueError) as error:
            raise ValueError(f"schema is no JSON schema: {error}") from error

    def grade(self, rollout: Rollout) -> bool:
        try:
            self._validate(find_json(rollout.answer))
        except ValueError:  # fastjsonschema's own verdict is one too
            return False
        return True
