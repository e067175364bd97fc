"""What a reward says of one rollout: a number, the parts it is made of, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, SupportsFloat, TypedDict, cast

__all__ = ["ERROR", "Metric", "Result", "Score", "number"]

ERROR = "reward_error"
"""The metric that is 1 for a rollout that could not be scored and got the floor, and 0 for every other."""


class Metric(TypedDict):
    """One entry of `metrics_list`."""

    name: str
    value: float
    type: str


class Result(TypedDict):
    """What the service reads of one rollout."""

    id: Any
    aggregate_reward_score: float
    metrics_list: list[Metric]


@dataclass(frozen=True)
class Score:
    """What a reward says of one rollout. A reward function may return one.

    Attributes:
        value: the reward, by convention from 0 to 1.
        parts: what it is made of, by name; `metrics_list` has each as a `Reward`.
        metrics: what else was measured, such as tokens; `metrics_list` has each as a `Metric`.
        error: why the rollout could not be scored, where it could not: the kind of exception and its place, without
            its text, since that can hold the model's.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    error: str | None = None

    def __float__(self) -> float:
        return self.value

    def result(self, rollout_id: Any) -> Result:
        """The answer to the service, under the rollout's id as it came."""
        listed = [Metric(name=name, value=value, type="Reward") for name, value in self.parts.items()]
        measured = {ERROR: 0.0 if self.error is None else 1.0, **self.metrics}
        listed += [Metric(name=name, value=value, type="Metric") for name, value in measured.items()]
        return Result(id=rollout_id, aggregate_reward_score=self.value, metrics_list=listed)


def number(value: object, what: str) -> float:
    """A finite number, whatever kind of number it was.

    Raises:
        ValueError: it is none, or not finite.
    """
    if isinstance(value, (bool, Real)) or (hasattr(value, "__float__") and not isinstance(value, (str, bytes))):
        found = float(cast("SupportsFloat", value))
        if math.isfinite(found):
            return found
        raise ValueError(f"{what} is {found}, not a finite number")
    raise ValueError(f"{what} is {type(value).__name__}, not a number")
