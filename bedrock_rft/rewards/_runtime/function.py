"""`@reward`: make a reward from a function of one rollout."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

from bedrock_rft.rewards._runtime.reward import Grade, Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout, finite_float

RewardFunction: TypeAlias = Callable[[Rollout], "Grade | Awaitable[Grade]"]


@dataclass(frozen=True, eq=False)
class Function(Leaf):
    """A reward made by `@reward` from a function of one rollout."""

    function: RewardFunction
    name: str
    weights: Mapping[str, float] = field(default_factory=dict[str, float])  # parts without a weight do not count

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, weight in self.weights.items():
            finite_float(weight, f"the weight of {name}")
        # So that editors and `inspect` find the signature and the docstring.
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
        # An object with an async __call__ is not a coroutine function itself.
        return any(map(inspect.iscoroutinefunction, (self.function, type(self.function).__call__)))

    def __repr__(self) -> str:
        return self.name

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, _: Any) -> Function:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the function, which the decorator gave to the reward, as Python does for functions."""
        module, path = self.function.__module__, self.function.__qualname__
        try:
            found = _find(module, path)
        except (ImportError, AttributeError):
            found = None
        if found is not self.function:
            raise TypeError(f"{path} is not at the top level of the module {module}")
        settings = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "function"}
        return _rebuild, (type(self), module, path, settings)


def _rebuild(kind: type[Function], module: str, path: str, settings: Mapping[str, Any]) -> Function:
    return kind(_find(module, path), **settings)


def _find(module: str, path: str) -> RewardFunction:
    """Return the function with this name, or the function of the reward with this name."""
    found: Any = importlib.import_module(module)
    for step in path.split("."):
        found = getattr(found, step)
    return found.function if isinstance(found, Function) else found


@overload
def reward(function: RewardFunction, /) -> Function: ...
@overload
def reward(
    *, name: str | None = None, weights: Mapping[str, float] | None = None
) -> Callable[[RewardFunction], Function]: ...
def reward(
    function: RewardFunction | None = None,
    /,
    *,
    name: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> Function | Callable[[RewardFunction], Function]:
    """Make a reward from a function of one `Rollout`.

    ```python
    @reward
    def correct(rollout: Rollout) -> bool:
        return last_number(rollout.answer) == rollout.reference
    ```

    The function returns a bool, a number, a mapping of parts (the reward is their mean, or their weighted sum), a
    `Score`, or another reward to compute for the same rollout. It may be async.

    Args:
        function: the function; omitted if the decorator is called with settings.
        name: the name in `metrics_list`; by default the name of the function.
        weights: the weights of the parts if the function returns a mapping.

    Raises:
        TypeError: `function` is not callable.
        ValueError: a name or a weight is invalid.
    """

    def decorate(function: RewardFunction) -> Function:
        if not callable(function):
            raise TypeError(f"@reward needs a function of one Rollout, not {type(function).__name__}")
        return Function(function, name or str(getattr(function, "__name__", "reward")), dict(weights or {}))

    return decorate if function is None else decorate(function)
