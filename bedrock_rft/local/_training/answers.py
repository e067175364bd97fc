"""Sample the answers of a local model."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bedrock_rft.local._training.candidates import Gold, candidates, count_tokens
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.local._training.policy import Policy, greedy, nucleus, sample, softmax

__all__ = ["count_tokens", "sample_answers"]


def sample_answers(
    state: str | None,
    records: Sequence[Record],
    index: int,
    *,
    n: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = None,
    gold: Gold | None = None,
) -> list[str]:
    """Sample answers to one prompt.

    Args:
        state: the result of `Trainer.state`; None for the untuned model.
        records: all records of the prompt's file, as in training. For a prompt of no file, a list of one.
        index: the position of the prompt in the records.
        n: number of answers.
        temperature: 0 or less always takes the most likely answer.
        top_p: sample from the most likely answers that reach this probability.
        seed: makes the answers repeatable. Prompts with the same seed are sampled independently.
        gold: returns the right answer to a record, as in training.

    Raises:
        ConfigurationError: the state is invalid.
    """
    policy = Policy() if state is None else Policy.load(state)
    options = candidates(records, index, gold)
    key = records[index].prompt_key
    logits = policy.logits(key, options)
    if temperature <= 0:
        return [options[greedy(logits)].text] * n
    generator = random.Random(None if seed is None else f"{seed}: {key}")  # noqa: S311 - no secret depends on it
    probabilities = nucleus(softmax(logits, temperature), top_p)
    return [options[position].text for position in sample(probabilities, n, generator)]
