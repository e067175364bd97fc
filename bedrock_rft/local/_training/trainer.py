"""Training in small: GRPO on a table, with the user's own reward.

Each step samples a group of answers to each prompt of a batch, scores all of them, measures each score against its
group and moves the policy along the gradient. Nothing is scripted: a reward that cannot tell answers apart leaves the
policy where it was.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.candidates import Candidate, candidates, count_tokens
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.local._training.policy import Policy, entropy, sample, softmax
from bedrock_rft.local._training.reward import Reward, Rollout

__all__ = ["Trainer"]

_STYLE_RATE = 0.7
_PROMPT_RATE = 0.5
_EPSILON = 1e-6
_VALIDATED = 64
_VALIDATIONS = 10


@dataclass(frozen=True)
class _Group:
    """The rollouts of one prompt."""

    record: Record
    options: list[Candidate]
    probabilities: list[float]
    chosen: list[int]


class Trainer:
    """A training run, step by step.

    The randomness of a step follows from the seed and the step's number alone, so a run that is broken off after a step
    and restored goes on exactly as the unbroken one.

    Attributes:
        total_steps: how many steps the run takes; the last batch of an epoch may be a small one.
        done: the step that was taken last, 0 before the first.
    """

    def __init__(
        self,
        records: Sequence[Record],
        reward: Reward,
        *,
        validation: Sequence[Record] = (),
        n_epochs: int = 1,
        batch_size: int = 4,
        learning_rate_multiplier: float = 1.0,
        group_size: int = 8,
        seed: int = 0,
    ) -> None:
        """Begin with the untuned model.

        Args:
            records: the training file.
            reward: scores the answers.
            validation: the validation file; a seeded choice of at most 64 of its prompts is asked now and then.
            n_epochs: passes over the records.
            batch_size: prompts per step.
            learning_rate_multiplier: scales the learning rate.
            group_size: answers per prompt, at least 2; a score is measured against its group.
            seed: of the order of the records and of every sample.

        Raises:
            ConfigurationError: there are no records, or a setting makes no sense.
        """
        if not records:
            raise ConfigurationError("There are no records to train on.")
        # A group of one has nothing to be measured against.
        for name, value, least in (
            ("n_epochs", n_epochs, 1),
            ("batch_size", batch_size, 1),
            ("group_size", group_size, 2),
        ):
            if value < least:
                raise ConfigurationError(f"{name} is {value}; it must be at least {least}.")
        if not 0 < learning_rate_multiplier < math.inf:
            raise ConfigurationError(f"learning_rate_multiplier is {learning_rate_multiplier}; it must be above 0.")
        self._records = records
        self._reward = reward
        self._validation = validation
        self._batch_size = batch_size
        self._rate = learning_rate_multiplier
        self._group_size = group_size
        self._seed = seed
        self._policy = Policy()
        self._order: tuple[int, list[int]] = (-1, [])
        self._steps_per_epoch = math.ceil(len(records) / batch_size)
        self.total_steps = n_epochs * self._steps_per_epoch
        self.done = 0

    def step(self, number: int) -> dict[str, float | int]:
        """Take one step and say what was measured, under the service's names.

        Rewards, entropy (nats per answer), advantages and lengths (tokens) are means over the step's rollouts, measured
        before the policy moved. Validation comes with every tenth of the run and its last step.

        Args:
            number: of the step, from 1.

        Raises:
            RewardError: the reward failed; the policy has not moved.
            ConfigurationError: the run has no such step.
        """
        if not 1 <= number <= self.total_steps:
            raise ConfigurationError(f"There is no step {number}: the run has steps 1 to {self.total_steps}.")
        generator = self._generator(f"step {number}")
        groups = [self._group(self._records, index, self._group_size, generator) for index in self._batch(number)]
        rollouts = _rollouts(groups, f"local-step-{number}")
        scores = self._reward.score(rollouts)
        size = self._group_size
        advantages = [_advantages(scores[at * size : (at + 1) * size]) for at in range(len(groups))]
        measured: dict[str, float | int] = {
            "step": number,
            "total_steps": self.total_steps,
            "critic_rewards_mean": _mean(scores),
            "actor_pg_loss": _mean([_loss(group, gains) for group, gains in zip(groups, advantages, strict=True)]),
            "actor_entropy": _mean([entropy(group.probabilities) for group in groups]),
            "actor_grad_norm": self._update(groups, advantages),
            "critic_advantages_mean": _mean([gain for gains in advantages for gain in gains]),
            "response_length_mean": _mean([count_tokens(rollout.answer) for rollout in rollouts]),
        }
        self.done = number
        if number == self.total_steps or number % max(1, self.total_steps // _VALIDATIONS) == 0:
            measured.update(self.validate())
        return measured

    def validate(self) -> dict[str, float]:
        """Ask the policy, as it stands, the validation prompts, one answer each.

        Returns:
            `{"validation_rewards_mean": …}`, or nothing where there is no validation file.

        Raises:
            RewardError: the reward failed.
        """
        if not self._validation:
            return {}
        # The same prompts every time, so that two of these means can be compared.
        asked = self._generator("validation").sample(
            range(len(self._validation)), min(_VALIDATED, len(self._validation))
        )
        generator = self._generator(f"validation {self.done}")
        groups = [self._group(self._validation, index, 1, generator) for index in asked]
        return {
            "validation_rewards_mean": _mean(self._reward.score(_rollouts(groups, f"local-validation-{self.done}")))
        }

    def state(self) -> str:
        """What was learned, as JSON: enough for `restore`, and for `answers`."""
        return json.dumps({"step": self.done, **self._policy.dump()}, separators=(",", ":"))

    def restore(self, state: str) -> None:
        """Go on from where `state` was asked for; the run must be made of the same arguments.

        Raises:
            ConfigurationError: it is no such state; nothing has changed.
        """
        policy = Policy.load(state)
        done = json.loads(state).get("step")
        if not isinstance(done, int) or not 0 <= done <= self.total_steps:
            raise ConfigurationError(f"The saved training state is of step {done!r}, not of this run's.")
        self._policy, self.done = policy, done

    def _generator(self, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}: {purpose}")  # noqa: S311 - seeded draws, nothing secret

    def _batch(self, number: int) -> list[int]:
        epoch, place = divmod(number - 1, self._steps_per_epoch)
        if self._order[0] != epoch:
            order = list(range(len(self._records)))
            self._generator(f"epoch {epoch}").shuffle(order)
            self._order = epoch, order
        return self._order[1][place * self._batch_size : (place + 1) * self._batch_size]

    def _group(self, records: Sequence[Record], index: int, size: int, generator: random.Random) -> _Group:
        options = candidates(records, index)
        probabilities = softmax(self._policy.logits(records[index].prompt_key, options))
        return _Group(records[index], options, probabilities, sample(probabilities, size, generator))

    def _update(self, groups: Sequence[_Group], advantages: Sequence[Sequence[float]]) -> float:
        """Move the policy along its gradient and return the gradient's norm."""
        shared: dict[str, float] = {}
        squares = 0.0
        for group, gains in zip(groups, advantages, strict=True):
            for place, slope in _slopes(group, gains).items():
                style = group.options[place].style
                shared[style] = shared.get(style, 0.0) + slope / len(groups)
                squares += (slope / len(groups)) ** 2
                self._policy.shift_prompt(group.record.prompt_key, style, self._rate * _PROMPT_RATE * slope)
        for style, slope in shared.items():
            squares += slope**2
            self._policy.shift_style(style, self._rate * _STYLE_RATE * slope)
        return math.sqrt(squares)


def _rollouts(groups: Sequence[_Group], name: str) -> list[Rollout]:
    drawn = [(group.record, group.options[place].text) for group in groups for place in group.chosen]
    return [Rollout(f"{name}-{number}", record, answer) for number, (record, answer) in enumerate(drawn)]


def _advantages(scores: Sequence[float]) -> list[float]:
    """How far each score lies from its group's mean, in standard deviations."""
    # Asked first: the mean of equal floats may differ from them in its last digit, and that is no signal.
    if min(scores) == max(scores):
        return [0.0] * len(scores)
    mean = _mean(scores)
    deviation = math.sqrt(_mean([(score - mean) ** 2 for score in scores]))
    return [(score - mean) / (deviation + _EPSILON) for score in scores]


def _slopes(group: _Group, advantages: Sequence[float]) -> dict[int, float]:
    """By candidate, how expected advantage rises with its logit.

    The softmax's own term, a candidate's probability times the mean advantage, is left out: advantages add up to 0.
    """
    slopes: dict[int, float] = {}
    for place, gain in zip(group.chosen, advantages, strict=True):
        if gain:
            slopes[place] = slopes.get(place, 0.0) + gain / len(group.chosen)
    return slopes


def _loss(group: _Group, advantages: Sequence[float]) -> float:
    return _mean(
        [-gain * math.log(group.probabilities[place]) for place, gain in zip(group.chosen, advantages, strict=True)]
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
