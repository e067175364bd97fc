"""Lists come in pages."""

from __future__ import annotations

from typing import Generic, TypeVar

from bedrock_rft.types._payload import Payload

__all__ = ["Page"]

T = TypeVar("T")


class Page(Payload, Generic[T]):
    """One page of a list. The operations iterate over all of them; few callers need one."""

    object: str = "list"
    data: tuple[T, ...] = ()
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    """Absent means no: an older list has no pages."""
