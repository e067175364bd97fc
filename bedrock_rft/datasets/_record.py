"""Typed records of a training file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError
from typing_extensions import Self

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import DatasetError
from bedrock_rft.types._payload import Payload, explain
from bedrock_rft.types.chat import TextPart

__all__ = ["TrainingMessage", "TrainingRecord"]


class TrainingMessage(Payload):
    """A message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str | tuple[TextPart, ...]


class TrainingRecord(Payload):
    """A prompt and its reference answer. Further fields are passed to the reward.

    Raises:
        DatasetError: a field is missing or has a value that the service does not accept.
    """

    messages: tuple[TrainingMessage, ...] = Field(min_length=1)
    reference_answer: Any
    """Any JSON value."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DatasetError(f"{type(self).__name__}: {explain(error)}") from None

    @classmethod
    def of(cls, prompt: str, *, reference_answer: Any, system: str | None = None, **extras: Any) -> Self:
        """Create a record with one user message.

        Args:
            prompt: text of the user message.
            reference_answer: any JSON value.
            system: text of a system message before it.
            **extras: further fields for the reward.
        """
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": prompt})
        return cls(messages=messages, reference_answer=reference_answer, **extras)

    def __repr__(self) -> str:
        fields = ", ".join(self.model_extra or ())
        extras = f", {fields}" if fields else ""
        return sanitize_line(f"<TrainingRecord {len(self.messages)} messages, reference_answer{extras}>", 100)
