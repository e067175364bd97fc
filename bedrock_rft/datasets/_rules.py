"""What one record must be, said in full: the slow path, for the few records that a fast look did not pass.

Each rule yields what is wrong, where, and how to mend it. What the service documents is an error; what is unknown or
disputed is a warning, and those are found elsewhere, over many records at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

__all__ = ["ROLES", "Finding", "kind", "misfits", "shown", "text"]

ROLES = frozenset({"system", "user", "assistant"})

_SHOWN = 40
_TEXT_PART = '{"type": "text", "text": "…"}'


class Finding(NamedTuple):
    """One thing that is wrong with a record.

    Attributes:
        code: names the rule, and stays as it is from version to version.
        field: where it is, such as `messages[0].role`; None for the whole line.
        what: what is wrong.
        mend: what to do about it.
        column: 1 for the line's first byte, where known.
    """

    code: str
    field: str | None
    what: str
    mend: str
    column: int | None = None


def misfits(row: object) -> Iterator[Finding]:
    """Everything in one record that the documentation does not allow."""
    if not isinstance(row, dict):
        yield Finding("not-an-object", None, f"{kind(row)} instead of an object", "Write one JSON object per line")
        return
    fields = cast("dict[str, Any]", row)
    if "messages" not in fields:
        yield _without_messages(fields)
        return
    messages = fields["messages"]
    if not isinstance(messages, list):
        yield Finding("messages", "messages", f"{kind(messages)}, expected a list", "Give a list of messages")
        return
    turns: list[Any] = fields["messages"]
    if not turns:
        yield Finding("messages", "messages", "the list is empty", "Give at least one message, from the user")
        return
    for place, turn in enumerate(turns):
        yield from _turn(f"messages[{place}]", turn)
    roles = [cast("dict[str, Any]", turn).get("role") for turn in turns if isinstance(turn, dict)]
    if "user" not in roles:
        yield Finding("no-user", "messages", "no message is from the user", "Give the prompt the role 'user'")


def _without_messages(fields: dict[str, Any]) -> Finding:
    import difflib

    near = difflib.get_close_matches("messages", fields, 1, 0.6)
    if near:
        return Finding("messages-missing", "messages", f"missing; there is '{shown(near[0])}'", "Call it 'messages'")
    mend = 'Give "messages": [{"role": "user", "content": "…"}]; datasets.convert reads other formats'
    return Finding("messages-missing", "messages", "missing", mend)


def _turn(place: str, turn: object) -> Iterator[Finding]:
    if not isinstance(turn, dict):
        yield Finding("message", place, f"{kind(turn)} instead of an object", 'Give {"role": …, "content": …}')
        return
    fields = cast("dict[str, Any]", turn)
    if "role" not in fields:
        yield Finding("role-missing", f"{place}.role", "missing", f"Use one of {_roles()}")
    elif not isinstance(fields["role"], str) or fields["role"] not in ROLES:
        yield _role(f"{place}.role", fields["role"])
    if "content" not in fields:
        yield Finding("content-missing", f"{place}.content", "missing", "Give the text")
    else:
        yield from _content(f"{place}.content", fields["content"])


def _role(place: str, role: object) -> Finding:
    if not isinstance(role, str):
        return Finding("role", place, f"{kind(role)}, expected a string", f"Use one of {_roles()}")
    meant = {"human": "user", "bot": "assistant", "gpt": "assistant", "model": "assistant", "developer": "system"}
    near = role.strip().lower()
    near = near if near in ROLES else meant.get(near, "")
    mend = f"Use one of {_roles()}" + (f"; '{near}' may be meant" if near else "")
    return Finding("role", place, f"'{shown(role)}' is no role", mend)


def _content(place: str, content: Any) -> Iterator[Finding]:
    if isinstance(content, str):
        return
    parts: Any = content  # narrowing it would make its items unknown
    if not isinstance(content, list) or not content:
        found = "the list is empty" if parts == [] else f"{kind(parts)}, expected a string or a list of text parts"
        yield Finding("content", place, found, "Give the text as a string")
        return
    for position, part in enumerate(parts):
        if text([part]) is None:
            yield Finding("content-part", f"{place}[{position}]", "not a text part", f"Give {_TEXT_PART}: only text")


def text(content: Any) -> str | None:
    """The text of a message's content, its parts joined; None where it is not text alone."""
    parts: Any = content
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    found: list[str] = []
    for part in parts:
        piece = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        words = piece.get("text")
        if piece.get("type") != "text" or not isinstance(words, str):
            return None
        found.append(words)
    return "".join(found)


def kind(value: object) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def shown(value: str) -> str:
    """As much of the user's own text as a message needs."""
    return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"


def _roles() -> str:
    return "system, user, assistant"
