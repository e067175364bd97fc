"""Extract the statements of a module or notebook that define some names, and all statements that these depend on.

Only source text is packaged, never a value: a name that is set from the environment stays an expression, so its value
on this machine is not packaged.
"""

from __future__ import annotations

import ast
import builtins
import copy
import io
import linecache
import symtable
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.imports import parse_source

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_RUN_IN_KERNEL = frozenset({"time", "capture", "prun"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_MODULE_NAMES = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__package__"})
_EMPTY = {"set()": set[Any](), "dict()": dict[Any, Any](), "list()": list[Any]()}
_BLOCKS = {"For": "for", "AsyncFor": "for", "While": "while", "With": "with", "AsyncWith": "with", "Match": "match"}
_MUTATORS = frozenset(
    {"add", "append", "clear", "extend", "insert", "pop", "popleft", "remove", "setdefault", "update"}
)
_FILE = "write the reward into a file and package 'path/to/file.py:name'"


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement of a file (cell 0) or a notebook cell. An import is split into one statement per name."""

    node: ast.stmt
    text: str
    location: str
    cell: int


@dataclass(frozen=True)
class ModuleSource:
    """The top-level statements of a module, or of a notebook, whose cells run in any order."""

    module: str
    space: Mapping[str, Any]  # the current global names of the module
    notebook: bool
    future: bool = False  # True if the module has `from __future__ import annotations`
    bindings: dict[str, list[Statement]] = field(default_factory=dict[str, list[Statement]])
    """The statements that bind each name. In a notebook, those of the last cell, and of earlier cells that it uses."""
    changes: dict[str, str] = field(default_factory=dict[str, str])
    """The location of a top-level statement that changes the value of a name in place."""


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
    # Positions in a tree count bytes. A cell that is not valid Unicode has no statements.
    lines = [line.encode(errors="replace") for line in io.StringIO(text, newline="")]
    for node in tree.body:
        place = f"{location}, line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        for statement in _split_statement(node, lines, place, number):
            for name in dict.fromkeys(_bound_names(statement.node)):
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


def _split_statement(node: ast.stmt, lines: Sequence[bytes], place: str, cell: int) -> Iterator[Statement]:
    """Yield one statement for each name of an import, so that no unused import is packaged."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in _aliases(node):
            single = copy.copy(node)
            single.names = [alias]
            yield Statement(single, ast.unparse(single), place, cell)
        return
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first, start = (decorators[0].lineno, 0) if decorators else (node.lineno, node.col_offset)
    segment = list(lines[first - 1 : node.end_lineno])
    segment[-1] = segment[-1][: node.end_col_offset]  # before the start, which may be in the same line
    segment[0] = segment[0][start:]
    yield Statement(node, b"".join(segment).decode(), place, cell)


def _aliases(node: ast.Import | ast.ImportFrom) -> list[ast.alias]:
    """Return the names of an import. A star is replaced by the names that the module has."""
    if node.names[0].name != "*" or isinstance(node, ast.Import):
        return node.names
    module = sys.modules.get(node.module or "")
    if module is None:  # the cell failed
        return []
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [ast.alias(str(name)) for name in public]


def _bound_names(node: ast.AST) -> Iterator[str]:
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
            yield from _bound_names(child)


def _changed_names(node: ast.AST) -> Iterator[str]:
    """Yield the names whose values a statement changes in place, by an assignment to a part or by a method call."""
    if isinstance(node, _SCOPES):
        return
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from _root_name(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        yield from _root_name(node.value.func)
    for child in ast.iter_child_nodes(node):
        yield from _changed_names(child)


def _root_name(node: ast.expr) -> Iterator[str]:
    """Yield the name at the start of an expression such as `name.attribute[0]`, if there is one."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    if isinstance(node, ast.Name):
        yield sanitize_line(node.id)


def raise_unpackageable(reason: str) -> NoReturn:
    raise ConfigurationError(f"The reward cannot be packaged: {reason}.")


def slice_module(source: ModuleSource, names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the source of the statements that define some names, with all dependencies, and the names to compare.

    Names whose values change when the reward runs, such as caches, are not compared with the package.
    """
    slicer = _Slicer(source)
    for name in names:
        slicer.add(name, name)
    compared, statements = slicer.check(), list(slicer.statements)
    if not source.notebook:  # in a notebook, each statement follows those that it depends on
        statements.sort(key=lambda statement: (statement.node.lineno, statement.node.col_offset))
    first = ["from __future__ import annotations"] if source.future else []
    return "\n\n".join([*first, *(statement.text for statement in statements)]) + "\n", compared


class _Slicer:
    """Collect the names and statements that are needed."""

    def __init__(self, source: ModuleSource) -> None:
        self._source = source
        self._names: set[str] = set()
        self.statements: dict[Statement, None] = {}

    def add(self, name: str, user: str) -> None:
        """Add the statements that bind a name, preceded by the statements that they depend on.

        `user` is the name that refers to `name`.
        """
        if name in self._names:
            return
        self._names.add(name)
        source = self._source
        if name not in source.bindings:
            self._check_defined(name, user)
            return
        statements = source.bindings[name]
        for statement in statements:
            _check_block(name, statement.node, statement.location)
        for statement in statements:
            for other in _referenced_names(statement, future=source.future):
                self.add(other, name)
        self.statements.update(dict.fromkeys(statements))

    def _check_defined(self, name: str, user: str) -> None:
        if hasattr(builtins, name) or name in _MODULE_NAMES:
            return
        shown, by = sanitize_line(name), sanitize_line(user)
        if name in self._source.space:
            raise_unpackageable(f"'{by}' uses '{shown}', but no statement of its module assigns it; {_FILE}")
        raise_unpackageable(f"'{by}' uses '{shown}', which is not defined; define '{shown}'")

    def check(self) -> list[str]:
        """Check that running the statements again gives the current values; return the names to compare."""
        changed_by_reward = {name for statement in self.statements for name in _changed_by_functions(statement.node)}
        known = sorted(name for name in self._names if name in self._source.bindings)
        for name in known:
            self._check_value(name, self._source.bindings[name], is_changed_by_reward=name in changed_by_reward)
        return [name for name in known if name not in changed_by_reward]

    def _check_value(self, name: str, statements: list[Statement], *, is_changed_by_reward: bool) -> None:
        shown = sanitize_line(name)
        assigned = all(isinstance(one.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) for one in statements)
        if any(isinstance(one.node, (ast.Import, ast.ImportFrom)) for one in statements):
            return
        if name in self._source.changes and (assigned or not is_changed_by_reward):
            raise_unpackageable(
                f"'{shown}' is changed after it is assigned ({self._source.changes[name]}), and the change would be "
                f"lost; make the value in one statement, or {_FILE}"
            )
        # Values that the reward itself changes while it runs, such as caches, start again from their assignment.
        single = len(statements) == 1 and not is_changed_by_reward
        expression = _assigned_expression(statements[0].node) if single else None
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
            yield from _root_name(inner)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr in _MUTATORS:
            yield from _root_name(inner.func)


def _assigned_expression(node: ast.stmt) -> ast.expr | None:
    """Return the expression of a statement that assigns to a single name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    single = len(targets) == 1 and isinstance(targets[0], ast.Name)
    return node.value if single and isinstance(node, (ast.Assign, ast.AnnAssign)) else None


def _check_block(name: str, node: ast.AST, location: str) -> None:
    """Check that a statement binds no name in a loop, for example; functions and classes have their own scope."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    block = _BLOCKS.get(type(node).__name__)
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        block = "if __name__"
    if block is not None:
        raise_unpackageable(
            f"'{sanitize_line(name)}' is assigned inside '{block}' ({location}), which does not run in Lambda; assign "
            f"the name at the top level, or {_FILE}"
        )
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            _check_block(name, child, location)


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
    # With this import, the symbol table leaves out the names in annotations, because they are never evaluated.
    text = f"from __future__ import annotations\n{statement.text}" if future else statement.text
    table = symtable.symtable(text, "source", "exec")
    own = {*_bound_names(statement.node)}
    # From Python 3.12 on, a table has the variables of comprehensions too; they are assigned, but not bound.
    symbols = (symbol for symbol in table.get_symbols() if symbol.is_referenced())
    names = {symbol.get_name() for symbol in symbols if not symbol.is_assigned() or symbol.get_name() in own}
    tables = list(table.get_children())
    while tables:
        inner = tables.pop()
        names |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global()}
        tables += inner.get_children()
    return sorted(names)
