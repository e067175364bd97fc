"""Rules for one record that explain each problem. They run only for records that the fast check rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._report import Problem

ROLES = ("system", "user", "assistant")

_MAX_QUOTED_CHARS = 40
_TEXT_PART = '{"type": "text", "text": "…"}'
_USE_A_ROLE = "Use system, user or assistant"
ROLE_SYNONYMS = {"human": "user", "developer": "system"} | dict.fromkeys(
    ("assistant", "bot", "chatgpt", "gpt", "model"), "assistant"
)


def error(code: str, field: str | None, summary: str, remedy: str, column: int | None = None) -> Problem:
    """Return an error whose line is not known yet."""
    return Problem("error", code, summary, remedy, column=column, field=field)


def warning(code: str, field: str | None, summary: str, remedy: str) -> Problem:
    """Return a warning whose line is not known yet."""
    return Problem("warning", code, summary, remedy, field=field)


def record_problems(record: object) -> Iterator[Problem]:
    """Yield every breach of the documented record format."""
    if not is_object(record):
        summary = f"{json_type(record)} instead of an object"
        yield error("not-an-object", None, summary, "Write one JSON object per line")
        return
    if "messages" not in record:
        yield _missing_messages(record)
        return
    messages: Any = record["messages"]
    if not is_array(messages):
        yield error("messages", "messages", f"{json_type(messages)}, expected a list", "Give a list of messages")
        return
    if not messages:
        yield error("messages", "messages", "the list is empty", "Add at least one message with the role 'user'")
        return
    for index, message in enumerate(messages):
        yield from _message_problems(f"messages[{index}]", message)
    if "user" not in [message.get("role") for message in messages if is_object(message)]:
        yield error("no-user", "messages", "no message has the role 'user'", "Give the prompt the role 'user'")


def content_text(content: Any) -> str | None:
    """Return the text of a message's content with its text parts joined; None if the content is not only text."""
    if isinstance(content, str):
        return content
    if not is_array(content) or not content:
        return None
    texts: list[str] = []
    for part in content:
        if not is_object(part) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            return None
        texts.append(part["text"])
    return "".join(texts)


def join_text_parts(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a valid record with the content of each message as one string."""
    messages = [message | {"content": content_text(message["content"])} for message in fields["messages"]]
    return fields | {"messages": messages}


def json_type(value: object) -> str:
    """Return the JSON name of a value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def truncate(text: str, limit: int = _MAX_QUOTED_CHARS) -> str:
    """Return the beginning of a text from the user, short enough to quote in a message."""
    return text if len(text) <= limit else text[:limit] + "…"


def list_names(fields: Any) -> str:
    """Return the names of a record's fields for a message, at most twelve."""
    names = [sanitize_line(truncate(str(name))) for name in fields]
    return ", ".join(names[:12] + ["…"] * (len(names) > 12)) or "none"  # noqa: PLR2004 - a line or two


def _missing_messages(fields: dict[str, Any]) -> Problem:
    import difflib

    close = difflib.get_close_matches("messages", fields, 1, 0.6)
    if close:
        summary = f"missing; the record has '{truncate(close[0])}'"
        return error("messages-missing", "messages", summary, f"Rename '{truncate(close[0])}' to 'messages'")
    remedy = 'Add "messages": [{"role": "user", "content": "…"}]'
    prompt = fields.get("prompt")
    if _is_convertible(fields):
        remedy = "Convert the file: datasets.convert reads this format"
    elif is_array(prompt) and prompt and all(map(is_object, prompt)):
        remedy = "Rename 'prompt', which holds messages, to 'messages'"
    return error("messages-missing", "messages", "missing", remedy)


def _is_convertible(fields: dict[str, Any]) -> bool:
    """Return whether a record without messages may have a format that `convert` reads."""
    formats = ({"prompt", "reward_model"}, {"prompt", "completion"}, {"conversations"}, {"instruction", "output"})
    return is_object(fields.get("item")) or any(names <= fields.keys() for names in formats)


def _message_problems(path: str, message: object) -> Iterator[Problem]:
    if not is_object(message):
        summary = f"{json_type(message)} instead of an object"
        yield error("message", path, summary, 'Give {"role": …, "content": …}')
        return
    if "role" not in message:
        yield error("role-missing", f"{path}.role", "missing", _USE_A_ROLE)
    elif not isinstance(message["role"], str):
        yield error("role", f"{path}.role", f"{json_type(message['role'])}, expected a string", _USE_A_ROLE)
    elif message["role"] not in ROLES:
        yield _unknown_role(f"{path}.role", message["role"])
    if "content" not in message:
        yield error("content-missing", f"{path}.content", "missing", "Add the text of the message")
    else:
        yield from _content_problems(f"{path}.content", message["content"])


def _unknown_role(path: str, role: str) -> Problem:
    name = role.strip().lower()
    intended = name if name in ROLES else ROLE_SYNONYMS.get(name)
    hint = f"; '{intended}' may be meant" if intended else ""
    return error("role", path, f"unknown role '{truncate(role)}'", _USE_A_ROLE + hint)


def _content_problems(path: str, content: Any) -> Iterator[Problem]:
    if isinstance(content, str):
        return
    if not is_array(content) or not content:
        summary = "the list is empty" if content == [] else f"{json_type(content)}, expected a string or text parts"
        yield error("content", path, summary, "Give the text as a string")
        return
    for index, part in enumerate(content):
        if content_text([part]) is None:
            remedy = f"Give {_TEXT_PART}; the service accepts only text"
            yield error("content-part", f"{path}[{index}]", "not a text part", remedy)
