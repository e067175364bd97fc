"""What a rehearsed model says when it is asked."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bedrock_rft.local._training.candidates import candidates, count_tokens
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.local._training.policy import Policy, greedy, sample, softmax

__all__ = ["answers", "count_tokens"]


def answers(
    state: str | None,
    records: Sequence[Record],
    index: int,
    *,
    n: int = 1,
    temperature: float = 1.0,
    seed: int | None = None,
) -> list[str]:
    """Answer one prompt.

    Args:
        state: what `Trainer.state` returned; None asks the untuned model.
        records: the file the prompt stands in, whole, as training saw it. A prompt of no file is a list of its own.
        index: the prompt's place in it.
        n: how many answers.
        temperature: 0 or less always takes the likeliest answer.
        seed: makes the answers repeatable.

    Raises:
        ConfigurationError: the state is none.
    """
    policy = Policy() if state is None else Policy.load(state)
    options = candidates(records, index)
    logits = policy.logits(records[index].prompt_key, options)
    if temperature <= 0:
        return [options[greedy(logits)].text] * n
    generator = random.Random(seed)  # noqa: S311 - seeded draws, nothing secret
    return [options[place].text for place in sample(softmax(logits, temperature), n, generator)]
