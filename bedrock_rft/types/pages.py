"""Pages of lists."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import field_validator

from bedrock_rft.types._payload import Payload

__all__ = ["Page"]

T = TypeVar("T")


class Page(Payload, Generic[T]):
    """One page of a list. Operations iterate over all pages."""

    object: str = "list"
    data: tuple[T, ...]
    """Required: a response without it is not a list, and must not be read as an empty one. Null is an empty list."""
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    """False if the service does not return it."""

    @field_validator("data", mode="before")
    @classmethod
    def _read_null(cls, value: Any) -> Any:
        return () if value is None else value
