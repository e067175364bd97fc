"""Asking the models: chat completions and responses, whole or streamed, from the policy that was learned."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.local._service.requests import is_base, read
from bedrock_rft.local._service.responses import REHEARSAL, Problem, made, new_id
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.answers import answers, count_tokens
from bedrock_rft.local._training.dataset import InvalidFile, Record, prompt_key, read_records

__all__ = ["Answer", "Inference", "Options", "events", "pieces"]

_OPEN_FILES = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")
_UNKNOWN = f"{REHEARSAL}: I only know the prompts of uploaded files, and this is none of them."

_Temperature = Annotated[float, Field(ge=0, le=2)]
_Limit = Annotated[int, Field(gt=0)]


class Options(BaseModel):
    """What shapes an answer; the many other settings of these routes are taken and change nothing."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    model: str
    stream: bool | None = None
    temperature: _Temperature | None = None
    seed: int | None = None


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    role: str
    content: str | list[dict[str, Any]] | None = None


class _StreamOptions(BaseModel):
    include_usage: bool | None = None


class _ChatOptions(Options):
    messages: list[_Turn] = Field(min_length=1)
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    stream_options: _StreamOptions | None = None


@dataclass(frozen=True)
class Answer:
    """One answer, cut to the tokens that were allowed."""

    text: str
    tokens: int
    cut: bool

    @classmethod
    def within(cls, text: str, limit: int | None) -> Answer:
        """Cut a text after `limit` tokens."""
        ends = [match.end() for match in _TOKEN.finditer(text)]
        if limit is None or len(ends) <= limit:
            return cls(text, len(ends), cut=False)
        return cls(text[: ends[limit - 1]], limit, cut=True)


class Inference:
    """`/chat/completions`, and what other routes need to answer with."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: OrderedDict[str, list[Record]] = OrderedDict()
        self._lock = Lock()

    def chat(self, call: Request) -> Response:
        """`POST /chat/completions`."""
        wanted = read(_ChatOptions, call.json)
        messages = [turn.model_dump() for turn in wanted.messages]
        limit = wanted.max_completion_tokens or wanted.max_tokens
        given = [Answer.within(text, limit) for text in self.ask(wanted, messages, n=wanted.n or 1)]
        asked = count_prompt(messages)
        spent = sum(answer.tokens for answer in given)
        usage = {"prompt_tokens": asked, "completion_tokens": spent, "total_tokens": asked + spent}
        head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": wanted.model}
        if wanted.stream:
            tail = usage if wanted.stream_options and wanted.stream_options.include_usage else None
            return events(json.dumps(chunk) for chunk in _chunks(head, given, tail))
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "finish_reason": "length" if answer.cut else "stop",
                "logprobs": None,
            }
            for index, answer in enumerate(given)
        ]
        return made({**head, "object": "chat.completion", "choices": choices, "usage": usage})

    def ask(self, wanted: Options, messages: list[dict[str, Any]], *, n: int = 1) -> list[str]:
        """Answer a conversation `n` times.

        Raises:
            Problem: 404, there is no such model.
        """
        state, prefer = self._policy(wanted.model)
        self._index()
        found = self._store.find(prompt_key(messages), prefer=prefer)
        records = None if found is None else self._records(found[0])
        if found is None or records is None:
            return [_UNKNOWN] * n
        temperature = 1.0 if wanted.temperature is None else wanted.temperature
        return answers(state, records, found[1], n=n, temperature=temperature, seed=wanted.seed)

    def _policy(self, model: str) -> tuple[str | None, str | None]:
        """What a model learned, and the file it learned it from; nothing for one that is not tuned."""
        if is_base(model):
            return None, None
        known, state = self._store.model(model), self._store.policy(model)
        job = None if known is None else self._store.get("job", known[0])
        if state is None or job is None:
            raise Problem(404, f"There is no model '{model[:200]}'.", code="model_not_found", param="model")
        return state, job["training_file"]

    def _index(self) -> None:
        """Learn the prompts of files that no job has used yet: the base model is measured before a job is made."""
        for file in self._store.unindexed():
            records = self._records(file) or []
            self._store.index(file, [record.prompt_key for record in records])

    def _records(self, file: str) -> list[Record] | None:
        """The records of a file, the last few files kept; None where it is gone or no training file."""
        with self._lock:
            if file in self._files:
                self._files.move_to_end(file)
                return self._files[file]
            try:
                records = read_records(self._store.content(file), minimum=1)
            except (InvalidFile, FileNotFoundError):
                return None
            self._files[file] = records
            while len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
            return records


def count_prompt(messages: Iterable[Mapping[str, Any]]) -> int:
    """Tokens of a conversation."""
    return sum(count_tokens(_text(message.get("content"))) for message in messages)


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        return "".join(str(part.get("text", "")) for part in parts)
    return content if isinstance(content, str) else ""


def pieces(text: str) -> Iterator[str]:
    """A text as a model streams it: word by word."""
    start = 0
    for match in re.finditer(r"\S+", text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def events(payloads: Iterable[str]) -> Response:
    """A success as server-sent events. Line breaks are escaped in JSON, so each payload is one line."""
    body = "".join(f"data: {payload}\n\n" for payload in payloads) + "data: [DONE]\n\n"
    return Response(
        200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}, body.encode()
    )


def _chunks(head: dict[str, Any], given: list[Answer], usage: dict[str, int] | None) -> Iterator[dict[str, Any]]:
    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    for index, answer in enumerate(given):
        yield chunk(index, {"role": "assistant", "content": ""})
        for piece in pieces(answer.text):
            yield chunk(index, {"content": piece})
        yield chunk(index, {}, "length" if answer.cut else "stop")
    if usage is not None:
        yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
