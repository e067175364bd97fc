"""The local policy: a softmax over the candidate answers to a prompt.

The logit of an answer is the logit of its style, which all prompts share, plus one for the prompt. Shared logits
generalise to other prompts; those of a prompt memorise it over several epochs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.candidates import BASE_WEIGHTS, Candidate, Gold, candidates
from bedrock_rft.local._training.dataset import Record

__all__ = ["Policy", "entropy", "greedy", "nucleus", "sample_answers", "softmax"]

_MAX_LOGIT = 30.0  # odds of e^30 to 1; a larger logit would only overflow at a high learning rate
_DIGITS = 5
_KEY_CHARS = 16


class _State(TypedDict):
    styles: dict[str, FiniteFloat]
    prompts: dict[str, dict[str, FiniteFloat]]


_STATE = TypeAdapter(_State)


class Policy:
    """The logits of the candidate answers.

    Attributes:
        styles: the shared logit of each style.
        prompts: the logits of each trained prompt, by the first 16 characters of its key; a missing style counts as 0.
    """

    def __init__(
        self, styles: Mapping[str, float] | None = None, prompts: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Start from the given logits; without arguments, from the untuned model."""
        self.styles = {style: round(math.log(weight), _DIGITS) for style, weight in BASE_WEIGHTS.items()}
        self.styles.update(styles or {})
        self.prompts = {key: dict(own) for key, own in (prompts or {}).items()}

    def logits(self, prompt_key: str, options: Sequence[Candidate]) -> list[float]:
        """Return the logit of each candidate answer to a prompt."""
        own = self.prompts.get(prompt_key[:_KEY_CHARS], {})
        return [self.styles[option.style] + own.get(option.style, 0.0) for option in options]

    def shift_style(self, style: str, by: float) -> None:
        """Add `by` to the logit of a style on all prompts."""
        self.styles[style] = _shift(self.styles[style], by)

    def shift_prompt(self, prompt_key: str, style: str, by: float) -> None:
        """Add `by` to the logit of a style on one prompt."""
        own = self.prompts.setdefault(prompt_key[:_KEY_CHARS], {})
        own[style] = _shift(own.get(style, 0.0), by)

    def dump(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {"styles": self.styles, "prompts": self.prompts}

    @classmethod
    def load(cls, text: str) -> Policy:
        """Read the policy from a training state. Raise `ConfigurationError` if it is invalid."""
        try:
            state = _STATE.validate_json(text)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ConfigurationError(f"The saved training state cannot be read: {reason}. Train again.") from error
        return cls(state["styles"], state["prompts"])


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
    """Sample `n` answers to the record at `index`, with a policy from `Trainer.state` or the untuned one.

    The candidates depend on all records of the file and on `gold`, as in training. At a temperature of 0 the most
    likely answer is always chosen. Prompts with the same seed are sampled independently.
    """
    policy = Policy() if state is None else Policy.load(state)
    options = candidates(records, index, gold)
    key = records[index].prompt_key
    logits = policy.logits(key, options)
    if temperature <= 0:
        return [options[greedy(logits)].text] * n
    generator = random.Random(None if seed is None else f"{seed}: {key}")  # noqa: S311 - no secret depends on it
    probabilities = nucleus(softmax(logits, temperature), top_p)
    return [option.text for option in generator.choices(options, probabilities, k=n)]


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Return the probabilities of logits. Raises ZeroDivisionError at temperature 0; use `greedy` there."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def nucleus(probabilities: Sequence[float], top_p: float) -> list[float]:
    """Return the probabilities with all but the most likely, which together reach `top_p`, set to 0."""
    kept = [0.0] * len(probabilities)
    total = 0.0
    for position in sorted(range(len(probabilities)), key=lambda index: -probabilities[index]):
        if total >= top_p:
            break
        kept[position] = probabilities[position]
        total += probabilities[position]
    return kept


def greedy(logits: Sequence[float]) -> int:
    """Return the position of the largest logit, the first of equals."""
    return max(range(len(logits)), key=logits.__getitem__)


def entropy(probabilities: Sequence[float]) -> float:
    """Return the entropy in nats: 0 for certainty, log(n) for n equal probabilities."""
    return sum(-share * math.log(share) for share in probabilities if share > 0)


def _shift(logit: float, by: float) -> float:
    # Rounded here and not when it is saved, so that a resumed run continues with the same numbers.
    return round(min(max(logit + by, -_MAX_LOGIT), _MAX_LOGIT), _DIGITS)
