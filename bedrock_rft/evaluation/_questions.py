"""What is asked: every model, every prompt, so many samples; each question under a name that outlives the process."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.types import Checkpoint, Job
from bedrock_rft.types import Model as Known
from bedrock_rft.types._payload import Payload

__all__ = ["Model", "Prompt", "Question", "models_of", "prompts_of", "questions"]


@dataclass(frozen=True)
class Model:
    """One that is asked.

    Attributes:
        id: what the service calls it.
        label: what the report calls it.
    """

    id: str
    label: str


@dataclass(frozen=True)
class Prompt:
    """One record of the data set.

    Attributes:
        index: its place, from 0.
        messages: what is asked.
        reference: its `reference_answer`.
        fields: whatever else it holds.
        key: names its content; equal records are told apart by a number.
    """

    index: int
    messages: list[dict[str, Any]]
    reference: Any
    fields: Mapping[str, Any]
    key: str

    def entry(self, rollout: str, answer: str) -> dict[str, Any]:
        """The answer as the service hands it to a reward."""
        turns = [*self.messages, {"role": "assistant", "content": answer}]
        return {
            "id": rollout,
            "messages": turns,
            "metadata": {**self.fields, "reference_answer": self.reference},
        }


@dataclass(frozen=True)
class Question:
    """One request: a prompt, a model, and which of its samples.

    Attributes:
        key: the same whenever the same is asked again, with the same sampling.
    """

    prompt: Prompt
    model: Model
    sample: int
    key: str


def prompts_of(records: Iterable[Mapping[str, Any]]) -> list[Prompt]:
    """Records as prompts.

    Raises:
        DatasetError: there are none, or one has no messages.
    """
    found: list[Prompt] = []
    seen: Counter[str] = Counter()
    for index, record in enumerate(records):
        messages = record.get("messages")
        if not isinstance(messages, list) or not messages:
            raise DatasetError(f"Record {index + 1} has no messages to ask. `datasets.validate` says what is wrong.")
        digest = _digest(record)
        seen[digest] += 1
        fields = {name: value for name, value in record.items() if name not in ("messages", "reference_answer")}
        turns = cast("list[dict[str, Any]]", messages)
        found.append(Prompt(index, turns, record.get("reference_answer"), fields, f"{digest}.{seen[digest]}"))
    if not found:
        raise DatasetError("There are no records to evaluate on.")
    return found


def models_of(given: object) -> list[Model]:
    """The models to ask: ids, jobs, checkpoints, or a mapping from labels to these.

    Raises:
        ConfigurationError: one is none of these, has no model yet, or is named twice.
    """
    if isinstance(given, Mapping):
        named = cast("Mapping[str, Any]", given)
        found = [Model(_model(value).id, str(label)) for label, value in named.items()]
    elif isinstance(given, Iterable) and not isinstance(given, (str, Payload)):
        found = [_model(value) for value in cast("list[Any]", given)]
    else:
        found = [_model(given)]
    labels = Counter(model.label for model in found)
    twice = next((label for label, count in labels.items() if count > 1), None)
    if twice is not None:
        raise ConfigurationError(f"models names '{twice}' twice; pass a mapping from labels to models instead.")
    if not found:
        raise ConfigurationError("models is empty; name at least one, such as the base model's id.")
    return found


def _model(value: Any) -> Model:
    if isinstance(value, str) and value.strip():
        return Model(value, value)
    if isinstance(value, Checkpoint) and value.fine_tuned_model_checkpoint:
        return Model(value.fine_tuned_model_checkpoint, f"step {value.step_number}")
    if isinstance(value, Job):
        if value.fine_tuned_model:
            return Model(value.fine_tuned_model, "tuned")
        raise ConfigurationError(f"Job {value.id} has no tuned model; it is {value.status}. Wait for it to succeed.")
    if isinstance(value, Known):
        return Model(value.id, value.id)
    raise ConfigurationError(f"A model is its id, a job, a checkpoint or a Model, not {type(value).__name__}.")


def questions(
    prompts: Sequence[Prompt], models: Sequence[Model], samples: int, sampling: Mapping[str, Any]
) -> Iterator[Question]:
    """Everything that is asked, prompt by prompt: models are compared on what has been answered so far."""
    for prompt in prompts:
        for sample in range(samples):
            for model in models:
                key = _digest([model.id, prompt.key, sampling, sample])
                yield Question(prompt, model, sample, key)


def _digest(value: object) -> str:
    spelled = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(spelled.encode()).hexdigest()[:24]
