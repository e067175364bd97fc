"""`Reward`: score a rollout. Rewards can be weighted, added, clipped and gated."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, cast

from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.rollout import Rollout, Score, finite_float
from bedrock_rft.rewards._runtime.scoring import ScoringContext, score_rollout

Grade: TypeAlias = "bool | float | Mapping[str, float] | Score | Reward"
"""Return type of a function of one rollout. A mapping has parts; a `Reward` is computed for the same rollout."""

L = TypeVar("L", bound="Leaf")


class Reward:
    """A reward: made by `@reward`, by a grader such as `Numeric()`, or by combining other rewards.

    ```python
    total = 0.9 * correct + 0.1 * tidy
    total(Rollout.of("2 + 2?", "The answer is 4.", reference="4"))  # Score(value=…, parts={"correct": …, "tidy": …})
    lambda_handler = total.handler
    ```

    A reward that occurs twice in an expression is computed once. Different rewards need different names.
    """

    async def compute(self, context: ScoringContext) -> float:
        """Compute the value for the rollout of `context`."""
        raise NotImplementedError

    def operands(self) -> tuple[Reward, ...]:
        """Return the rewards that this reward combines."""
        return ()

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The rewards in this reward that do not combine others, each once, in the order in which they are written."""
        return tuple(dict.fromkeys(leaf for operand in self.operands() for leaf in operand.leaves))

    @property
    def asynchronous(self) -> bool:
        """True if computing this reward waits for something, such as a judge."""
        return any(leaf.asynchronous for leaf in self.leaves)

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that the reward's Lambda function needs. A name without a version means the installed version."""
        return tuple(dict.fromkeys(name for leaf in self.leaves if leaf is not self for name in leaf.requirements))

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of the models that the judges of this reward call; the role of the Lambda function has to allow them."""
        return tuple(dict.fromkeys(model for leaf in self.leaves if leaf is not self for model in leaf.models))

    @property
    def handler(self) -> Handler:
        """The entry point for Lambda; `Handler(reward, floor=…)` has more settings."""
        return Handler(self)

    def __call__(self, rollout: Rollout) -> Score:
        """Score one rollout. Exceptions propagate to the caller; in Lambda, the handler catches them."""
        return score_rollout(self, rollout)

    def named(self, name: str) -> Reward:
        """Return the same reward under another name. A combined reward then shows its own value next to its parts."""
        return Named(self, name)

    def clip(self, low: float = 0.0, high: float = 1.0) -> Reward:
        """Limit the value to the range from `low` to `high`."""
        return Clip(self, low, high)

    def gate(self, by: Reward, *, at_least: float = 0.5, otherwise: float = 0.0, lazy: bool = False) -> Reward:
        """Use this reward only if another reward is high enough.

        Args:
            by: the reward that decides.
            at_least: the smallest value of `by` for which this reward counts.
            otherwise: the value if `by` is lower.
            lazy: do not compute this reward if `by` is lower, for example because a judge costs money. The parts of
                this reward are missing from such rollouts.
        """
        return Gate(self, by, at_least, otherwise, lazy)

    def __mul__(self, weight: float) -> Reward:
        return Weighted(self, weight) if isinstance(weight, (int, float)) else NotImplemented

    __rmul__ = __mul__

    def __add__(self, other: Reward) -> Reward:
        return Sum((*_terms(self), *_terms(other))) if isinstance(other, Reward) else NotImplemented

    def __radd__(self, other: int) -> Reward:
        return self if other == 0 else NotImplemented  # sum([a, b]) begins with 0

    def __sub__(self, other: Reward) -> Reward:
        return self + -1.0 * other if isinstance(other, Reward) else NotImplemented

    def __neg__(self) -> Reward:
        return -1.0 * self


class Leaf(Reward):
    """A reward that does not combine others. Subclasses are frozen dataclasses with a `name`."""

    name: str

    def __post_init__(self) -> None:
        validate_name(self.name)

    def grade(self, rollout: Rollout) -> Grade | Awaitable[Grade]:
        """Grade one rollout."""
        raise NotImplementedError

    def total(self, parts: Mapping[str, float]) -> float:
        """Return the value for a mapping of parts: their mean."""
        return math.fsum(parts.values()) / len(parts) if parts else 0.0

    async def compute(self, context: ScoringContext) -> float:
        if id(self) not in context.values:
            context.values[id(self)] = await self._compute_once(context)
        return context.values[id(self)]

    async def _compute_once(self, context: ScoringContext) -> float:
        grade = self.grade(context.rollout)
        if inspect.isawaitable(grade):
            grade = await grade
        if isinstance(grade, Reward):
            value = await grade.compute(context)
        elif isinstance(grade, Score):
            value = finite_float(grade.value, self.name)
            context.add_parts(self.name, grade.parts)
            context.add_metrics(grade.metrics)
        elif isinstance(grade, Mapping):
            parts = {name: finite_float(part, f"{self.name}/{name}") for name, part in grade.items()}
            context.add_parts(self.name, parts)
            value = self.total(parts)
        else:
            value = finite_float(grade, self.name)
        context.parts[self.name] = value
        return value

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return (self,)

    @property
    def asynchronous(self) -> bool:
        return inspect.iscoroutinefunction(self.grade)

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        changed: dict[str, Any] = {}
        for one in dataclasses.fields(cast("Any", self)):
            value = getattr(self, one.name)
            default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
            if one.init and (type(value) is not type(default) or value != default):
                changed[one.name] = value
        return changed

    def __repr__(self) -> str:
        """Return Python code that creates the reward."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.settings().items())})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out cached values, which often cannot be pickled."""
        cached = {
            name for kind in type(self).__mro__ for name, one in vars(kind).items() if isinstance(one, cached_property)
        }
        return {name: value for name, value in vars(self).items() if name not in cached}

    def named(self: L, name: str) -> L:  # noqa: PYI019 - typing has Self from Python 3.11 on; Lambda also runs 3.10
        return cast("L", dataclasses.replace(cast("Any", self), name=name))


class Combined(Reward):
    """A reward that combines others. Subclasses are frozen dataclasses."""

    reward: Reward

    def operands(self) -> tuple[Reward, ...]:
        return (self.reward,)

    def render_source(self, render: Callable[[Reward], str]) -> str:
        """Return Python code that makes the reward; `render` returns the code of an operand."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.render_source(repr)


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(Combined):
    """A reward multiplied by a number."""

    reward: Reward
    weight: float

    def __post_init__(self) -> None:
        finite_float(self.weight, "a weight")

    async def compute(self, context: ScoringContext) -> float:
        return self.weight * await self.reward.compute(context)

    def render_source(self, render: Callable[[Reward], str]) -> str:
        weight = self.weight if isinstance(self.weight, int) else float(self.weight)
        return f"{weight!r} * {_operand(self.reward, render)}"


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Combined):
    """The sum of rewards."""

    terms: tuple[Reward, ...]

    def __post_init__(self) -> None:
        check_unique_names(self)

    async def compute(self, context: ScoringContext) -> float:
        return math.fsum([await term.compute(context) for term in self.terms])

    def operands(self) -> tuple[Reward, ...]:
        return self.terms

    def render_source(self, render: Callable[[Reward], str]) -> str:
        return " + ".join(map(render, self.terms))


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Combined):
    """A reward limited to a range."""

    reward: Reward
    low: float
    high: float

    def __post_init__(self) -> None:
        if not finite_float(self.low, "low") <= finite_float(self.high, "high"):
            raise ValueError(f"clip needs low <= high, but low is {self.low} and high is {self.high}")

    async def compute(self, context: ScoringContext) -> float:
        return min(max(await self.reward.compute(context), self.low), self.high)

    def render_source(self, render: Callable[[Reward], str]) -> str:
        return f"{_operand(self.reward, render)}.clip({float(self.low)!r}, {float(self.high)!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Gate(Combined):
    """A reward that counts only if another reward is high enough."""

    reward: Reward
    by: Reward
    at_least: float
    otherwise: float
    lazy: bool

    def __post_init__(self) -> None:
        finite_float(self.at_least, "at_least")
        finite_float(self.otherwise, "otherwise")
        check_unique_names(self)

    async def compute(self, context: ScoringContext) -> float:
        closed = await self.by.compute(context) < self.at_least
        if closed and self.lazy:
            return self.otherwise
        value = await self.reward.compute(context)
        return self.otherwise if closed else value

    def operands(self) -> tuple[Reward, ...]:
        return (self.by, self.reward)

    def render_source(self, render: Callable[[Reward], str]) -> str:
        limits = f"at_least={float(self.at_least)!r}, otherwise={float(self.otherwise)!r}"
        lazy = ", lazy=True" if self.lazy else ""
        return f"{_operand(self.reward, render)}.gate({render(self.by)}, {limits}{lazy})"


@dataclass(frozen=True, eq=False, repr=False)
class Named(Combined):
    """A combined reward with a name, whose own value is shown next to its parts."""

    reward: Reward
    name: str

    def __post_init__(self) -> None:
        validate_name(self.name)
        check_unique_names(self)

    async def compute(self, context: ScoringContext) -> float:
        value = await self.reward.compute(context)
        context.parts[self.name] = value
        return value

    def render_source(self, render: Callable[[Reward], str]) -> str:
        return f"{_operand(self.reward, render)}.named({self.name!r})"


def _operand(reward: Reward, render: Callable[[Reward], str]) -> str:
    return f"({render(reward)})" if isinstance(reward, (Sum, Weighted)) else render(reward)


def validate_name(name: object) -> None:
    """Raise `ValueError` if `name` is not a valid name of a reward: printable text that is not blank."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"the name of a reward must be printable text, not {name!r}")


def _terms(reward: Reward) -> tuple[Reward, ...]:
    return reward.terms if isinstance(reward, Sum) else (reward,)


def _iter_names(reward: Reward, visited: set[int]) -> Iterator[str]:
    if id(reward) in visited:
        return
    visited.add(id(reward))
    if isinstance(reward, (Leaf, Named)):
        yield reward.name
    for operand in reward.operands():
        yield from _iter_names(operand, visited)


def check_unique_names(reward: Reward) -> None:
    """Raise `ValueError` if two parts of a reward have the same name."""
    names = list(_iter_names(reward, set()))
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ValueError(f"two parts are named {duplicate!r}; rename one of them with .named(…)")
