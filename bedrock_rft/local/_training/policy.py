"""The model of a rehearsal: a softmax over the candidate answers to a prompt.

Its logits are a style's, shared by all prompts, plus the prompt's own. The shared ones generalise, as a model's weights
do; the prompt's own memorise, as several epochs do.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.candidates import BASE_WEIGHTS, Candidate

__all__ = ["Policy", "entropy", "greedy", "sample", "softmax"]

_LIMIT = 30.0  # e^30 to 1 is certainty; beyond it a wild learning rate would only make infinities
_DIGITS = 5
_KEY = 16


class Policy:
    """What the candidates' logits are, and how they move.

    Attributes:
        styles: the shared logit of each style.
        prompts: the logits of each prompt that was trained on, by the beginning of its key; a style that is not there
            is at 0.
    """

    def __init__(
        self, styles: Mapping[str, float] | None = None, prompts: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Begin as the untuned model, or as the logits say."""
        self.styles = {style: round(math.log(weight), _DIGITS) for style, weight in BASE_WEIGHTS.items()}
        self.styles.update(styles or {})
        self.prompts = {key: dict(own) for key, own in (prompts or {}).items()}

    def logits(self, prompt_key: str, options: Sequence[Candidate]) -> list[float]:
        """The logit of each candidate answer to a prompt."""
        own = self.prompts.get(prompt_key[:_KEY], {})
        return [self.styles[option.style] + own.get(option.style, 0.0) for option in options]

    def shift_style(self, style: str, by: float) -> None:
        """Make a style likelier on all prompts, or less likely."""
        self.styles[style] = _moved(self.styles[style], by)

    def shift_prompt(self, prompt_key: str, style: str, by: float) -> None:
        """Make a style likelier on one prompt, or less likely."""
        own = self.prompts.setdefault(prompt_key[:_KEY], {})
        own[style] = _moved(own.get(style, 0.0), by)

    def dump(self) -> dict[str, Any]:
        """The policy as JSON values."""
        return {"styles": self.styles, "prompts": self.prompts}

    @classmethod
    def load(cls, text: str) -> Policy:
        """Read the policy out of a training state.

        Raises:
            ConfigurationError: it is none.
        """
        try:
            state = json.loads(text)
            styles = _numbers(state["styles"])
            prompts = {str(key): _numbers(own) for key, own in state["prompts"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigurationError(
                f"The saved training state cannot be read ({type(error).__name__}: {error}). Train from the start."
            ) from error
        return cls(styles, prompts)


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Turn logits into probabilities. Raises ZeroDivisionError at temperature 0: see `greedy`."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def sample(probabilities: Sequence[float], count: int, generator: random.Random) -> list[int]:
    """Draw positions, with replacement."""
    return generator.choices(range(len(probabilities)), probabilities, k=count)


def greedy(logits: Sequence[float]) -> int:
    """The position of the likeliest; the first of equals."""
    return max(range(len(logits)), key=logits.__getitem__)


def entropy(probabilities: Sequence[float]) -> float:
    """Entropy in nats: 0 for certainty, log(n) for n equals."""
    return sum(-share * math.log(share) for share in probabilities if share > 0)


def _moved(logit: float, by: float) -> float:
    # Rounded here rather than when it is written, so that a restored run goes on with the very same numbers.
    return round(min(max(logit + by, -_LIMIT), _LIMIT), _DIGITS)


def _numbers(value: Any) -> dict[str, float]:
    numbers = {str(name): float(number) for name, number in cast("dict[Any, Any]", value).items()}
    if not all(math.isfinite(number) for number in numbers.values()):
        raise ValueError("a logit is not finite")
    return numbers
