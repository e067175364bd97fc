"""GRPO on the local policy, with the user's reward function.

Each step samples a group of answers to each prompt of a batch, scores them, computes the advantage of each answer
within its group and moves the policy along the gradient. Nothing is scripted: if a reward gives all answers of a group
the same score, the policy does not move.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.local._training.policy import Candidate, Gold, Policy, candidates, count_tokens, entropy, softmax
from bedrock_rft.local._training.reward import RewardFunction, SampledAnswer

_STYLE_RATE = 0.7
_PROMPT_RATE = 0.5
_EPSILON = 1e-4  # added to the standard deviation, as in TRL
_MAX_VALIDATION_PROMPTS = 64
_VALIDATION_COUNT = 10


class _Group(NamedTuple):
    """The sampled answers to one prompt."""

    record: Record
    options: list[Candidate]
    probabilities: list[float]
    chosen: list[int]


class Trainer:
    """A training run, step by step.

    Attributes:
        total_steps: number of steps of the run.
        done: number of finished steps.
        tokens: number of tokens of all answers in the last step.
    """

    # The random numbers of a step depend only on the seed and the number of the step, so a restored run continues
    # exactly.

    def __init__(
        self,
        records: Sequence[Record],
        reward: RewardFunction,
        *,
        validation: Sequence[Record] = (),
        n_epochs: int = 1,
        batch_size: int = 4,
        learning_rate_multiplier: float = 1.0,
        group_size: int = 8,
        seed: int = 0,
        gold: Gold | None = None,
    ) -> None:
        """Start from the untuned policy. At most 64 prompts of the validation file, chosen by the seed, are used."""
        if group_size < 2:  # noqa: PLR2004 - a group of one has no advantages
            raise ConfigurationError(f"group_size is {group_size}; it must be at least 2.")
        self._records = records
        self._reward = reward
        self._validation = validation
        self._batch_size = batch_size
        self._rate = learning_rate_multiplier
        self._group_size = group_size
        self._seed = seed
        self._gold = gold
        self._policy = Policy()
        self._order: tuple[int, list[int]] = (-1, [])
        self._steps_per_epoch = math.ceil(len(records) / batch_size)
        self.total_steps = n_epochs * self._steps_per_epoch
        self.done = self.tokens = 0

    def step(self, number: int) -> dict[str, float | int]:
        """Take step `number`, which counts from 1, and return its metrics. If the reward fails, the policy stays."""
        # Entropy is in nats per answer, lengths are in tokens. Metrics are means over the rollouts before the update.
        size = self._group_size
        groups, scores, lengths = self._sample(self._records, self._batch_indices(number), size, f"step-{number}")
        advantages = [_group_advantages(scores[index * size : (index + 1) * size]) for index in range(len(groups))]
        metrics: dict[str, float | int] = {
            "step": number,
            "total_steps": self.total_steps,
            "critic_rewards_mean": _mean(scores),
            "actor_pg_loss": _mean(
                [_group_loss(group, values) for group, values in zip(groups, advantages, strict=True)]
            ),
            "actor_entropy": _mean([entropy(group.probabilities) for group in groups]),
            "actor_grad_norm": self._update(groups, advantages),
            "critic_advantages_mean": _mean([value for values in advantages for value in values]),
            "response_length_mean": _mean(lengths),
        }
        self.done, self.tokens = number, sum(lengths)
        if number == self.total_steps or number % max(1, self.total_steps // _VALIDATION_COUNT) == 0:
            metrics.update(self.validate())
        return metrics

    def validate(self) -> dict[str, float]:
        """Score one sampled answer to each validation prompt; return the means of reward and length (tokens)."""
        if not self._validation:
            return {}
        # Use the same prompts every time, so that the means can be compared.
        indices = self._create_generator("validation").sample(
            range(len(self._validation)), min(_MAX_VALIDATION_PROMPTS, len(self._validation))
        )
        _, scores, lengths = self._sample(self._validation, indices, 1, f"validation-{self.done}")
        return {"validation_rewards_mean": _mean(scores), "validation_response_length_mean": _mean(lengths)}

    def state(self) -> str:
        """Return the policy as JSON, for `restore` and `sample_answers`."""
        policy = self._policy
        state = {"step": self.done, "styles": policy.styles, "prompts": policy.prompts}
        return json.dumps(state, separators=(",", ":"))

    def restore(self, state: str) -> None:
        """Continue from a state of a run with the same arguments."""
        self._policy, self.done = Policy.load(state), json.loads(state)["step"]

    def _create_generator(self, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}: {purpose}")  # noqa: S311 - no secret depends on it

    def _batch_indices(self, number: int) -> list[int]:
        epoch, index = divmod(number - 1, self._steps_per_epoch)
        if self._order[0] != epoch:
            order = list(range(len(self._records)))
            self._create_generator(f"epoch {epoch}").shuffle(order)
            self._order = epoch, order
        return self._order[1][index * self._batch_size : (index + 1) * self._batch_size]

    def _sample(
        self, records: Sequence[Record], indices: Sequence[int], size: int, purpose: str
    ) -> tuple[list[_Group], list[float], list[int]]:
        """Sample answers to some prompts; return the groups, and the score and the length in tokens of each answer."""
        generator = self._create_generator(purpose.replace("-", " "))
        groups: list[_Group] = []
        for index in indices:
            options = candidates(records, index, self._gold)
            probabilities = softmax(self._policy.logits(records[index].prompt_key, options))
            chosen = generator.choices(range(len(options)), probabilities, k=size)
            groups.append(_Group(records[index], options, probabilities, chosen))
        pairs = [(group.record, group.options[position].text) for group in groups for position in group.chosen]
        answers = [SampledAnswer(f"local-{purpose}-{n}", record, text) for n, (record, text) in enumerate(pairs)]
        return groups, self._reward.score(answers), [count_tokens(text) for _, text in pairs]

    def _update(self, groups: Sequence[_Group], advantages: Sequence[Sequence[float]]) -> float:
        """Move the policy along its gradient, and return the norm of the gradient."""
        shared: dict[str, float] = {}
        squares = 0.0
        for group, values in zip(groups, advantages, strict=True):
            for position, slope in _logit_gradients(group, values).items():
                style = group.options[position].style
                shared[style] = shared.get(style, 0.0) + slope / len(groups)
                squares += (slope / len(groups)) ** 2
                self._policy.shift_prompt(group.record.prompt_key, style, self._rate * _PROMPT_RATE * slope)
        for style, slope in shared.items():
            squares += slope**2
            self._policy.shift_style(style, self._rate * _STYLE_RATE * slope)
        return math.sqrt(squares)


def _group_advantages(scores: Sequence[float]) -> list[float]:
    """Return the distance of each score from its group's mean, in sample standard deviations, as TRL computes it."""
    # Return exact zeros for equal scores, because their mean may differ from them in the last digit.
    if min(scores) == max(scores):
        return [0.0] * len(scores)
    mean = _mean(scores)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    return [(score - mean) / (deviation + _EPSILON) for score in scores]


def _logit_gradients(group: _Group, advantages: Sequence[float]) -> dict[int, float]:
    """Return the gradient of the expected advantage with respect to the logit of each sampled candidate."""
    # The softmax adds no term: a candidate's probability times the mean advantage is 0, because advantages sum to 0.
    slopes: dict[int, float] = {}
    for position, advantage in zip(group.chosen, advantages, strict=True):
        if advantage:
            slopes[position] = slopes.get(position, 0.0) + advantage / len(group.chosen)
    return slopes


def _group_loss(group: _Group, advantages: Sequence[float]) -> float:
    pairs = zip(group.chosen, advantages, strict=True)
    return _mean([-advantage * math.log(group.probabilities[position]) for position, advantage in pairs])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
