"""`Rollout`, the input of a reward, and `Score`, its output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypedDict, cast

ERROR_METRIC = "reward_error"
"""Name of the metric that is 1 for a rollout that could not be scored and 0 for every other rollout."""

LOG_ERROR_METRIC = "rollout_log_error"
"""Name of the metric that is 1 for every rollout of an invocation that could not be recorded, and otherwise 0."""

_REPR_CHARS = 150

_ROLLOUT_FIELDS = frozenset({"id", "messages", "metadata", "reference_answer"})


@dataclass(frozen=True)
class Rollout:
    """One answer of the model to one prompt.

    Attributes:
        id: the identifier that the service gave the rollout.
        messages: the prompt followed by the assistant's answer; each message has a `role` and a `content`.
        reference: the record's `reference_answer`, any JSON value. A string wrapped as `{"text": …}` is unwrapped.
        extra: the other fields of the record.

    Source:
        AWS documents `{"id", "messages", "metadata": {"reference_answer", …}}`. AWS's own sample reads a top-level
        `reference_answer`, with strings wrapped as `{"text": …}`. `Rollout.read` accepts both.
    """

    id: str
    messages: tuple[Mapping[str, Any], ...]
    reference: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, entry: object) -> Rollout:
        """Parse one entry of the event that the service sends to a reward function.

        Raises:
            ValueError: `entry` is not an object, or its `messages` are not a list of objects.
        """
        if not isinstance(entry, Mapping):
            raise ValueError(f"a rollout must be an object, not {type(entry).__name__}")  # noqa: TRY004 - one error type
        fields = cast("Mapping[str, Any]", entry)
        messages = fields.get("messages")
        if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
            raise ValueError(f"messages must be a list, not {type(messages).__name__}")  # noqa: TRY004 - as above
        parsed = cast("Sequence[Mapping[str, Any]]", messages)
        if not all(isinstance(message, Mapping) for message in cast("Sequence[object]", messages)):
            raise ValueError("each of the messages must be an object with role and content")
        metadata = fields.get("metadata")
        nested: Mapping[str, Any] = cast("Mapping[str, Any]", metadata) if isinstance(metadata, Mapping) else {}
        source = fields if "reference_answer" in fields else nested
        extra = {name: value for name, value in {**nested, **fields}.items() if name not in _ROLLOUT_FIELDS}
        if metadata is not None and not isinstance(metadata, Mapping):
            extra["metadata"] = metadata
        return cls(str(fields.get("id", "")), tuple(parsed), _unwrap_text(source.get("reference_answer")), extra)

    @classmethod
    def of(cls, prompt: str, answer: str, reference: Any = None, **extra: Any) -> Rollout:
        """Create a rollout to try a reward with: `correct(Rollout.of("2 + 2?", "4", reference="4"))`."""
        messages = ({"role": "user", "content": prompt}, {"role": "assistant", "content": answer})
        return cls("rollout", messages, reference, extra)

    def __repr__(self) -> str:
        return f"Rollout(id={self.id[:40]!r}, answer={self.answer[:60]!r}, reference={repr(self.reference)[:60]})"

    @property
    def answer(self) -> str:
        """The text of the last message, or an empty string if that message is not the assistant's."""
        if not self.messages or self.messages[-1].get("role") != "assistant":
            return ""
        return content_text(self.messages[-1].get("content"))

    @property
    def prompt(self) -> str:
        """The text of the last user message, or an empty string without a user message."""
        user_messages = (message for message in reversed(self.messages) if message.get("role") == "user")
        last = next(user_messages, None)
        return "" if last is None else content_text(last.get("content"))


def _unwrap_text(reference: Any) -> Any:
    if isinstance(reference, dict):
        wrapped = cast("dict[str, Any]", reference)
        if set(wrapped) == {"text"} and isinstance(wrapped["text"], str):
            return wrapped["text"]
    return cast("Any", reference)


def content_text(content: object) -> str:
    """Return a message's content as text: the string itself, or the joined text of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (cast("Mapping[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, Mapping))
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


class Metric(TypedDict):
    """One entry of `metrics_list`."""

    name: str
    value: float
    type: str


class Result(TypedDict):
    """The result of one rollout in the form that the service reads."""

    id: Any
    aggregate_reward_score: float
    metrics_list: list[Metric]


@dataclass(frozen=True)
class Score:
    """The score of one rollout. A reward function may return a `Score`.

    Attributes:
        value: the reward, by convention from 0 to 1.
        parts: the components of the reward by name; `metrics_list` has each of them with type `Reward`.
        metrics: other measurements, such as token counts; `metrics_list` has each of them with type `Metric`.
        error: the reason why the rollout could not be scored, or None. It is the type and the location of the
            exception, without the exception's text, which may contain the model's answer.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    error: str | None = None

    def __repr__(self) -> str:
        parts = {"parts": dict(self.parts), "metrics": dict(self.metrics), "error": self.error}
        shown = "".join(f", {name}={value!r}" for name, value in parts.items() if value)
        return f"Score({self.value!r}{shown if len(shown) <= _REPR_CHARS else shown[:_REPR_CHARS] + '…'})"

    def __float__(self) -> float:
        return self.value

    def result(self, rollout_id: Any) -> Result:
        """Return the result for the service, with the rollout's id unchanged.

        Characters that UTF-8 cannot encode, such as a lone surrogate, become `?` in ids and names, because they end
        the process in the Lambda runtimes from Python 3.12 on.
        """
        entries = [Metric(name=encodable(name), value=value, type="Reward") for name, value in self.parts.items()]
        metrics = {ERROR_METRIC: 0.0 if self.error is None else 1.0, **self.metrics}
        entries += [Metric(name=encodable(name), value=value, type="Metric") for name, value in metrics.items()]
        return Result(id=encodable(rollout_id), aggregate_reward_score=self.value, metrics_list=entries)


def encodable(value: Any) -> Any:
    """Return a JSON value in which `?` replaces the characters that UTF-8 cannot encode."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [encodable(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {encodable(name): encodable(item) for name, item in cast("dict[str, Any]", value).items()}
    return value


def finite_float(value: object, label: str) -> float:
    """Convert a number of any type to a finite float. Raise a `ValueError` with the label for anything else."""
    if isinstance(value, (bool, Real)) or (hasattr(value, "__float__") and not isinstance(value, (str, bytes))):
        result = float(cast("Any", value))
        if math.isfinite(result):
            return result
        raise ValueError(f"{label} is {result}, not a finite number")
    raise ValueError(f"{label} is {type(value).__name__}, not a number")
