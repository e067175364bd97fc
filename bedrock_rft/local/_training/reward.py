"""The user's own reward, asked as the service asks it: batches of rollouts in, one score for each out.

What the service does with an answer it cannot use is not known, so here every such answer is an error: a rehearsal is
the place to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.rewards import Reward as Authored
from bedrock_rft.rewards._targets.entry_point import EntryPoint, call_handler, load_handler
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores

__all__ = ["Reward", "Rollout"]

_LONGEST = 900  # seconds; Lambda's own limit


@dataclass(frozen=True)
class Rollout:
    """One answer to one prompt.

    Attributes:
        id: the name under which the reward scores it; unique within a call of `Reward.score`.
        record: the prompt, with the reference answer and whatever else its line holds.
        answer: what the model said.
    """

    id: str
    record: Record
    answer: str


class Reward:
    """A Lambda entry point as a reward.

    Attributes:
        last_metrics: the mean of each named value in the `metrics_list` of the last call of `score`.
    """

    def __init__(
        self,
        handler: EntryPoint | Authored | str,
        *,
        payload: Literal["metadata", "top_level"] = "metadata",
        wrap_text: bool = False,
        invocation_size: int = 16,
        timeout: float = 300.0,
    ) -> None:
        """Find the handler.

        Args:
            handler: a reward, a function of (event, context), or `path/to/file.py:handler_name`.
            payload: where the reference answer and further fields stand: under `metadata`, as documented, or beside
                `messages`, as AWS's sample reads them.
            wrap_text: send a reference answer that is a string as `{"text": …}`, as AWS's sample reads it.
            invocation_size: rollouts per call; the service's own number is not known.
            timeout: seconds a call may take, at most 900.

        Raises:
            ConfigurationError: there is no such handler, or a setting makes no sense.
        """
        if payload not in ("metadata", "top_level"):
            raise ConfigurationError(f"payload is '{payload}'; it must be 'metadata' or 'top_level'.")
        if invocation_size < 1:
            raise ConfigurationError(f"invocation_size is {invocation_size}; it must be at least 1.")
        if not 0 < timeout <= _LONGEST:
            raise ConfigurationError(f"timeout is {timeout}; Lambda allows more than 0 and at most {_LONGEST} seconds.")
        self.last_metrics: dict[str, float] = {}
        self._entry = load_handler(handler)
        self._nested = payload == "metadata"
        self._wrap_text = wrap_text
        self._size = invocation_size
        self._timeout = timeout

    def score(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Score rollouts, in their order.

        Raises:
            RewardError: the handler raised, took too long, or answered something that is not a score for each.
        """
        scores: list[float] = []
        seen: dict[str, list[float]] = {}
        for start in range(0, len(rollouts), self._size):
            batch = rollouts[start : start + self._size]
            event = [self._entry_of(rollout) for rollout in batch]
            result = parse_response(call_handler(self._entry, event, timeout=self._timeout))
            for verdict in parse_scores(result, [rollout.id for rollout in batch]):
                scores.append(verdict.score)
                for name, value in verdict.metrics.items():
                    seen.setdefault(name, []).append(value)
        self.last_metrics = {name: sum(values) / len(values) for name, values in seen.items()}
        return scores

    def _entry_of(self, rollout: Rollout) -> dict[str, Any]:
        record = rollout.record
        fields = dict(record.extras)
        if record.has_reference:
            text = self._wrap_text and isinstance(record.reference_answer, str)
            fields["reference_answer"] = {"text": record.reference_answer} if text else record.reference_answer
        messages = [*record.messages, {"role": "assistant", "content": rollout.answer}]
        own = {"id": rollout.id, "messages": messages}
        # The service's own fields win: a user's `id` is not the rollout's.
        return {**own, "metadata": fields} if self._nested else {**fields, **own}
