"""One line of a training file, typed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError
from typing_extensions import Self

from bedrock_rft.errors import DatasetError
from bedrock_rft.types._payload import Payload, explain
from bedrock_rft.types.chat import TextPart

__all__ = ["TrainingMessage", "TrainingRecord"]


class TrainingMessage(Payload):
    """One turn of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str | tuple[TextPart, ...]


class TrainingRecord(Payload):
    """One prompt, and what the reward compares the model's answer with. Any further field goes to the grader.

    Raises:
        DatasetError: a field is missing or is not what the service takes.
    """

    messages: tuple[TrainingMessage, ...] = Field(min_length=1)
    reference_answer: Any
    """Any JSON value."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as misfit:
            raise DatasetError(f"{type(self).__name__}: {explain(misfit)}") from None

    @classmethod
    def of(cls, prompt: str, *, reference_answer: Any, system: str | None = None, **extras: Any) -> Self:
        """A prompt of one question.

        Args:
            prompt: what the user says.
            reference_answer: any JSON value.
            system: what the system says before.
            **extras: further fields for the grader.
        """
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": prompt})
        return cls(messages=messages, reference_answer=reference_answer, **extras)
