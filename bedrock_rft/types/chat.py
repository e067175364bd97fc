"""Chat completions, as far as this package uses them. `client.openai` has the complete types of OpenAI."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bedrock_rft.types._payload import Payload

__all__ = ["ChatChoice", "ChatCompletion", "ChatMessage", "ChatRequest", "TextPart", "Usage"]


class TextPart(Payload):
    """Part of a message: `{"type": "text", "text": …}`."""

    type: str = "text"
    text: str = ""


class ChatMessage(Payload):
    """A message of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str | tuple[TextPart, ...] | None = None

    @property
    def text(self) -> str:
        """Return the content as one string."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content)


class ChatRequest(Payload):
    """The body of `POST /chat/completions`."""

    model: str
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    n: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: dict[str, Any] | None = None


class Usage(Payload):
    """Number of tokens used."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatChoice(Payload):
    """A completion."""

    index: int = 0
    message: ChatMessage
    finish_reason: str | None = None


class ChatCompletion(Payload):
    """The response to a chat request."""

    id: str
    object: str = "chat.completion"
    created: int = 0
    """Unix seconds."""
    model: str = ""
    choices: tuple[ChatChoice, ...] = ()
    usage: Usage | None = None
