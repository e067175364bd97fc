"""Graders for answers in JSON: equality with the reference, and validation against a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.extraction import fenced_blocks, strip_thoughts
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout

_START = re.compile(r"[\[{]")
_MAX_ATTEMPTS = 50
_MAX_CHARACTERS = 1_000_000
_LANGUAGES = frozenset({"", "json", "jsonc", "json5"})
_MISSING = object()


def find_json(text: str, *, last: bool = False, default: Any = _MISSING) -> Any:
    """Return the JSON value in a text, without a reasoning model's thoughts.

    The value is the whole text, otherwise the last fenced block that is JSON, otherwise the longest object or array in
    the text, or the last one if `last` is True. If there is `<answer>…</answer>`, the search is limited to it. Without
    any JSON, return the default, or raise `ValueError` if there is no default.
    """
    text = strip_thoughts(text[-_MAX_CHARACTERS:])
    inside, closed, _ = text.rpartition("<answer>")[2].partition("</answer>")
    text = (inside if closed else text).strip()
    blocks = [content for language, content in fenced_blocks(text) if language in _LANGUAGES]
    for candidate in [text, *reversed(blocks[-_MAX_ATTEMPTS:])]:
        if (value := parse_json(candidate, _MISSING)) is not _MISSING:
            return value
    value = _embedded_value(text, last=last)
    if value is _MISSING and default is _MISSING:
        raise ValueError("the text contains no JSON")
    return default if value is _MISSING else value


def _embedded_value(text: str, *, last: bool) -> Any:
    """Return the longest or the last value that is not inside another one."""
    decoder = json.JSONDecoder(parse_constant=_reject_constant)
    longest, length, position, attempts = _MISSING, 0, 0, 0
    while attempts < _MAX_ATTEMPTS and (match := _START.search(text, position)):
        attempts += 1
        try:
            value, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.start() + 1
            continue
        if last or position - match.start() >= length:
            longest, length = value, position - match.start()
    return longest


def parse_json(text: str, default: Any = None) -> Any:
    """Return the value of a JSON text, or the default."""
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return default


def json_text(value: Any) -> str:
    """Return text unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


@dataclass(frozen=True, eq=False, repr=False)
class JsonEqual(Leaf):
    """Score 1 if the JSON in the answer equals the reference.

    The order of keys does not matter; 1 and 1.0 are equal, 1 and true are not. Fields of the reference that are null
    may be missing in the answer, because columnar files such as Parquet fill missing fields with null.

    Attributes:
        partial: give partial credit: the number of right values, divided by the number of values in the reference or
            in the answer, whichever is larger.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference is text that is not JSON.
    """

    partial: bool = False
    name: str = "json"

    def grade(self, rollout: Rollout) -> float:
        wanted = rollout.reference
        if isinstance(wanted, str) and (wanted := parse_json(wanted, _MISSING)) is _MISSING:
            raise ValueError("the reference is text that is not JSON; use Exact() for text")
        try:
            return self._compare(wanted, find_json(rollout.answer))
        except (ValueError, RecursionError):  # nested too deeply, or no JSON
            return 0.0

    def _compare(self, wanted: Any, found: Any) -> float:
        if not self.partial:
            return float(json_equal(wanted, found))
        found_leaves = _leaves(found)
        leaves = {path: leaf for path, leaf in _leaves(wanted).items() if leaf is not None or path in found_leaves}
        right = sum(path in found_leaves and json_equal(leaf, found_leaves[path]) for path, leaf in leaves.items())
        size = max(len(leaves), len(found_leaves))
        return right / size if size else 1.0


def json_equal(wanted: Any, found: Any) -> bool:
    """Return whether two JSON values are equal as `JsonEqual` describes."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, dict) and isinstance(found, dict):
        left, right = cast("Mapping[str, Any]", wanted), cast("Mapping[str, Any]", found)
        required = {name for name, value in left.items() if value is not None}
        return required <= right.keys() <= left.keys() and all(json_equal(left[name], right[name]) for name in right)
    if isinstance(wanted, list) and isinstance(found, list):
        first, second = cast("Sequence[Any]", wanted), cast("Sequence[Any]", found)
        return len(first) == len(second) and all(map(json_equal, first, second))
    return bool(wanted == found)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Return the values that are not objects or arrays, by path. An empty object or array is a leaf too."""
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
    """Score 1 if the JSON in the answer conforms to a schema. Needs fastjsonschema, on this machine and in Lambda.

    Attributes:
        schema: a JSON Schema of draft 4, 6 or 7.
        name: the name in `metrics_list`.

    Raises:
        ImportError: fastjsonschema is not installed; run pip install 'bedrock_rft[json-schema]'.
        ValueError: the schema is invalid.
    """

    schema: Mapping[str, Any]
    name: str = "schema"

    def __post_init__(self) -> None:
        super().__post_init__()
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
                "JsonSchema() needs fastjsonschema: pip install 'bedrock_rft[json-schema]'. In Lambda, package it too."
            ) from error
        try:
            return cast("Callable[[Any], Any]", fastjsonschema.compile(dict(self.schema)))
        except (fastjsonschema.JsonSchemaDefinitionException, TypeError, ValueError) as error:
            raise ValueError(f"schema is not a valid JSON schema: {error}") from error

    def grade(self, rollout: Rollout) -> bool:
        try:
            self._validate(find_json(rollout.answer))
        except ValueError:  # fastjsonschema's validation error is a ValueError too
            return False
        return True
