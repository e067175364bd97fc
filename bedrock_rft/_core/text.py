"""Text of unknown origin, made safe to print."""

from __future__ import annotations

import re

__all__ = ["sanitize_line", "sanitize_text"]

_MAX_CHARS = 2000
# Bidirectional controls among them, and surrogates, which no encoding has.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def sanitize_line(text: str, limit: int = _MAX_CHARS) -> str:
    """Return text as one printable line of at most `limit` characters, with control characters escaped."""
    return sanitize_text(text, limit).replace("\n", "\\n").replace("\t", "\\t")[:limit]


def sanitize_text(text: str, limit: int = _MAX_CHARS) -> str:
    """Return text of at most `limit` characters with control characters escaped; line breaks and tabs stay."""
    escaped = _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
