"""Inference: chat completions and responses, whole or streamed, from the policy that a job learned."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.requests import (
    LABEL,
    ServiceError,
    Strict,
    is_base_model,
    json_response,
    new_id,
    validate_body,
)
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.dataset import InvalidFileError, Record, prompt_key, read_records
from bedrock_rft.local._training.policy import Gold, count_tokens, sample_answers

_CACHED_FILES = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")
_UNKNOWN_PROMPT = f"{LABEL}: this prompt is not in any uploaded file and has no answer."

_TEXT_TYPES = ("text", "input_text", "output_text")
_Empty = Annotated[list[Any], Field(max_length=0)]
_Limit = Annotated[int, Field(gt=0)]
_Zero = Annotated[float, Field(ge=0, le=0)]


class TextFormat(Strict):
    """The only supported format of an answer."""

    type: Literal["text"]


class Message(Strict):
    """A message of a conversation: text from any role."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None

    @field_validator("content")
    @classmethod
    def _require_text(cls, content: str | list[dict[str, Any]] | None) -> str | list[dict[str, Any]] | None:
        if isinstance(content, list) and any(
            part.get("type") not in _TEXT_TYPES or not isinstance(part.get("text"), str) for part in content
        ):
            raise ValueError("the local service supports text parts only")
        return content

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "".join(part["text"] for part in self.content)
        return self.content or ""


class SamplingOptions(Strict):
    """Parameters that both routes share. Others are rejected, because they would have no effect."""

    model: str
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    tools: _Empty | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None


class _ChatMessage(Message):
    name: str | None = None
    # Fields of an assistant message that a service returned and a client sends back.
    refusal: None = None
    annotations: _Empty | None = None
    audio: None = None
    function_call: None = None
    tool_calls: _Empty | None = None
    reasoning_content: str | None = None


class _StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _ChatOptions(SamplingOptions):
    messages: list[_ChatMessage] = Field(min_length=1)
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: int | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream_options: _StreamOptions | None = None
    frequency_penalty: _Zero | None = None
    presence_penalty: _Zero | None = None
    logprobs: Literal[False] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None


@dataclass(frozen=True)
class Answer:
    """An answer, cut after the allowed number of tokens."""

    text: str
    tokens: int
    truncated: bool

    @classmethod
    def truncate(cls, text: str, limit: int | None, stop: Sequence[str] = ()) -> Answer:
        """Cut a text before the first stop sequence, and after `limit` tokens."""
        for sequence in stop:
            text = text.partition(sequence)[0] if sequence else text
        ends = [match.end() for match in _TOKEN.finditer(text)]
        if limit is None or len(ends) <= limit:
            return cls(text, len(ends), truncated=False)
        return cls(text[: ends[limit - 1]], limit, truncated=True)


class Inference:
    """The route `/chat/completions`, and the sampling of answers that other routes share."""

    def __init__(self, store: Store, gold: Gold | None = None) -> None:
        self._store = store
        self._gold = gold
        self._positions: dict[str, dict[str, int]] = {}
        self._load_records = lru_cache(_CACHED_FILES)(self._read_records)

    def create_chat_completion(self, request: Request) -> Response:
        """Handle `POST /chat/completions`."""
        options = validate_body(_ChatOptions, request.json)
        limit = options.max_completion_tokens or options.max_tokens
        stop = [options.stop] if isinstance(options.stop, str) else options.stop or []
        texts = self.sample(options, options.messages, n=options.n or 1, seed=options.seed)
        answers = [Answer.truncate(text, limit, stop) for text in texts]
        prompt = sum(count_tokens(message.text) for message in options.messages)
        completion = sum(answer.tokens for answer in answers)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": options.model}
        if options.stream:
            last = usage if options.stream_options and options.stream_options.include_usage else None
            chunks = map(json.dumps, _stream_chunks(head, answers, last))
            return event_stream(f"data: {data}" for data in (*chunks, "[DONE]"))
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "finish_reason": "length" if answer.truncated else "stop",
                "logprobs": None,
            }
            for index, answer in enumerate(answers)
        ]
        return json_response({**head, "object": "chat.completion", "choices": choices, "usage": usage})

    def sample(
        self, options: SamplingOptions, messages: Iterable[Message], *, n: int = 1, seed: int | None = None
    ) -> list[str]:
        """Sample `n` answers to a conversation. Raise `ServiceError` (404) if the model does not exist."""
        state, files = self._load_model(options.model)
        key = prompt_key([{"role": message.role, "content": message.text} for message in messages])
        for file in dict.fromkeys([*files, *self._store.file_ids()]):
            position = self._prompt_positions(file).get(key)
            if position is not None:
                return sample_answers(
                    state,
                    self._load_records(file),
                    position,
                    n=n,
                    temperature=1.0 if options.temperature is None else options.temperature,
                    top_p=1.0 if options.top_p is None else options.top_p,
                    seed=seed,
                    gold=self._gold,
                )
        return [_UNKNOWN_PROMPT] * n

    def _load_model(self, model: str) -> tuple[str | None, Sequence[str]]:
        """Return a model's policy and the files of its job; None and no files for a base model."""
        if is_base_model(model):
            return None, ()
        stored_model = self._store.find_model(model)
        job = None if stored_model is None else self._store.get("job", stored_model.job)
        if stored_model is None or job is None:
            raise ServiceError(404, f"There is no model '{model[:200]}'.", code="model_not_found", param="model")
        return stored_model.state, [file for file in (job["training_file"], job["validation_file"]) if file is not None]

    def _prompt_positions(self, file: str) -> dict[str, int]:
        """Return the first position of each prompt in a file, by key; empty for another file."""
        if file not in self._positions:
            records = self._load_records(file)
            self._positions[file] = {record.prompt_key: record.index for record in reversed(records)}
        return self._positions[file]

    def _read_records(self, file: str) -> list[Record]:
        """Return the records of a file; none if the file is gone or is not a training file."""
        try:
            return read_records(self._store.read_file(file, include_deleted=True), minimum=1)
        except (InvalidFileError, FileNotFoundError):
            return []


def split_words(text: str) -> list[str]:
    """Split a text before each word, as a model streams it."""
    return re.findall(r"\s*\S+|\s+", text)


def event_stream(events: Iterable[str]) -> Response:
    """Return a success with server-sent events. JSON escapes line breaks, so each event's data is one line."""
    headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
    return Response(200, headers, "".join(f"{event}\n\n" for event in events).encode())


def _stream_chunks(
    head: dict[str, Any], answers: list[Answer], usage: dict[str, int] | None
) -> Iterator[dict[str, Any]]:
    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    for index, answer in enumerate(answers):
        yield chunk(index, {"role": "assistant", "content": ""})
        for word in split_words(answer.text):
            yield chunk(index, {"content": word})
        yield chunk(index, {}, "length" if answer.truncated else "stop")
    if usage is not None:
        yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}


class _Text(Strict):
    format: TextFormat | None = None


class _InputItem(Message):
    type: Literal["message"] = "message"
    # Fields of a message that a service returned and a client sends back.
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
    """Routes under `/responses`."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def create(self, request: Request) -> Response:
        """Handle `POST /responses`."""
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
