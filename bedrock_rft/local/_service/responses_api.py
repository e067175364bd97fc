"""The Responses route for plain text: the answers of chat completions in OpenAI's other shape."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.chat import (
    Answer,
    Inference,
    Message,
    SamplingOptions,
    TextFormat,
    event_stream,
    split_words,
)
from bedrock_rft.local._service.requests import Strict, validate_body
from bedrock_rft.local._service.responses import json_response, new_id
from bedrock_rft.local._training.candidates import count_tokens

__all__ = ["Responses"]


class _Text(Strict):
    format: TextFormat | None = None


class _InputItem(Message):
    type: Literal["message"] = "message"
    # Fields of a message that was returned by a service, and is sent back.
    id: str | None = None
    status: str | None = None


def _as_items(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class _ResponseOptions(SamplingOptions):
    input: Annotated[list[_InputItem], BeforeValidator(_as_items)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    metadata: dict[str, str] | None = None
    text: _Text | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    include: Annotated[list[str], Field(max_length=0)] | None = None
    previous_response_id: None = None


class Responses:
    """`/responses`."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def create(self, request: Request) -> Response:
        """`POST /responses`."""
        options = validate_body(_ResponseOptions, request.json)
        messages: list[Message] = list(options.input)
        if options.instructions:
            messages.insert(0, Message(role="system", content=options.instructions))
        answer = Answer.truncate(self._inference.sample(options, messages)[0], options.max_output_tokens)
        prompt = sum(count_tokens(message.text) for message in messages)
        status = "incomplete" if answer.truncated else "completed"
        part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        message = {"id": new_id("msg"), "type": "message", "role": "assistant", "status": status, "content": [part]}
        response: dict[str, Any] = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if answer.truncated else None,
            "instructions": options.instructions,
            "max_output_tokens": options.max_output_tokens,
            "metadata": options.metadata or {},
            "model": options.model,
            "output": [message],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": 1.0 if options.temperature is None else options.temperature,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0 if options.top_p is None else options.top_p,
            "usage": {
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": answer.tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": prompt + answer.tokens,
            },
        }
        if not options.stream:
            return json_response(response)
        events = enumerate(_stream_events(response, answer))
        return event_stream(
            f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}"
            for number, event in events
        )


def _stream_events(response: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    message = response["output"][0]
    reset: dict[str, Any] = {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    started: dict[str, Any] = {**response, **reset}
    position = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    part = message["content"][0]
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    item: dict[str, Any] = {**message, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.content_part.added", **position, "part": {**part, "text": ""}}
    for word in split_words(answer.text):
        yield {"type": "response.output_text.delta", **position, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **position, "text": answer.text, "logprobs": []}
    yield {"type": "response.content_part.done", **position, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": message}
    yield {"type": f"response.{response['status']}", "response": response}
