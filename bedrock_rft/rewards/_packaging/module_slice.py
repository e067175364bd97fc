"""The part of a module that some of its names need: their statements, and those of what they refer to, and no others.

Only what was written is taken, never a value: a name that was set from the environment stays an expression, and what it
was here does not travel.
"""

from __future__ import annotations

import ast
import builtins
import copy
import symtable
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.module_source import Source, Statement, root

__all__ = ["sliced"]

_MODULE = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__package__"})
_EMPTY = {"set()": set[Any](), "dict()": dict[Any, Any](), "list()": list[Any]()}
_LOOPS = {"For": "for", "AsyncFor": "for", "While": "while", "With": "with", "AsyncWith": "with", "Match": "match"}
_CHANGES = frozenset({"add", "append", "clear", "extend", "insert", "pop", "popleft", "remove", "setdefault", "update"})
_FILE = "write the reward into a file and package 'path/to/file.py:name'"


def sliced(source: Source, names: list[str]) -> str:
    """The text of a module that has these names.

    Raises:
        ConfigurationError: one of them, or of what they refer to, cannot be carried; it is named.
    """
    part = _Part(source)
    for name in names:
        part.need(name, name)
    part.check()
    texts = [statement.text for statement in part.ordered()]
    first = ["from __future__ import annotations"] if source.future else []
    return "\n\n".join([*first, *part.stars, *texts]) + "\n"


class _Part:
    """What has been found to be needed so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: set[str] = set()
        self._statements: dict[Statement, None] = {}
        self.stars: list[str] = []

    def need(self, name: str, by: str) -> None:
        """Take a name along, with what its statements refer to, which comes first."""
        if name in self._names:
            return
        self._names.add(name)
        source = self._source
        if name not in source.bindings:
            self._elsewhere(name, by)
            return
        found = source.bindings[name]
        for statement in found:
            _check_kind(name, statement)
        for statement in found:
            for other in _used(statement.node, future=source.future):
                self.need(other, name)
        self._statements.update(dict.fromkeys(found))

    def ordered(self) -> list[Statement]:
        """The statements: in a file as they stand there, in a notebook what is referred to first."""
        if self._source.notebook:
            return list(self._statements)
        return sorted(self._statements, key=lambda one: (one.node.lineno, one.node.col_offset))

    def _elsewhere(self, name: str, by: str) -> None:
        if hasattr(builtins, name) or name in _MODULE:
            return
        for module in self._source.stars:
            if hasattr(sys.modules.get(module), name):
                self.stars.append(f"from {module} import {name}")
                return
        if name in self._source.space:
            _refuse(
                f"'{sanitize_line(by)}' uses '{sanitize_line(name)}', which no statement of its module assigns; {_FILE}"
            )
        _refuse(f"'{sanitize_line(by)}' uses '{sanitize_line(name)}', which is not defined anywhere; define it")

    def check(self) -> None:
        """Refuse names for which running their statements again would not give what they stand for now."""
        own = {name for statement in self._statements for name in _kept_by(statement.node)}
        for name in sorted(self._names):
            self._check(name, self._source.bindings.get(name, []), own=name in own)

    def _check(self, name: str, found: list[Statement], *, own: bool) -> None:
        if not found or not all(isinstance(one.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) for one in found):
            return
        if name in self._source.changes:
            _refuse(
                f"'{sanitize_line(name)}' is changed after it is assigned ({self._source.changes[name]}), which would be lost; "
                f"make it in one statement, or {_FILE}"
            )
        # What the reward changes itself as it runs, such as a cache, begins anew.
        written = _written(found[0].node) if len(found) == 1 and not own else None
        if written is not None and name in self._source.space and not _same(written, self._source.space[name]):
            _refuse(
                f"'{sanitize_line(name)}' is no longer what was assigned to it ({found[0].where}), and what it is now "
                "cannot be carried; assign the value that the reward is to have"
            )


def _kept_by(node: ast.stmt) -> Iterator[str]:
    """The global names that a function changes as it runs."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global):
            yield from inner.names
        elif isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.ctx, (ast.Store, ast.Del)):
            yield from root(inner)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr in _CHANGES:
            yield from root(inner.func)


def _written(node: ast.stmt) -> ast.expr | None:
    """What a statement assigns to the one name that it binds."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    single = len(targets) == 1 and isinstance(targets[0], ast.Name)
    return node.value if single and isinstance(node, (ast.Assign, ast.AnnAssign)) else None


def _check_kind(name: str, statement: Statement) -> None:
    for node in _here(statement.node):
        kind = _LOOPS.get(type(node).__name__)
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            kind = "if __name__"
        if kind is not None:
            _refuse(
                f"'{sanitize_line(name)}' is assigned inside '{kind}' ({statement.where}), which is not run in a Lambda; "
                f"assign it at the top level, or {_FILE}"
            )


def _here(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and those inside it, without those of functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _here(child)


def _same(written: ast.expr, value: Any) -> bool:
    """Whether a value is still what was written, as far as that can be told: of plain values alone."""
    text = ast.unparse(written)
    try:
        was = _EMPTY[text] if text in _EMPTY else ast.literal_eval(written)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return True
    try:
        return bool(was == value)
    except Exception:  # noqa: BLE001 - comparing is the value's own code
        return False


class _Unannotated(ast.NodeTransformer):
    """Without annotations, where those are never evaluated."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def _function(self, node: Any) -> Any:
        node.returns = None
        return self.generic_visit(node)

    visit_FunctionDef = _function  # noqa: N815 - ast calls its methods so
    visit_AsyncFunctionDef = _function  # noqa: N815 - as above

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _used(node: ast.stmt, *, future: bool) -> list[str]:
    """The global names that a statement refers to, in it or in its functions."""
    if future:
        node = _Unannotated().visit(copy.deepcopy(node))
    text = ast.unparse(ast.fix_missing_locations(node))
    table = symtable.symtable(text, "source", "exec")
    found = [one.get_name() for one in table.get_symbols() if one.is_referenced()]
    todo = list(table.get_children())
    while todo:
        inner = todo.pop()
        found += [one.get_name() for one in inner.get_symbols() if one.is_global()]
        todo += inner.get_children()
    return sorted(set(found))


def _refuse(why: str) -> NoReturn:
    raise ConfigurationError(f"The reward cannot be packaged: {why}.")
