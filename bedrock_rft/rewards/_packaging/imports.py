"""What a Lambda's sources import, held against what will be there."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["AWS", "parsed", "refuse_imports"]

AWS = frozenset({"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six", "awslambdaric"})
"""What Lambda's Python runtimes bring along."""

_OURS = "bedrock_rft"


def parsed(name: str, text: str) -> ast.Module:
    """A source read. Raises `ConfigurationError` where it is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        said = getattr(error, "msg", None) or error
        raise ConfigurationError(f"{sanitize_line(name, 80)}{where}, is no Python: {said}.") from error


def refuse_imports(sources: Mapping[str, str], present: Collection[str], ours: Mapping[str, Collection[str]]) -> bool:
    """Refuse imports of what will not be there; those that the code itself is ready to miss are let through.

    Args:
        sources: texts by name.
        present: names of the files that will be there.
        ours: the modules of this package that can be taken along, with their public names.

    Returns:
        Whether any of them imports this package.

    Raises:
        ConfigurationError: with the file, the line, and what to add.
    """
    own = {name.split("/")[0].removesuffix(".py").split(".")[0] for name in present}
    needed = False
    for name, text in sources.items():
        for node, module, wanted in _imports(name, parsed(name, text)):
            where = f"{sanitize_line(name, 80)}, line {node.lineno}"
            top = module.split(".")[0]
            if top == _OURS:
                needed = True
                _ours(where, module, wanted, ours)
            elif top not in sys.stdlib_module_names and top not in AWS and top not in own:
                _missing(where, top)
    return needed


def _imports(name: str, tree: ast.Module) -> Iterator[tuple[ast.stmt, str, tuple[str, ...]]]:
    """Every import that has to work: the statement, the module, and the names taken from it."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ConfigurationError(
                    f"{sanitize_line(name, 80)}, line {node.lineno}, imports relatively, and is no part of a package in the "
                    "zip. Import by the module's full name, and name its files in include=[…]."
                )
            yield node, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Try) and any(map(_misses, node.handlers)):
            todo += [*node.orelse, *node.finalbody]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def _misses(handler: ast.ExceptHandler) -> bool:
    caught = "ImportError" if handler.type is None else ast.unparse(handler.type)
    return any(kind in caught for kind in ("ImportError", "ModuleNotFoundError", "Exception"))


def _ours(where: str, module: str, wanted: Collection[str], ours: Mapping[str, Collection[str]]) -> None:
    absent = None if module in ours else module
    if module == _OURS and wanted:
        absent = next((f"{module}.{name}" for name in wanted if name != "rewards"), None)
        module = f"{module}.rewards"
        wanted = ()
    if absent is None and ours[module]:
        absent = next((f"{module}.{name}" for name in wanted if name not in ours[module] and name != "*"), None)
    if absent is not None:
        raise ConfigurationError(
            f"{where}, imports '{absent}', and a Lambda takes along only what scores: rewards, graders and Handler "
            "from bedrock_rft.rewards. Keep jobs, files and checks in another file."
        )


def _missing(where: str, top: str) -> NoReturn:
    mend = f"Name its file in include=[…], or its release in requirements=['{top}==…']"
    release = _release(top)
    if release is not None:
        mend = f"Add requirements=['{release}']"
    elif (file := _file(top)) is not None:
        mend = f"Add include=['{file}']"
    raise ConfigurationError(
        f"{where}, imports '{sanitize_line(top, 80)}', which is neither in the standard library nor in the package. {mend}."
    )


def _release(top: str) -> str | None:
    """The installed release that a module is of, as a requirement."""
    found = importlib.metadata.packages_distributions().get(top)
    return f"{found[0]}=={importlib.metadata.version(found[0])}" if found else None


def _file(top: str) -> str | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        return Path(os.path.relpath(spec.origin)).as_posix()
    except ValueError:  # on another drive
        return Path(spec.origin).as_posix()
