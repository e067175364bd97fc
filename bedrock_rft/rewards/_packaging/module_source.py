"""What was written at the top level of a module or of a notebook: statements, and the names that each binds."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.imports import parsed

__all__ = ["Source", "Statement", "root", "source_of"]

_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_RUN_HERE = frozenset({"time", "capture", "prun"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement; an import of several names is as many of them.

    Attributes:
        node: as it was read.
        text: as it was written.
        where: the file or the cell, and the line.
        cell: its number in a notebook; 0 in a file.
    """

    node: ast.stmt
    text: str
    where: str
    cell: int


@dataclass(frozen=True)
class Source:
    """What was written at the top level of one module.

    Attributes:
        module: its name.
        space: its globals as they are now.
        notebook: whether it was written in cells, which run in any order.
        future: whether annotations are never evaluated in it.
        bindings: the statements that bind each name, in order; of a notebook's cells, those of the last that does.
        changes: where a name's value is changed in place at the top level.
        stars: the modules from which everything is imported.
    """

    module: str
    space: Mapping[str, Any]
    notebook: bool
    future: bool = False
    bindings: dict[str, list[Statement]] = field(default_factory=dict[str, list[Statement]])
    changes: dict[str, str] = field(default_factory=dict[str, str])
    stars: list[str] = field(default_factory=list[str])


def source_of(space: Mapping[str, Any], what: str) -> Source:
    """Read the source behind some globals.

    Args:
        space: a function's `__globals__`.
        what: what is wanted of it, for the error.

    Raises:
        ConfigurationError: there is none that can be read.
    """
    module = str(space.get("__name__", "__main__"))
    file, cells = space.get("__file__"), cast("list[Any] | None", space.get("In"))
    notebook = isinstance(cells, list) and not isinstance(file, str)
    texts: list[tuple[str, str, int]]
    if notebook:
        texts = [(f"cell {number}", _written(str(text)), number) for number, text in enumerate(cells or ())]
    else:
        lines = linecache.getlines(file, dict(space)) if isinstance(file, str) else []
        if not lines:
            raise ConfigurationError(
                f"{what} has no source that can be read. Write it into a file, and package 'path/to/file.py:name'."
            )
        texts = [(str(file).replace("\\", "/").rpartition("/")[2], "".join(lines), 0)]
    trees = [(where, text, number, _tree(where, text, notebook=notebook)) for where, text, number in texts]
    source = Source(module, space, notebook, future=any(_future(tree) for *_, tree in trees))
    for where, text, number, tree in trees:
        _note(source, where, text, number, tree)
    return source


def _written(cell: str) -> str:
    """A cell's own code, where IPython keeps it as a call of a cell magic that runs it here, such as `%%time`."""
    try:
        (node,) = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return cell
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is None or not ast.unparse(call.func).endswith(".run_cell_magic"):
        return cell
    magic, _, body = ((*(one.value for one in call.args if isinstance(one, ast.Constant)), "", "", ""))[:3]
    return str(body) if magic in _RUN_HERE else ""


def _tree(where: str, text: str, *, notebook: bool) -> ast.Module:
    try:
        return parsed(where, text)
    except ConfigurationError:
        if not notebook:
            raise
        return ast.Module([], [])  # a cell that never ran


def _future(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and "annotations" in ast.unparse(node)
        for node in tree.body
    )


def _note(source: Source, where: str, text: str, number: int, tree: ast.Module) -> None:
    lines = text.split("\n")
    for node in tree.body:
        place = f"{where}, line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            source.stars.append(node.module or "")
            continue
        for statement in _split(node, text, lines, place, number):
            for name in dict.fromkeys(_bound(statement.node)):
                known = source.bindings.setdefault(name, [])
                if known and known[-1].cell != number:
                    known.clear()
                    source.changes.pop(name, None)
                known.append(statement)
        for name in _changed(node):
            source.changes[name] = place


def _split(node: ast.stmt, text: str, lines: list[str], place: str, number: int) -> Iterator[Statement]:
    """One statement for each name of an import, so that nothing comes along that is not used."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            one = (
                ast.Import([alias])
                if isinstance(node, ast.Import)
                else ast.ImportFrom(node.module, [alias], node.level)
            )
            yield Statement(ast.copy_location(one, node), ast.unparse(one), place, number)
        return
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    if decorators:
        written = "\n".join(lines[decorators[0].lineno - 1 : node.end_lineno])
    else:
        written = ast.get_source_segment(text, node) or ast.unparse(node)
    yield Statement(node, written, place, number)


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its own scope."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0]
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return  # never there as it runs
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.Lambda, *_COMPREHENSIONS)):
            yield from _bound(child)


def _changed(node: ast.AST) -> Iterator[str]:
    """The names whose values a statement changes in place: an item set, or a method called for that alone."""
    if isinstance(node, _INNER):
        return
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from root(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        yield from root(node.value.func)
    for child in ast.iter_child_nodes(node):
        yield from _changed(child)


def root(node: ast.expr) -> Iterator[str]:
    """The name that an item or an attribute is of, at the far end."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    if isinstance(node, ast.Name):
        yield sanitize_line(node.id)
