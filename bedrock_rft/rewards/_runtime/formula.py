"""`Formula`: combine rewards by an arithmetic expression, which is parsed and never executed as Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bedrock_rft.rewards._runtime.reward import Combined, Reward, check_unique_names
from bedrock_rft.rewards._runtime.scoring import ScoringContext

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: float.__truediv__,
    ast.Pow: math.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_SEVERAL = ("min", "max")
_MAX_CHARACTERS = 10_000


@dataclass(frozen=True, eq=False, repr=False)
class Formula(Combined):
    """A reward computed from other rewards by a formula: `calculate_output` of OpenAI's `multi`.

    ```python
    Formula("0.8 * correct + 0.2 * min(tidy, brief)", {"correct": Numeric(), "tidy": …, "brief": …})
    ```

    Args:
        formula: an expression of numbers, the names of the rewards, `+ - * / ^`, parentheses, and the functions `min`,
            `max`, `abs`, `floor`, `ceil`, `exp`, `sqrt` and `log` (the natural logarithm).
        rewards: the rewards by name. The formula and `metrics_list` use these names.

    Raises:
        ValueError: the formula contains anything else; or, on scoring, a value is undefined, such as `log(0)`.
    """

    formula: str
    rewards: Mapping[str, Reward]

    def __post_init__(self) -> None:
        named = {
            name: one if getattr(one, "name", None) == name else one.named(name) for name, one in self.rewards.items()
        }
        object.__setattr__(self, "rewards", named)
        check_unique_names(self)
        _check(self._tree, frozenset(named), self.formula)

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.formula) > _MAX_CHARACTERS:
            raise ValueError(f"the formula has more than {_MAX_CHARACTERS} characters")
        try:
            return ast.parse(self.formula.strip().replace("^", "**"), mode="eval").body
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"the formula {self.formula[:200]!r} cannot be parsed: {error}") from error

    async def compute(self, context: ScoringContext) -> float:
        values = {name: await reward.compute(context) for name, reward in self.rewards.items()}
        try:
            return float(_evaluate(self._tree, values))
        except (ArithmeticError, ValueError) as error:
            raise ValueError(f"the formula {self.formula!r} has no value for {values}: {error}") from error

    def operands(self) -> tuple[Reward, ...]:
        return tuple(self.rewards.values())

    def render_source(self, render: Callable[[Reward], str]) -> str:
        rewards = ", ".join(f"{name!r}: {render(reward)}" for name, reward in self.rewards.items())
        return f"Formula({self.formula!r}, {{{rewards}}})"


def _check(node: ast.expr, names: frozenset[str], formula: str) -> None:
    """Raise `ValueError` if a node is not allowed."""
    inner: list[ast.expr] = []
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name(id=name) if name in names:
            return
        case ast.Name(id=name):
            raise ValueError(f"the formula {formula!r} has {name!r}, but the graders are {', '.join(sorted(names))}")
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            inner = [left, right]
        case ast.UnaryOp(op, operand) if type(op) in _OPERATORS:
            inner = [operand]
        case ast.Call(ast.Name(id=name), arguments, []) if name in _FUNCTIONS and (
            len(arguments) == 1 or (name in _SEVERAL and arguments)
        ):
            inner = arguments
        case _:
            shown = ast.unparse(node)[:100]
            raise ValueError(
                f"the formula {formula!r} has {shown!r}; only numbers, names of graders, + - * / ^ and the functions "
                f"{', '.join(_FUNCTIONS)} are allowed"
            )
    for one in inner:
        _check(one, names, formula)


def _evaluate(node: Any, values: Mapping[str, float]) -> Any:
    match node:
        case ast.Constant():
            return float(node.value)  # type: ignore[arg-type] # `_check` allows numbers only
        case ast.Name():
            return values[node.id]
        case ast.BinOp():
            return _OPERATORS[type(node.op)](_evaluate(node.left, values), _evaluate(node.right, values))
        case ast.UnaryOp():
            return _OPERATORS[type(node.op)](_evaluate(node.operand, values))
        case _:
            arguments = [_evaluate(argument, values) for argument in node.args]
            if len(arguments) == 1 and node.func.id in _SEVERAL:
                return arguments[0]
            return _FUNCTIONS[node.func.id](*arguments)
