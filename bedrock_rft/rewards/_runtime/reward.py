"""A reward is a value: it scores a rollout, and can be weighed, added, clipped and gated."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from bedrock_rft.rewards._runtime.rollout import Rollout
from bedrock_rft.rewards._runtime.score import Score, number

if TYPE_CHECKING:
    from bedrock_rft.rewards._runtime.handler import Handler

__all__ = ["Grade", "Leaf", "Reward", "Run", "check_name"]

Grade: TypeAlias = "bool | float | Mapping[str, float] | Score | Reward"
"""What a function of one rollout may return. A mapping has parts; a `Reward` is asked about the same rollout."""

L = TypeVar("L", bound="Leaf")


class Reward:
    """What scores a rollout. Made by `@reward`, by a grader such as `Numeric()`, or of other rewards.

    ```python
    total = 0.9 * correct + 0.1 * tidy
    total(Rollout.of("2 + 2?", "The answer is 4.", reference="4"))  # Score(value=…, parts={"correct": …, "tidy": …})
    lambda_handler = total.handler
    ```

    A reward that occurs twice is asked once. Two different ones must have different names.
    """

    async def value_in(self, run: Run) -> float:
        """Its value for the rollout of a run."""
        raise NotImplementedError

    def operands(self) -> tuple[Reward, ...]:
        """The rewards it is made of."""
        return ()

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The rewards at its ends, each once, in the order in which they are written."""
        return tuple(dict.fromkeys(leaf for operand in self.operands() for leaf in operand.leaves))

    @property
    def asynchronous(self) -> bool:
        """Whether it has to wait for something, such as a judge."""
        return any(leaf.asynchronous for leaf in self.leaves)

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip has to install beside it in a Lambda; a requirement without a version is pinned when packaged."""
        return tuple(dict.fromkeys(name for leaf in self.leaves if leaf is not self for name in leaf.requirements))

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of the models that it asks to judge: its Lambda's role has to allow them."""
        return tuple(dict.fromkeys(model for leaf in self.leaves if leaf is not self for model in leaf.models))

    @property
    def handler(self) -> Handler:
        """The entry point for Lambda; `Handler(reward, floor=…)` has more settings."""
        from bedrock_rft.rewards._runtime.handler import Handler

        return Handler(self)

    def __call__(self, rollout: Rollout) -> Score:
        """Score one rollout. What goes wrong in it is raised here; in a Lambda it is the handler's to deal with."""
        from bedrock_rft.rewards._runtime.scoring import score

        return score(self, rollout)

    def named(self, name: str) -> Reward:
        """The same under another name; one made of others shows its own value beside its parts then."""
        from bedrock_rft.rewards._runtime.compose import Named

        return Named(self, name)

    def clip(self, low: float = 0.0, high: float = 1.0) -> Reward:
        """Never less than `low`, never more than `high`."""
        from bedrock_rft.rewards._runtime.compose import Clip

        return Clip(self, low, high)

    def gate(self, by: Reward, *, at_least: float = 0.5, otherwise: float = 0.0, lazy: bool = False) -> Reward:
        """Count only where another reward is `at_least` so much; `otherwise` elsewhere.

        With `lazy`, this one is not asked where the gate is shut, and its parts are missing from those rollouts:
        good for a judge that costs money.
        """
        from bedrock_rft.rewards._runtime.compose import Gate

        return Gate(self, by, at_least, otherwise, lazy)

    def __mul__(self, weight: float) -> Reward:
        from bedrock_rft.rewards._runtime.compose import Weighted

        return Weighted(self, weight) if isinstance(weight, (int, float)) else NotImplemented

    __rmul__ = __mul__

    def __add__(self, other: Reward) -> Reward:
        from bedrock_rft.rewards._runtime.compose import Sum, terms

        return Sum((*terms(self), *terms(other))) if isinstance(other, Reward) else NotImplemented

    def __radd__(self, other: int) -> Reward:
        return self if other == 0 else NotImplemented  # sum([a, b]) begins with 0

    def __sub__(self, other: Reward) -> Reward:
        return self + -1.0 * other if isinstance(other, Reward) else NotImplemented

    def __neg__(self) -> Reward:
        return -1.0 * self


class Run:
    """One rollout being scored: every leaf is asked once, and what it said is kept."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.parts: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self._known: dict[int, float] = {}

    async def ask(self, leaf: Leaf) -> float:
        """The value of a leaf."""
        if id(leaf) not in self._known:
            self._known[id(leaf)] = await self._graded(leaf)
        return self._known[id(leaf)]

    async def _graded(self, leaf: Leaf) -> float:
        grade = leaf.grade(self.rollout)
        if inspect.isawaitable(grade):
            grade = await grade
        if isinstance(grade, Reward):
            value = await grade.value_in(self)
        elif isinstance(grade, Score):
            value = number(grade.value, leaf.name)
            self._keep(leaf.name, grade.parts, self.parts)
            self._keep("", grade.metrics, self.metrics)
        elif isinstance(grade, Mapping):
            parts = {name: number(part, f"{leaf.name}/{name}") for name, part in grade.items()}
            self._keep(leaf.name, parts, self.parts)
            value = leaf.total(parts)
        else:
            value = number(grade, leaf.name)
        self.parts[leaf.name] = value
        return value

    @staticmethod
    def _keep(prefix: str, found: Mapping[str, float], into: dict[str, float]) -> None:
        for name, value in found.items():
            full = f"{prefix}/{name}" if prefix else name
            into[full] = number(value, full)


class Leaf(Reward):
    """A reward that is not made of others. Subclasses are frozen dataclasses with a `name`."""

    name: str

    def grade(self, rollout: Rollout) -> Grade | Awaitable[Grade]:
        """Look at one rollout."""
        raise NotImplementedError

    def total(self, parts: Mapping[str, float]) -> float:
        """The value of a mapping of parts: their mean."""
        return math.fsum(parts.values()) / len(parts) if parts else 0.0

    async def value_in(self, run: Run) -> float:
        return await run.ask(self)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return (self,)

    @property
    def asynchronous(self) -> bool:
        return inspect.iscoroutinefunction(self.grade)

    def __repr__(self) -> str:
        """Python that makes it again, with the settings that are not the usual ones."""
        fields = [one for one in dataclasses.fields(cast("Any", self)) if getattr(self, one.name) != _usual(one)]
        return f"{type(self).__name__}({', '.join(f'{one.name}={getattr(self, one.name)!r}' for one in fields)})"

    def named(self: L, name: str) -> L:  # noqa: PYI019 - Self is in typing from Python 3.11 on, and a Lambda has no more
        return cast("L", dataclasses.replace(cast("Any", self), name=name))


def _usual(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def check_name(name: object) -> None:
    """Refuse what cannot be the name of a part. Raises `ValueError`."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"a reward's name is text that can be printed, not {name!r}")
