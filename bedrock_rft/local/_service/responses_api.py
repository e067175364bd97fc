"""The Responses route for plain text: the answers of chat completions in OpenAI's other shape."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.chat import Answer, Inference, SamplingOptions, count_prompt_tokens, split_words
from bedrock_rft.local._service.requests import validate_body
from bedrock_rft.local._service.responses import ServiceError, json_response, new_id

__all__ = ["Responses"]

_TEXT_TYPES = ("text", "input_text", "output_text")
_ROLES = ("system", "developer", "user", "assistant")


class _Format(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: _Format | None = None


class _ResponseOptions(SamplingOptions):
    input: str | list[dict[str, Any]]
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
        messages = _chat_messages(options)
        answer = Answer.truncate(self._inference.sample(options, messages)[0], options.max_output_tokens)
        prompt = count_prompt_tokens(messages)
        response: dict[str, Any] = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if answer.truncated else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if answer.truncated else None,
            "instructions": options.instructions,
            "max_output_tokens": options.max_output_tokens,
            "metadata": options.metadata or {},
            "model": options.model,
            "output": [_output_message(new_id("msg"), answer)],
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
        return _stream_response(response, answer) if options.stream else json_response(response)


def _output_message(key: str, answer: Answer) -> dict[str, Any]:
    status = "incomplete" if answer.truncated else "completed"
    part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return {"id": key, "type": "message", "role": "assistant", "status": status, "content": [part]}


def _chat_messages(options: _ResponseOptions) -> list[dict[str, Any]]:
    """Return the input as chat messages, with the instructions as the system message."""
    items = [{"role": "user", "content": options.input}] if isinstance(options.input, str) else options.input
    messages = [{"role": "system", "content": options.instructions}] if options.instructions else []
    for position, item in enumerate(items):
        role, kind = item.get("role"), item.get("type", "message")
        if kind != "message":
            raise ServiceError(
                400,
                f"The local service does not support input items of type '{str(kind)[:60]}'.",
                param=f"input.{position}.type",
            )
        if role not in _ROLES:
            problem = "is missing" if role is None else f"must be one of {', '.join(_ROLES)}"
            raise ServiceError(400, f"input.{position}.role {problem}.", param=f"input.{position}.role")
        messages.append({"role": role, "content": _join_text(item.get("content"), f"input.{position}.content")})
    return messages


def _join_text(content: Any, param: str) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[object]", content) if isinstance(content, list) else [None]
    texts = [text for part in parts if (text := _part_text(part)) is not None]
    if len(texts) != len(parts):
        raise ServiceError(400, f"{param} must be a string or a list of text parts.", param=param)
    return "".join(texts)


def _part_text(part: object) -> str | None:
    fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    text = fields.get("text")
    return text if isinstance(text, str) and fields.get("type") in _TEXT_TYPES else None


def _stream_response(response: dict[str, Any], answer: Answer) -> Response:
    lines = [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
        for number, event in enumerate(_stream_events(response, answer))
    ]
    headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
    return Response(200, headers, "".join(lines).encode())


def _stream_events(response: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    message = response["output"][0]
    started: dict[str, Any] = {
        **response,
        "status": "in_progress",
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
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
