"""Use rewards in TRL's trainers, and reward functions of TRL as rewards."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.rewards._runtime.function import Function
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Grade, Reward
from bedrock_rft.rewards._runtime.rollout import Rollout

_REFERENCE = "reference_answer"
_NOT_COLUMNS = frozenset({"completion_ids", "trainer_state", "log_extra", "log_metric", "environments", "prompt"})


def to_trl(
    reward: Reward | Handler, *, reference: str = _REFERENCE, floor: float = 0.0, name: str | None = None
) -> Callable[..., list[float]]:
    """Return a reward function for TRL: `GRPOTrainer(reward_funcs=to_trl(reward), …)`.

    The function takes `prompts`, `completions` and the columns of the dataset, and returns a score for each completion.
    Prompts and completions may be text or messages. The columns become `rollout.extra`.

    Args:
        reward: the reward, or a handler with a floor of its own.
        reference: the column with the reference answers.
        floor: the score of a completion that cannot be scored, as in Lambda.
        name: the name in TRL's logs; by default the name of the reward, or `reward`.

    Raises:
        ValueError: on scoring, the dataset has no column with the name in `reference`.
    """
    handler = reward if isinstance(reward, Handler) else Handler(reward, floor=floor)

    def reward_function(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        if reference != _REFERENCE and reference not in columns:  # a misspelled column would score 0 silently
            names = ", ".join(sorted(set(columns) - set(_NOT_COLUMNS))) or "none"
            raise ValueError(f"there is no column {reference!r} with the reference answers; the columns are: {names}")
        entries: list[dict[str, Any]] = []
        for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            row = {key: values[place] for key, values in columns.items() if key not in _NOT_COLUMNS}
            messages = [*_messages(prompt, "user"), *_messages(completion, "assistant")]
            metadata = {**row, "reference_answer": row.pop(reference, None)}
            entries.append({"id": str(place), "messages": messages, "metadata": metadata})
        return [float(result["aggregate_reward_score"]) for result in handler(entries)]

    reward_function.__name__ = name or str(getattr(handler.reward, "name", "reward"))  # TRL's logs have it
    return reward_function


def from_trl(function: Callable[..., Any], *, conversational: bool = True, name: str | None = None) -> TrlReward:
    """Return a reward that calls a reward function of TRL with one rollout at a time.

    The function gets `prompts` and `completions` with one item each, `reference_answer` and the other fields of the
    record as columns. It must be at the top level of a module to be packaged for Lambda.

    Args:
        function: the function, which may be async.
        conversational: pass messages, as TRL does for a conversational dataset; otherwise the text of the last message
            of the user, and the text of the answer.
        name: the name in `metrics_list`; by default the name of the function.

    Raises:
        TypeError: `function` is not callable.
        ValueError: on scoring, the function returned None, which in TRL leaves out a completion. Bedrock needs a score
            for each rollout, so the rollout gets the handler's floor.
    """
    if not callable(function):
        raise TypeError(f"from_trl() needs a reward function of TRL, not {type(function).__name__}")
    return TrlReward(function, name or str(getattr(function, "__name__", "reward")), conversational=conversational)


@dataclass(frozen=True, eq=False, repr=False)
class TrlReward(Function):
    """A reward that calls a reward function of TRL with one rollout at a time. Made by `from_trl`."""

    conversational: bool = True

    def grade(self, rollout: Rollout) -> Grade | Awaitable[Grade]:
        answer = rollout.messages[-1:] if rollout.messages and rollout.messages[-1].get("role") == "assistant" else ()
        prompt = rollout.messages[: len(rollout.messages) - len(answer)]
        columns = {key: [value] for key, value in {"reference_answer": rollout.reference, **rollout.extra}.items()}
        result = cast("Any", self.function)(
            prompts=[[dict(one) for one in prompt] if self.conversational else rollout.prompt],
            completions=[[dict(one) for one in answer] if self.conversational else rollout.answer],
            completion_ids=[None],
            **columns,
        )
        return self._await_score(result) if inspect.isawaitable(result) else self._single_score(result)

    async def _await_score(self, result: Awaitable[Any]) -> Grade:
        return self._single_score(await result)

    def _single_score(self, result: Any) -> float:
        scores = list(result)
        if len(scores) != 1:
            raise ValueError(f"{self.name} returned {len(scores)} scores for one completion")
        if scores[0] is None:
            raise ValueError(f"{self.name} returned None, but Bedrock needs a score for each rollout")
        return float(scores[0])


def _messages(value: Any, role: str) -> list[Mapping[str, Any]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return [cast("Mapping[str, Any]", one) for one in value]
