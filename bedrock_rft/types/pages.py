"""Pages of lists."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from typing_extensions import Self

from bedrock_rft.types._payload import Payload

__all__ = ["Page"]

T = TypeVar("T")


class Page(Payload, Generic[T]):
    """One page of a list. Operations iterate over all pages."""

    object: str = "list"
    data: tuple[T, ...]
    """Required: a response without it, or with null, is not a list, and must not be read as an empty one."""
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    """False if the service does not return it."""

    @classmethod
    def salvage(cls, data: Any) -> Self:
        """Validate data without the parts that do not fit. Raise `ValueError` if no item of a list can be read.

        As an empty list, it would make a search for a job find nothing, and create a second one.
        """
        items: Any = cast("dict[str, Any]", data).get("data") if isinstance(data, dict) else None
        has_items = bool(items)  # before the validation, which removes items that do not fit
        page = super().salvage(data)
        if has_items and not page.data:
            raise ValueError("none of the items of the list can be read")
        return page
