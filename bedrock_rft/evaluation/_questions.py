"""Questions: a request for each model, prompt and sample, with a key that is the same in all processes."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets import hash_messages
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.types import Checkpoint, Job
from bedrock_rft.types import Model as ServedModel
from bedrock_rft.types._payload import Payload


@dataclass(frozen=True)
class Model:
    """A model to evaluate: its id, and a label for the report. `tuned` marks the final model of a job."""

    id: str
    label: str
    tuned: bool = False


@dataclass(frozen=True)
class Prompt:
    """One record of the dataset, at `index`."""

    index: int
    messages: list[dict[str, Any]]
    reference: Any
    fields: Mapping[str, Any]
    key: str  # a digest of the record; equal records are numbered
    cluster: str  # the hash of the messages, as in recorded rollouts
    size: int  # characters of the record as JSON

    def reward_entry(self, entry_id: str, answer: str) -> dict[str, Any]:
        """Return the entry that the service sends to a reward function for an answer."""
        return {
            "id": entry_id,
            "messages": [*self.messages, {"role": "assistant", "content": answer}],
            "metadata": {**self.fields, "reference_answer": self.reference},
        }


@dataclass(frozen=True)
class Question:
    """One request: a prompt, a model and the number of the sample, from 0. `key` is a digest of them."""

    prompt: Prompt
    model: Model
    sample: int
    key: str


def parse_prompts(records: Iterable[Mapping[str, Any]]) -> list[Prompt]:
    """Convert records to prompts. Raise `DatasetError` if there are no records, or if a record has no messages."""
    prompts: list[Prompt] = []
    copies: Counter[str] = Counter()
    for index, record in enumerate(records):
        messages = record.get("messages")
        turns = cast("list[dict[str, Any]]", messages if isinstance(messages, list) else [])
        if not turns or not all(isinstance(turn, dict) for turn in turns):
            raise DatasetError(f"Record {index + 1} has no messages. Run `datasets.validate` to see all problems.")
        encoded = _encode(record)
        digest = _digest(encoded)
        copies[digest] += 1
        prompts.append(
            Prompt(
                index=index,
                messages=turns,
                reference=record.get("reference_answer"),
                fields={k: v for k, v in record.items() if k not in ("messages", "reference_answer")},
                key=f"{digest}.{copies[digest]}",
                cluster=hash_messages(turns),
                size=len(encoded),
            )
        )
    if not prompts:
        raise DatasetError("The dataset has no records to evaluate on.")
    return prompts


def sample_prompts(prompts: Sequence[Prompt], limit: int | None, seed: int) -> list[Prompt]:
    """Return `limit` prompts chosen at random, in dataset order. A larger limit includes a smaller one's prompts."""
    if limit is None or limit >= len(prompts):
        return list(prompts)
    order = list(range(len(prompts)))
    random.Random(seed).shuffle(order)  # noqa: S311 - statistics
    return [prompts[index] for index in sorted(order[:limit])]


def parse_models(models: object) -> list[Model]:
    """Return models from ids, jobs, checkpoints or a mapping of labels. Raise `ConfigurationError` for others."""
    if isinstance(models, Mapping):
        labelled = cast("Mapping[object, Any]", models).items()
        parsed = [replace(_parse_model(value), label=str(label)) for label, value in labelled]
    else:
        is_single = isinstance(models, (str, Payload)) or not isinstance(models, Iterable)
        parsed = [_parse_model(value) for value in cast("Iterable[Any]", [models] if is_single else models)]
        labels = Counter(model.label for model in parsed)
        parsed = [replace(model, label=model.id) if labels[model.label] > 1 else model for model in parsed]
    if not parsed:
        raise ConfigurationError("models is empty. Name at least one model, such as the base model's id.")
    repeated = [model_id for model_id, count in Counter(model.id for model in parsed).items() if count > 1]
    if repeated:
        raise ConfigurationError(
            f"models names '{sanitize_line(repeated[0], 200)}' twice, so every answer would be paid for twice. "
            "Remove one of the two."
        )
    return parsed


def _parse_model(value: Any) -> Model:
    if isinstance(value, str) and value.strip():
        return Model(value, value)
    if isinstance(value, Checkpoint) and value.fine_tuned_model_checkpoint:
        return Model(value.fine_tuned_model_checkpoint, f"step {value.step_number}")
    if isinstance(value, Job):
        if value.fine_tuned_model:
            return Model(value.fine_tuned_model, "tuned", tuned=True)
        raise ConfigurationError(
            f"Job {value.id} has no tuned model because it is {value.status}. Wait until it has succeeded."
        )
    if isinstance(value, ServedModel):
        return Model(value.id, value.id)
    if isinstance(value, str):
        raise ConfigurationError("models has an empty id. Remove it, or pass the id of a model.")
    raise ConfigurationError(f"models takes ids, jobs, checkpoints or Model objects, not {type(value).__name__}.")


def plan_questions(
    prompts: Sequence[Prompt], models: Sequence[Model], samples: int, sampling: Mapping[str, Any]
) -> Iterator[Question]:
    """Yield all questions prompt by prompt, so that an interrupted run has answers of all models to compare."""
    for prompt in prompts:
        for sample in range(samples):
            for model in models:
                key = _digest(_encode([model.id, prompt.key, sampling, sample]))
                yield Question(prompt, model, sample, key)


def _encode(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _digest(encoded: str) -> str:
    return hashlib.sha256(encoded.encode()).hexdigest()[:24]
