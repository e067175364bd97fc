"""Inference: chat completions, whole or streamed, from the policy that a job learned."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

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
_UNKNOWN_PROMPT = f"{LABEL}: this prompt is not in any uploaded file, so there is no answer to it."

_Empty = Annotated[list[Any], Field(max_length=0)]
_Limit = Annotated[int, Field(gt=0)]
_Zero = Annotated[float, Field(ge=0, le=0)]


class _TextFormat(Strict):
    type: Literal["text"]


class _StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    # Fields of an assistant message that was returned by a service, and is sent back.
    refusal: None = None
    annotations: _Empty | None = None
    audio: None = None
    function_call: None = None
    tool_calls: _Empty | None = None
    reasoning_content: str | None = None

    @field_validator("content")
    @classmethod
    def _text_only(cls, content: str | list[dict[str, Any]] | None) -> str | list[dict[str, Any]] | None:
        if isinstance(content, list) and any(
            part.get("type") != "text" or not isinstance(part.get("text"), str) for part in content
        ):
            raise ValueError("the local service supports text parts only")
        return content

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "".join(part["text"] for part in self.content)
        return self.content or ""


class _ChatOptions(Strict):
    """The body of `POST /chat/completions`. Parameters that would have no effect may only have values that mean off."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: int | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    tools: _Empty | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    frequency_penalty: _Zero | None = None
    presence_penalty: _Zero | None = None
    logprobs: Literal[False] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: _TextFormat | None = None
    modalities: list[Literal["text"]] | None = None


@dataclass(frozen=True)
class _Answer:
    """One answer, cut after the allowed number of tokens."""

    text: str
    tokens: int
    truncated: bool

    @classmethod
    def truncate(cls, text: str, limit: int | None, stop: Sequence[str] = ()) -> _Answer:
        """Cut a text before the first stop sequence, and after `limit` tokens."""
        for sequence in stop:
            text = text.partition(sequence)[0] if sequence else text
        ends = [match.end() for match in _TOKEN.finditer(text)]
        if limit is None or len(ends) <= limit:
            return cls(text, len(ends), truncated=False)
        return cls(text[: ends[limit - 1]], limit, truncated=True)


class Inference:
    """`/chat/completions`."""

    def __init__(self, store: Store, gold: Gold | None = None) -> None:
        self._store = store
        self._gold = gold
        self._positions: dict[str, dict[str, int]] = {}
        self._load_records = lru_cache(_CACHED_FILES)(self._read_records)

    def create_chat_completion(self, request: Request) -> Response:
        """`POST /chat/completions`."""
        options = validate_body(_ChatOptions, request.json)
        limit = options.max_completion_tokens or options.max_tokens
        stop = [options.stop] if isinstance(options.stop, str) else options.stop or []
        answers = [_Answer.truncate(text, limit, stop) for text in self._sample(options)]
        prompt = sum(count_tokens(message.text) for message in options.messages)
        completion = sum(answer.tokens for answer in answers)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": options.model}
        if options.stream:
            last = usage if options.stream_options and options.stream_options.include_usage else None
            events = (*map(json.dumps, _stream_chunks(head, answers, last)), "[DONE]")
            headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
            return Response(200, headers, "".join(f"data: {event}\n\n" for event in events).encode())
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

    def _sample(self, options: _ChatOptions) -> list[str]:
        """Sample answers to a conversation. Raise `ServiceError` (404) if the model does not exist."""
        state, files = self._load_model(options.model)
        key = prompt_key([{"role": message.role, "content": message.text} for message in options.messages])
        for file in dict.fromkeys([*files, *self._store.file_ids()]):
            position = self._prompt_positions(file).get(key)
            if position is not None:
                return sample_answers(
                    state,
                    self._load_records(file),
                    position,
                    n=options.n or 1,
                    temperature=1.0 if options.temperature is None else options.temperature,
                    top_p=1.0 if options.top_p is None else options.top_p,
                    seed=options.seed,
                    gold=self._gold,
                )
        return [_UNKNOWN_PROMPT] * (options.n or 1)

    def _load_model(self, model: str) -> tuple[str | None, Sequence[str]]:
        """Return a model's policy and the files of its job; None and no files for a base model."""
        if is_base_model(model):
            return None, ()
        known = self._store.find_model(model)
        job = None if known is None else self._store.get("job", known.job)
        if known is None or job is None:
            raise ServiceError(404, f"There is no model '{model[:200]}'.", code="model_not_found", param="model")
        return known.state, [file for file in (job["training_file"], job["validation_file"]) if file is not None]

    def _prompt_positions(self, file: str) -> dict[str, int]:
        """Return the first position of each prompt in a file, by key; empty if it is not a training file."""
        if file not in self._positions:
            records = self._load_records(file)
            self._positions[file] = {record.prompt_key: record.index for record in reversed(records)}
        return self._positions[file]

    def _read_records(self, file: str) -> list[Record]:
        """Return the records of a file; none if it is gone or not a training file."""
        try:
            return read_records(self._store.read_file(file, include_deleted=True), minimum=1)
        except (InvalidFileError, FileNotFoundError):
            return []


def _stream_chunks(
    head: dict[str, Any], answers: list[_Answer], usage: dict[str, int] | None
) -> Iterator[dict[str, Any]]:
    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    for index, answer in enumerate(answers):
        yield chunk(index, {"role": "assistant", "content": ""})
        for word in re.findall(r"\s*\S+|\s+", answer.text):  # as a model streams it
            yield chunk(index, {"content": word})
        yield chunk(index, {}, "length" if answer.truncated else "stop")
    if usage is not None:
        yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
