"""Read the source of a module or a notebook: its top-level statements and the names that each binds."""

from __future__ import annotations

import ast
import copy
import linecache
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.imports import parse_source

__all__ = ["ModuleSource", "Statement", "bound_names", "raise_unpackageable", "read_source", "root_name"]

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_RUN_IN_KERNEL = frozenset({"time", "capture", "prun"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement of a file (cell 0) or a notebook cell. Imports have one statement for each name."""

    node: ast.stmt
    text: str
    location: str
    cell: int


@dataclass(frozen=True)
class ModuleSource:
    """The top-level statements of a module.

    Attributes:
        module: the module's name.
        space: its current global names.
        notebook: whether it consists of notebook cells, which run in any order.
        future: whether it has `from __future__ import annotations`.
        bindings: the statements that bind each name, in order. In a notebook, those of the last cell that binds it, and
            earlier ones if that cell uses the earlier value.
        changes: the location of a top-level statement that changes the value of a name in place.
    """

    module: str
    space: Mapping[str, Any]
    notebook: bool
    future: bool = False
    bindings: dict[str, list[Statement]] = field(default_factory=dict[str, list[Statement]])
    changes: dict[str, str] = field(default_factory=dict[str, str])


def read_source(space: Mapping[str, Any], label: str) -> ModuleSource:
    """Read the source of a module."""
    module = str(space.get("__name__", "__main__"))
    file, cells = space.get("__file__"), cast("list[Any] | None", space.get("In"))
    notebook = isinstance(cells, list) and not isinstance(file, str)
    texts: list[tuple[str, str, int]]
    if notebook:
        texts = [(f"cell {number}", _cell_code(str(text)), number) for number, text in enumerate(cells or ())]
    else:
        lines = linecache.getlines(file, dict(space)) if isinstance(file, str) else []
        if not lines:
            raise ConfigurationError(
                f"The source of {label} cannot be read. Write it into a file, and package 'path/to/file.py:name'."
            )
        texts = [(str(file).replace("\\", "/").rpartition("/")[2], "".join(lines).removeprefix("\ufeff"), 0)]
    trees = [(location, text, number, _parse(location, text, notebook=notebook)) for location, text, number in texts]
    source = ModuleSource(module, space, notebook, future=any(_has_future_annotations(tree) for *_, tree in trees))
    for location, text, number, tree in trees:
        _add_statements(source, location, text, number, tree)
    return source


def _cell_code(cell: str) -> str:
    """Return the code of a cell. IPython keeps a cell with a magic such as `%%time` as a call of `run_cell_magic`."""
    try:
        (node,) = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return cell
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is None or not ast.unparse(call.func).endswith(".run_cell_magic"):
        return cell
    constants = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    magic, _, body = (*constants, "", "", "")[:3]
    return str(body) if magic in _RUN_IN_KERNEL else ""


def _parse(location: str, text: str, *, notebook: bool) -> ast.Module:
    try:
        return parse_source(location, text)
    except ConfigurationError:
        if not notebook:
            raise
        return ast.Module([], [])  # such a cell never ran


def _has_future_annotations(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and "annotations" in ast.unparse(node)
        for node in tree.body
    )


def _add_statements(source: ModuleSource, location: str, text: str, number: int, tree: ast.Module) -> None:
    lines = text.split("\n")
    for node in tree.body:
        place = f"{location}, line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        for statement in _split_statement(node, lines, place, number):
            for name in dict.fromkeys(bound_names(statement.node)):
                known = source.bindings.setdefault(name, [])
                if known and known[-1].cell != number and not _uses_itself(name, statement.node):
                    known.clear()
                    source.changes.pop(name, None)
                known.append(statement)
        for name in _changed_names(node):
            source.changes[name] = place


def _uses_itself(name: str, node: ast.stmt) -> bool:
    """Return whether a statement computes the new value of a name from its old value."""
    return isinstance(node, ast.AugAssign) or name in _names_read_at_once(node)


def _names_read_at_once(node: ast.AST) -> set[str]:
    """Return the names that a statement reads when it is executed, not in the bodies of functions."""
    names: set[str] = set()
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        children: list[ast.AST] = [*node.decorator_list, *node.args.defaults]
        children += [default for default in node.args.kw_defaults if default is not None]
    elif isinstance(node, ast.Lambda):
        children = [*node.args.defaults]
    else:
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
    for child in children:
        names |= _names_read_at_once(child)
    return names


def _split_statement(node: ast.stmt, lines: Sequence[str], place: str, cell: int) -> Iterator[Statement]:
    """Yield one statement for each name of an import, so that no unused import is packaged."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in _aliases(node):
            single = copy.copy(node)
            single.names = [alias]
            yield Statement(single, ast.unparse(single), place, cell)
        return
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first, column = (decorators[0].lineno, 0) if decorators else (node.lineno, node.col_offset)
    own = [line.encode() for line in lines[first - 1 : node.end_lineno]]  # columns count bytes
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][column:]
    yield Statement(node, b"\n".join(own).decode(), place, cell)


def _aliases(node: ast.Import | ast.ImportFrom) -> list[ast.alias]:
    """Return the names of an import. A star is replaced by the names that the module has."""
    if node.names[0].name != "*" or isinstance(node, ast.Import):
        return node.names
    module = sys.modules.get(node.module or "")
    if module is None:  # the cell failed
        return []
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [ast.alias(str(name)) for name in public]


def bound_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in its own scope."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0]
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return  # false at run time
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _COMPREHENSIONS):
            yield from (inner.target.id for inner in ast.walk(child) if isinstance(inner, ast.NamedExpr))
        elif not isinstance(child, ast.Lambda):
            yield from bound_names(child)


def _changed_names(node: ast.AST) -> Iterator[str]:
    """Yield the names whose values a statement changes in place, by an assignment to a part or by a method call."""
    if isinstance(node, _SCOPES):
        return
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from root_name(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        yield from root_name(node.value.func)
    for child in ast.iter_child_nodes(node):
        yield from _changed_names(child)


def root_name(node: ast.expr) -> Iterator[str]:
    """Yield the name at the start of an expression such as `name.attribute[0]`, if there is one."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    if isinstance(node, ast.Name):
        yield sanitize_line(node.id)


def raise_unpackageable(reason: str) -> NoReturn:
    raise ConfigurationError(f"The reward cannot be packaged: {reason}.")
