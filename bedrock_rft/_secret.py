"""A secret that does not print, pickle or compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

__all__ = ["Secret"]

T = TypeVar("T")


class Secret(Generic[T]):
    """Holds a value that must not show up anywhere by accident. Only `reveal` gives it back.

    The value sits in a closure, where `vars`, debuggers' attribute lists, `copy` and printers do not look.
    """

    __slots__ = ("reveal",)

    def __init__(self, value: T) -> None:
        self.reveal: Callable[[], T] = lambda: value

    def __repr__(self) -> str:
        return "'****'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled: make a client of its own in each process.")
