"""Guards of `PassesTests` against answers that cheat: undo patches, and find objects that pass any comparison.

The guards run in the process of `unit_test_runner.py`, so this file imports few modules.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import re
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MAX_DEPTH = 6
_MAX_ITEMS = 1000
_HEAP_TYPE = 1 << 9  # a flag of classes that Python code defines
_ASSERTION = re.compile(r"(?:_?assert|fail|raises)", re.IGNORECASE)
_PROBES: tuple[Any, ...] = (object(), 0.7310585786, -918273645, "\u2603 probe", (b"probe",), [object()], {"probe": 0})
"""Values of several types. No other object is equal to one of them, except an object that is equal to everything."""


class Originals:
    """The names of all loaded modules and of the script, and the attributes of classes of the script and unittest."""

    def __init__(self, script: dict[str, Any]) -> None:
        self._modules = dict(sys.modules)
        modules = [module for module in self._modules.values() if isinstance(module, types.ModuleType)]
        spaces = [script, globals(), *(module.__dict__ for module in modules if module is not sys)]
        spaces.insert(0, builtins.__dict__)
        self._names = [(space, dict(space)) for space in spaces]
        found = {value for _, names in self._names for value in names.values() if isinstance(value, type)}
        own = [one for one in found if one.__module__.partition(".")[0] in ("unittest", __name__, script["__name__"])]
        self._classes = [(one, dict(vars(one))) for one in own]

    def restore(self) -> None:
        """Undo the changes of the executed code. Restore builtins first, because the rest of this method uses them."""
        for space, names in self._names:
            for name in names:
                if name not in space or space[name] is not names[name]:
                    space[name] = names[name]
        for one, names in self._classes:
            for name in set(vars(one)) - set(names):
                delattr(one, name)
            for name, value in names.items():
                if vars(one).get(name) is not value:
                    setattr(one, name, value)
        for name, module in list(sys.modules.items()):
            if name not in self._modules and name != "answer" and getattr(module, "__spec__", None) is None:
                del sys.modules[name]  # the code made it
        sys.modules.update(self._modules)


class Instrument(ast.NodeTransformer):
    """Count the assertions that a test reaches, check compared values, and use the real builtins."""

    def __init__(self, shadowed: set[str]) -> None:
        self._shadowed = shadowed

    def visit_Name(self, node: ast.Name) -> ast.AST:
        replaced = node.id in self._shadowed and isinstance(node.ctx, ast.Load)
        return ast.Name(f"__builtin_{node.id}__", ast.Load()) if replaced else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        node.left, node.comparators = _add_check(node.left), [*map(_add_check, node.comparators)]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Sub):
            node.left, node.right = _add_check(node.left), _add_check(node.right)
        return node

    def visit(self, node: ast.AST) -> Any:
        counted = isinstance(node, ast.stmt) and self._asserts(node)
        result = super().visit(node)
        if not counted:
            return result
        count = ast.Expr(ast.Call(ast.Name("__count_assertion__", ast.Load()), [], []))
        return [count, *(result if isinstance(result, list) else [result])]

    @staticmethod
    def _asserts(node: ast.stmt) -> bool:
        if isinstance(node, DEFINITIONS):
            return False
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.If):
            return any(isinstance(inner, ast.Raise) for child in node.body + node.orelse for inner in ast.walk(child))
        roots: list[ast.AST] = [node.value] if isinstance(node, ast.Expr) else []
        if isinstance(node, (ast.With, ast.AsyncWith)):
            roots = [item.context_expr for item in node.items]
        functions = [root.func for root in roots if isinstance(root, ast.Call)]
        names = [one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in functions]
        return any(map(_ASSERTION.match, names))


def _add_check(node: ast.expr) -> ast.expr:
    return node if isinstance(node, ast.Constant) else ast.Call(ast.Name("__honest__", ast.Load()), [node], [])


def honest(value: Any) -> Any:
    """Return a value, or raise `AssertionError` if an object in it would pass any comparison."""
    if any(map(_passes_anything, _objects(value))):
        raise AssertionError("an object passes every comparison")
    return value


def _objects(value: object, depth: int = 0) -> Iterator[Any]:
    """Yield the objects within a value that are instances of classes from the code or the tests."""
    kind = type(value)
    if kind.__flags__ & _HEAP_TYPE:
        module = None if kind.__module__ == "answer" else sys.modules.get(kind.__module__)
        if getattr(module, kind.__name__, None) is not kind:
            yield value
    container: Any = value
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset, dict)):
        items: list[Any] = [*container, *(container.values() if isinstance(value, dict) else ())]
        for item in items[:_MAX_ITEMS]:
            yield from _objects(item, depth + 1)


def _passes_anything(value: Any) -> bool:
    for check in _CHECKS:
        with contextlib.suppress(Exception):
            if check(value):
                return True
    return False


def _is_constant(one: Any, other: Any) -> bool:
    """Return whether two differences, from numbers that are far apart, are the same number."""
    return isinstance(one, (int, float)) and isinstance(other, (int, float)) and abs(one - other) < 1


_CHECKS: tuple[Callable[[Any], Any], ...] = (
    *(lambda value, probe=probe: value == probe or not (value != probe) for probe in _PROBES),  # noqa: SIM202
    lambda value: value < -float("inf") or value > float("inf"),
    lambda value: getattr(type(value), "__contains__")(value, object()),  # noqa: B009 # pyright: ignore[reportUnknownArgumentType]
    lambda value: _is_constant(value - 918273645, value - 645.25),
    lambda value: _is_constant(918273645 - value, 645.25 - value),
)
"""Checks of an object: is it equal to anything, less or greater than anything, near anything, or contains anything?"""


def guard_assertions(test_case: Any) -> None:
    """Make the assertions of unittest check their arguments."""

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: object, *args: Any, **keywords: Any) -> Any:
            return method(self, *honest(args), **honest(keywords))

        return guarded

    for name in dir(test_case):
        if name.startswith("assert") and not name.startswith(("assertRaises", "assertWarns", "assertLogs", "assertNo")):
            setattr(test_case, name, guard(getattr(test_case, name)))
