"""A reward made of a function of one rollout."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, overload

from bedrock_rft.rewards._runtime.reward import Grade, Leaf, check_name
from bedrock_rft.rewards._runtime.rollout import Rollout
from bedrock_rft.rewards._runtime.score import number

__all__ = ["Function", "reward"]

Graded: TypeAlias = Callable[[Rollout], "Grade | Awaitable[Grade]"]


@dataclass(frozen=True, eq=False)
class Function(Leaf):
    """A function of one rollout. `@reward` makes it.

    Attributes:
        function: what is called.
        name: under which it appears in `metrics_list`.
        weights: of the parts, where it returns a mapping; those that are not named weigh nothing.
    """

    function: Graded
    name: str
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        check_name(self.name)
        for name, weight in self.weights.items():
            number(weight, f"the weight of {name}")
        # Editors and `inspect` see the function behind.
        object.__setattr__(self, "__wrapped__", self.function)
        object.__setattr__(self, "__doc__", self.function.__doc__)

    def grade(self, rollout: Rollout) -> Grade | Awaitable[Grade]:
        return self.function(rollout)

    def total(self, parts: Mapping[str, float]) -> float:
        if not self.weights:
            return super().total(parts)
        return math.fsum(weight * parts[name] for name, weight in self.weights.items())

    @property
    def asynchronous(self) -> bool:
        # An object whose call is async is no coroutine function by itself.
        return any(map(inspect.iscoroutinefunction, (self.function, type(self.function).__call__)))

    def __repr__(self) -> str:
        return self.name


@overload
def reward(function: Graded, /) -> Function: ...
@overload
def reward(*, name: str | None = None, weights: Mapping[str, float] | None = None) -> Callable[[Graded], Function]: ...
def reward(
    function: Graded | None = None,
    /,
    *,
    name: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> Function | Callable[[Graded], Function]:
    """Make a reward of a function of one `Rollout`.

    ```python
    @reward
    def correct(rollout: Rollout) -> bool:
        return last_number(rollout.answer) == rollout.reference
    ```

    The function returns a bool, a number, a mapping of parts (their mean counts, or their weighted sum), a `Score`, or
    another reward to ask about the same rollout. It may be async.

    Args:
        function: the function; left out where the decorator has settings.
        name: under which it appears in `metrics_list`; else the function's.
        weights: of the parts, where it returns a mapping.

    Raises:
        TypeError: it is no function.
        ValueError: a name or a weight makes no sense.
    """

    def make(function: Graded) -> Function:
        if not callable(function):
            raise TypeError(f"@reward takes a function of one Rollout, not {type(function).__name__}")
        return Function(function, name or str(getattr(function, "__name__", "reward")), dict(weights or {}))

    return make if function is None else make(function)
