"""Check the types of JSON values, so that type checkers know the types of the items, unlike with `isinstance`."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypeIs


def is_object(value: object) -> TypeIs[dict[str, Any]]:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeIs[list[Any]]:
    """Return whether a value is a JSON array."""
    return isinstance(value, list)
