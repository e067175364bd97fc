"""Rewards made of other rewards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bedrock_rft.rewards._runtime.reward import Leaf, Reward, Run, check_name
from bedrock_rft.rewards._runtime.score import number

__all__ = ["Clip", "Gate", "Named", "Sum", "Weighted", "terms"]


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(Reward):
    """A reward times a number."""

    reward: Reward
    weight: float

    def __post_init__(self) -> None:
        number(self.weight, "a weight")

    async def value_in(self, run: Run) -> float:
        return self.weight * await self.reward.value_in(run)

    def operands(self) -> tuple[Reward, ...]:
        return (self.reward,)

    def __repr__(self) -> str:
        inner = f"({self.reward!r})" if isinstance(self.reward, Sum) else repr(self.reward)
        return f"{self.weight!r} * {inner}"


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Reward):
    """Rewards added up."""

    terms: tuple[Reward, ...]

    def __post_init__(self) -> None:
        _check_names(self)

    async def value_in(self, run: Run) -> float:
        return math.fsum([await term.value_in(run) for term in self.terms])

    def operands(self) -> tuple[Reward, ...]:
        return self.terms

    def __repr__(self) -> str:
        return " + ".join(repr(term) for term in self.terms)


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Reward):
    """A reward kept between two numbers."""

    reward: Reward
    low: float
    high: float

    def __post_init__(self) -> None:
        if not number(self.low, "low") <= number(self.high, "high"):
            raise ValueError(f"clip: low is {self.low}, above high, {self.high}")

    async def value_in(self, run: Run) -> float:
        return min(max(await self.reward.value_in(run), self.low), self.high)

    def operands(self) -> tuple[Reward, ...]:
        return (self.reward,)

    def __repr__(self) -> str:
        return f"({self.reward!r}).clip({self.low!r}, {self.high!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Gate(Reward):
    """A reward that counts only where another one is high enough."""

    reward: Reward
    by: Reward
    at_least: float
    otherwise: float
    lazy: bool

    def __post_init__(self) -> None:
        number(self.at_least, "at_least")
        number(self.otherwise, "otherwise")
        _check_names(self)

    async def value_in(self, run: Run) -> float:
        shut = await self.by.value_in(run) < self.at_least
        if shut and self.lazy:
            return self.otherwise
        value = await self.reward.value_in(run)
        return self.otherwise if shut else value

    def operands(self) -> tuple[Reward, ...]:
        return (self.by, self.reward)

    def __repr__(self) -> str:
        lazy = ", lazy=True" if self.lazy else ""
        return f"({self.reward!r}).gate({self.by!r}, at_least={self.at_least!r}, otherwise={self.otherwise!r}{lazy})"


@dataclass(frozen=True, eq=False, repr=False)
class Named(Reward):
    """A reward made of others, whose own value is shown beside its parts."""

    reward: Reward
    name: str

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_names(self)

    async def value_in(self, run: Run) -> float:
        value = await self.reward.value_in(run)
        run.parts[self.name] = value
        return value

    def operands(self) -> tuple[Reward, ...]:
        return (self.reward,)

    def __repr__(self) -> str:
        return f"({self.reward!r}).named({self.name!r})"


def terms(reward: Reward) -> tuple[Reward, ...]:
    """What a sum adds up, or the reward itself."""
    return reward.terms if isinstance(reward, Sum) else (reward,)


def _names(reward: Reward, seen: set[int]) -> Iterator[str]:
    if id(reward) in seen:
        return
    seen.add(id(reward))
    if isinstance(reward, (Leaf, Named)):
        yield reward.name
    for operand in reward.operands():
        yield from _names(operand, seen)


def _check_names(reward: Reward) -> None:
    found = list(_names(reward, set()))
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two parts are named {twice!r}; give one of them another name with .named(…)")
