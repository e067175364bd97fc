"""One sampled answer, as the service hands it to a reward, whichever shape it came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["Rollout"]

_OWN = frozenset({"id", "messages", "metadata", "reference_answer"})


@dataclass(frozen=True)
class Rollout:
    """One answer of the model to one prompt.

    Attributes:
        id: the service's name of it.
        messages: the prompt, and last the assistant's answer; each has a `role` and a `content`.
        reference: the record's `reference_answer`, any JSON. A string that came wrapped as `{"text": …}` is unwrapped.
        extra: the record's further fields.

    Source:
        AWS documents `{"id", "messages", "metadata": {"reference_answer", …}}`. AWS's own sample reads a top-level
        `reference_answer`, with strings wrapped as `{"text": …}`. Both are read.
    """

    id: str
    messages: tuple[Mapping[str, Any], ...]
    reference: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, entry: object) -> Rollout:
        """Read one entry of the event that a reward function gets.

        Raises:
            ValueError: it is no object, or its `messages` are no list of objects.
        """
        if not isinstance(entry, Mapping):
            raise ValueError(f"a rollout is an object, not {type(entry).__name__}")  # noqa: TRY004 - one kind of refusal
        fields = cast("Mapping[str, Any]", entry)
        messages = fields.get("messages")
        if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
            raise ValueError(f"messages must be a list, not {type(messages).__name__}")  # noqa: TRY004 - as above
        turns: list[Mapping[str, Any]] = []
        for turn in cast("list[Any]", messages):
            if not isinstance(turn, Mapping):
                raise ValueError("each of messages must be an object with role and content")  # noqa: TRY004 - as above
            turns.append(cast("Mapping[str, Any]", turn))
        metadata = fields.get("metadata")
        nested: Mapping[str, Any] = cast("Mapping[str, Any]", metadata) if isinstance(metadata, Mapping) else {}
        source = fields if "reference_answer" in fields else nested
        extra = {name: value for name, value in {**nested, **fields}.items() if name not in _OWN}
        if metadata is not None and not isinstance(metadata, Mapping):
            extra["metadata"] = metadata
        return cls(str(fields.get("id", "")), tuple(turns), _unwrapped(source.get("reference_answer")), extra)

    @classmethod
    def of(cls, prompt: str, answer: str, reference: Any = None, **extra: Any) -> Rollout:
        """A rollout to try a reward on: `correct(Rollout.of("2 + 2?", "4", reference="4"))`."""
        turns = ({"role": "user", "content": prompt}, {"role": "assistant", "content": answer})
        return cls("rollout", turns, reference, extra)

    @property
    def answer(self) -> str:
        """What the model said: the text of the last message, empty where that is not the assistant's."""
        if not self.messages or self.messages[-1].get("role") != "assistant":
            return ""
        return _text(self.messages[-1].get("content"))

    @property
    def prompt(self) -> str:
        """The text of the last message of the user, empty where there is none."""
        asked = (turn for turn in reversed(self.messages) if turn.get("role") == "user")
        last = next(asked, None)
        return "" if last is None else _text(last.get("content"))


def _unwrapped(reference: Any) -> Any:
    if isinstance(reference, dict):
        wrapped = cast("dict[str, Any]", reference)
        if set(wrapped) == {"text"} and isinstance(wrapped["text"], str):
            return wrapped["text"]
    return cast("Any", reference)


def _text(content: object) -> str:
    """Content as text: a string, or the text of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (cast("Mapping[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, Mapping))
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))
