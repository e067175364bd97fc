"""The Responses route, as far as plain text goes: OpenAI's shape around the same answers as chat completions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, cast

from pydantic import Field

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.chat import Answer, Inference, Options, count_prompt, pieces
from bedrock_rft.local._service.requests import read
from bedrock_rft.local._service.responses import Problem, made, new_id

__all__ = ["Responses"]

_TEXTS = ("text", "input_text", "output_text")


class _ResponseOptions(Options):
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None


class Responses:
    """`/responses`."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def create(self, call: Request) -> Response:
        """`POST /responses`."""
        wanted = read(_ResponseOptions, call.json)
        messages = _messages(wanted)
        answer = Answer.within(self._inference.ask(wanted, messages)[0], wanted.max_output_tokens)
        asked = count_prompt(messages)
        response: dict[str, Any] = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if answer.cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if answer.cut else None,
            "instructions": wanted.instructions,
            "max_output_tokens": wanted.max_output_tokens,
            "metadata": {},
            "model": wanted.model,
            "output": [_message(new_id("msg"), answer)],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": 1.0 if wanted.temperature is None else wanted.temperature,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": asked,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": answer.tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": asked + answer.tokens,
            },
        }
        return _streamed(response, answer) if wanted.stream else made(response)


def _message(key: str, answer: Answer) -> dict[str, Any]:
    status = "incomplete" if answer.cut else "completed"
    part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return {"id": key, "type": "message", "role": "assistant", "status": status, "content": [part]}


def _messages(wanted: _ResponseOptions) -> list[dict[str, Any]]:
    turns = [{"role": "user", "content": wanted.input}] if isinstance(wanted.input, str) else wanted.input
    messages = [{"role": "system", "content": wanted.instructions}] if wanted.instructions else []
    for place, turn in enumerate(turns):
        role = turn.get("role")
        if not isinstance(role, str):
            raise Problem(400, f"input.{place}.role is missing.", param=f"input.{place}.role")
        messages.append({"role": role, "content": _plain(turn.get("content"), f"input.{place}.content")})
    return messages


def _plain(content: Any, param: str) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[object]", content) if isinstance(content, list) else [None]
    texts = [text for part in parts if (text := _part(part)) is not None]
    if len(texts) != len(parts):
        raise Problem(400, f"{param} must be a string or a list of text parts.", param=param)
    return "".join(texts)


def _part(part: object) -> str | None:
    fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    text = fields.get("text")
    return text if isinstance(text, str) and fields.get("type") in _TEXTS else None


def _streamed(response: dict[str, Any], answer: Answer) -> Response:
    lines = [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
        for number, event in enumerate(_events(response, answer))
    ]
    headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
    return Response(200, headers, "".join(lines).encode())


def _events(response: dict[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    message = response["output"][0]
    begun: dict[str, Any] = {
        **response,
        "status": "in_progress",
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    at = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    part = message["content"][0]
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    item: dict[str, Any] = {**message, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    for piece in pieces(answer.text):
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": answer.text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": message}
    yield {"type": f"response.{response['status']}", "response": response}
