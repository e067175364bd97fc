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
        size: characters of the record as JSON.
    """

    index: int
    messages: list[dict[str, Any]]
    reference: Any
    fields: Mapping[str, Any]
    key: str
    size: int

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
        spelled = _spelled(record)
        digest = _digest(spelled)
        seen[digest] += 1
        fields = {name: value for name, value in record.items() if name not in ("messages", "reference_answer")}
        turns = cast("list[dict[str, Any]]", messages)
        key = f"{digest}.{seen[digest]}"
        found.append(Prompt(index, turns, record.get("reference_answer"), fields, key, len(spelled)))
    if not found:
        raise DatasetError("There are no records to evaluate on.")
    return found


def models_of(given: object) -> list[Model]:
    """The models to ask: ids, jobs, checkpoints, or a mapping from labels to these.

    Raises:
        ConfigurationError: one is none of these, has no model yet, or is the same as another.
    """
    if isinstance(given, Mapping):
        named = cast("Mapping[str, Any]", given)
        found = [Model(_model(value).id, str(label)) for label, value in named.items()]
    elif isinstance(given, Iterable) and not isinstance(given, (str, Payload)):
        found = _told_apart([_model(value) for value in cast("list[Any]", given)])
    else:
        found = [_model(given)]
    twice = next((one.id for place, one in enumerate(found) if one.id in {other.id for other in found[:place]}), None)
    if twice is not None:
        raise ConfigurationError(f"models names '{twice}' twice; it would be asked, and paid for, twice.")
    if not found:
        raise ConfigurationError("models is empty; name at least one, such as the base model's id.")
    return found


def _told_apart(found: Sequence[Model]) -> list[Model]:
    """Several tuned models are called by their ids."""
    labels = Counter(model.label for model in found)
    return [Model(model.id, model.id if labels[model.label] > 1 else model.label) for model in found]


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
                key = _digest(_spelled([model.id, prompt.key, sampling, sample]))
                yield Question(prompt, model, sample, key)


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _digest(spelled: str) -> str:
    return hashlib.sha256(spelled.encode()).hexdigest()[:24]
