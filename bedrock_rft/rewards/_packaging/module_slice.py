"""Take the part of a module that some names need: the statements that bind them, and those that these refer to.

Only source text is packaged, never a value: a name that is set from the environment stays an expression, and its value
on this machine does not get into the package.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.rewards._packaging.module_source import (
    ModuleSource,
    Statement,
    bound_names,
    raise_unpackageable,
    root_name,
)

__all__ = ["ModuleSlice", "slice_module"]

_MODULE_NAMES = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__package__"})
_EMPTY = {"set()": set[Any](), "dict()": dict[Any, Any](), "list()": list[Any]()}
_BLOCKS = {"For": "for", "AsyncFor": "for", "While": "while", "With": "with", "AsyncWith": "with", "Match": "match"}
_MUTATORS = frozenset(
    {"add", "append", "clear", "extend", "insert", "pop", "popleft", "remove", "setdefault", "update"}
)
_FILE = "write the reward into a file and package 'path/to/file.py:name'"


@dataclass(frozen=True)
class ModuleSlice:
    """A part of a module.

    Attributes:
        text: the source.
        comparable: the names whose values have to be the same in the package as they are now. The names that the
            functions of the slice change themselves, such as caches, are not among them.
    """

    text: str
    comparable: tuple[str, ...]


def slice_module(source: ModuleSource, names: list[str]) -> ModuleSlice:
    """Return the part of a module that some names need."""
    slicer = _Slicer(source)
    for name in names:
        slicer.add(name, name)
    comparable = slicer.check()
    texts = [statement.text for statement in slicer.ordered()]
    first = ["from __future__ import annotations"] if source.future else []
    return ModuleSlice("\n\n".join([*first, *texts]) + "\n", comparable)


class _Slicer:
    """Collects the names and statements that are needed."""

    def __init__(self, source: ModuleSource) -> None:
        self._source = source
        self._names: set[str] = set()
        self._statements: dict[Statement, None] = {}

    def add(self, name: str, user: str) -> None:
        """Add a name, after the names that its statements refer to."""
        if name in self._names:
            return
        self._names.add(name)
        source = self._source
        if name not in source.bindings:
            self._check_defined(name, user)
            return
        statements = source.bindings[name]
        for statement in statements:
            _check_block(name, statement)
        for statement in statements:
            for other in _referenced_names(statement, future=source.future):
                self.add(other, name)
        self._statements.update(dict.fromkeys(statements))

    def ordered(self) -> list[Statement]:
        """Return the statements in an order that runs: file order, or in a notebook each after those it depends on."""
        if self._source.notebook:
            return list(self._statements)
        return sorted(self._statements, key=lambda statement: (statement.node.lineno, statement.node.col_offset))

    def _check_defined(self, name: str, user: str) -> None:
        if hasattr(builtins, name) or name in _MODULE_NAMES:
            return
        shown, by = sanitize_line(name), sanitize_line(user)
        if name in self._source.space:
            raise_unpackageable(f"'{by}' uses '{shown}', but no statement of its module assigns it; {_FILE}")
        raise_unpackageable(f"'{by}' uses '{shown}', which is not defined; define it")

    def check(self) -> tuple[str, ...]:
        """Check that running the statements again gives the current values; return the names to compare."""
        changed_by_reward = {name for statement in self._statements for name in _changed_by_functions(statement.node)}
        for name in sorted(self._names):
            self._check_value(name, self._source.bindings.get(name, []), changes=name in changed_by_reward)
        names = sorted(self._names - changed_by_reward)
        return tuple(name for name in names if name in self._source.bindings)

    def _check_value(self, name: str, statements: list[Statement], *, changes: bool) -> None:
        shown = sanitize_line(name)
        assigned = all(isinstance(one.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) for one in statements)
        if not statements or any(isinstance(one.node, (ast.Import, ast.ImportFrom)) for one in statements):
            return
        if name in self._source.changes and (assigned or not changes):
            raise_unpackageable(
                f"'{shown}' is changed after it is assigned ({self._source.changes[name]}), and the change would be "
                f"lost; make the value in one statement, or {_FILE}"
            )
        # Values that the reward itself changes while it runs, such as caches, start again from their assignment.
        expression = _assigned_expression(statements[0].node) if len(statements) == 1 and not changes else None
        space = self._source.space
        if expression is not None and name in space and not _is_unchanged(expression, space[name]):
            raise_unpackageable(
                f"'{shown}' no longer has the value that was assigned to it ({statements[0].location}), and its "
                "current value cannot be packaged; assign the value that the reward needs"
            )


def _changed_by_functions(node: ast.stmt) -> Iterator[str]:
    """Yield the global names that a function or class changes when it runs."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global):
            yield from inner.names
        elif isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.ctx, (ast.Store, ast.Del)):
            yield from root_name(inner)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr in _MUTATORS:
            yield from root_name(inner.func)


def _assigned_expression(node: ast.stmt) -> ast.expr | None:
    """Return the expression of a statement that assigns to a single name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    single = len(targets) == 1 and isinstance(targets[0], ast.Name)
    return node.value if single and isinstance(node, (ast.Assign, ast.AnnAssign)) else None


def _check_block(name: str, statement: Statement) -> None:
    for node in _statements_in_scope(statement.node):
        block = _BLOCKS.get(type(node).__name__)
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            block = "if __name__"
        if block is not None:
            raise_unpackageable(
                f"'{sanitize_line(name)}' is assigned inside '{block}' ({statement.location}), which does not run in "
                f"Lambda; assign it at the top level, or {_FILE}"
            )


def _statements_in_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and the statements inside it, without those of functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _statements_in_scope(child)


def _is_unchanged(expression: ast.expr, value: Any) -> bool:
    """Return whether a value still equals a literal; True for other expressions."""
    text = ast.unparse(expression)
    try:
        original = _EMPTY[text] if text in _EMPTY else ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return True
    try:
        return bool(original == value)
    except Exception:  # noqa: BLE001 - the comparison is code of the value
        return False


def _referenced_names(statement: Statement, *, future: bool) -> list[str]:
    """Return the global names that a statement refers to, including those in its functions."""
    # With this import, a symbol table does not have the names in annotations, which are never evaluated.
    text = f"from __future__ import annotations\n{statement.text}" if future else statement.text
    table = symtable.symtable(text, "source", "exec")
    own = {*bound_names(statement.node)}
    # From Python 3.12 on, a table has the variables of comprehensions too; they are assigned, but not bound.
    symbols = (symbol for symbol in table.get_symbols() if symbol.is_referenced())
    names = {symbol.get_name() for symbol in symbols if not symbol.is_assigned() or symbol.get_name() in own}
    tables = list(table.get_children())
    while tables:
        inner = tables.pop()
        names |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global()}
        tables += inner.get_children()
    return sorted(names)
