"""Text of unknown origin, made safe to print, and short representations of objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sized
from dataclasses import fields
from pathlib import PurePath
from typing import Any, cast

_MAX_CHARS = 2000
_REPR_CHARS, _REPR_VALUE_CHARS = 176, 60
# Control characters, including bidirectional ones, and surrogates, which no encoding has.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def sanitize_line(text: str, limit: int = _MAX_CHARS) -> str:
    """Return text as one printable line of at most `limit` characters, with control characters escaped."""
    return sanitize_text(text, limit).replace("\n", "\\n").replace("\t", "\\t")[:limit]


def sanitize_text(text: str, limit: int = _MAX_CHARS) -> str:
    """Return text of at most `limit` characters with control characters escaped; line breaks and tabs stay."""
    escaped = _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


class ShortRepr:
    """Base class of dataclasses whose `repr` is one short line. Collections show their sizes."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        type.__setattr__(cls, "__repr__", cls.__repr__)  # set in the class itself, so that `dataclass` keeps it

    def __repr__(self) -> str:
        return short_repr(self, (field.name for field in fields(cast("Any", self)) if field.repr))


def short_repr(value: object, names: Iterable[str]) -> str:
    """Return the class of a value and its attributes that are set, as far as they fit in one line."""
    head, parts = f"{type(value).__name__}(", list[str]()
    for name in names:
        part = f"{name}={text}" if (text := _short_value(getattr(value, name))) else ""
        if part and len(head) + sum(len(each) + 2 for each in parts) + len(part) > _REPR_CHARS:
            parts.append("…")
            break
        parts += filter(None, [part])
    return f"{head}{', '.join(parts)})"


def _short_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (str, int, PurePath)):
        return "" if value == "" else sanitize_line(repr(value), _REPR_VALUE_CHARS)
    if isinstance(value, Sized):
        return f"[{len(value):,}]" if len(value) else ""
    return ""
