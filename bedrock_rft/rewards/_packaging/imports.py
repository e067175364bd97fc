"""Check the imports of the packaged sources against the contents of the package."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import sys
import tokenize
from collections.abc import Collection, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NoReturn

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

LAMBDA_MODULES = frozenset(
    {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six", "awslambdaric"}
)
"""The modules that Lambda's Python runtimes contain besides the standard library."""

_PACKAGE = "bedrock_rft"


def decode_source(name: str, content: bytes) -> str:
    """Decode a Python file as Python itself does, by its byte order mark or its declared encoding."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        declared = "its declared encoding" if b"coding" in content[:200] else "UTF-8"
        raise ConfigurationError(
            f"{sanitize_line(name, 80)} is not valid Python: the text is not in {declared} ({error}). Save the file in "
            "UTF-8."
        ) from error


def parse_source(name: str, text: str) -> ast.Module:
    """Parse Python source. Raises `ConfigurationError` with the file and the line if it is not valid."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        number = getattr(error, "lineno", None)
        line = f", line {number}" if number else ""
        reason = getattr(error, "msg", None) or error
        raise ConfigurationError(f"{sanitize_line(name, 80)}{line}, is not valid Python: {reason}.") from error


def check_imports(sources: Mapping[str, str], present: Collection[str], ours: Mapping[str, Collection[str]]) -> bool:
    """Check that every import works in Lambda, except those whose failure the code handles."""
    top_names = {name.split("/")[0].removesuffix(".py").split(".")[0] for name in present}
    uses_package = False
    for name, text in sources.items():
        for node, module, imported in _required_imports(name, parse_source(name, text)):
            location = f"{sanitize_line(name, 80)}, line {node.lineno}"
            top = module.split(".")[0]
            if top == _PACKAGE:
                uses_package = True
                _check_package_import(location, module, imported, ours)
            elif top not in sys.stdlib_module_names and top not in LAMBDA_MODULES and top not in top_names:
                _raise_missing(location, top)
    return uses_package


def _required_imports(name: str, tree: ast.Module) -> Iterator[tuple[ast.stmt, str, tuple[str, ...]]]:
    """Yield each import that has to work: the statement, the module, and the names imported from it."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ConfigurationError(
                    f"{sanitize_line(name, 80)}, line {node.lineno}, has a relative import, but is not part of a "
                    "package in the zip. Import by the full name of the module, and name its files in include=[…]."
                )
            yield node, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
            nodes += [*node.orelse, *node.finalbody]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        else:
            nodes += ast.iter_child_nodes(node)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = "ImportError" if handler.type is None else ast.unparse(handler.type)
    return any(kind in caught for kind in ("ImportError", "ModuleNotFoundError", "Exception"))


def _check_package_import(
    location: str, module: str, imported: Collection[str], ours: Mapping[str, Collection[str]]
) -> None:
    missing = None if module in ours else module
    if module == _PACKAGE and imported:
        missing = next((f"{module}.{name}" for name in imported if name != "rewards"), None)
        module, imported = f"{module}.rewards", ()
    if missing is None and ours[module]:
        missing = next((f"{module}.{name}" for name in imported if name not in ours[module] and name != "*"), None)
    if missing is not None:
        raise ConfigurationError(
            f"{location}, imports '{missing}', but a Lambda package contains only rewards, graders and Handler of "
            "bedrock_rft.rewards. Move the code for jobs, files and checks to another file."
        )


def _raise_missing(location: str, top: str) -> NoReturn:
    spec = _find_spec(top)
    if (release := _installed_release(top, spec)) is not None:
        remedy = f"Add requirements=['{release}']"
    elif (file := _source_file(spec)) is not None:
        remedy = f"Add include=['{file}']"
    else:
        remedy = f"Name its file in include=[…], or its release in requirements=['{top}==…']"
    raise ConfigurationError(
        f"{location}, imports '{sanitize_line(top, 80)}', which is neither in the standard library nor in the package. "
        f"{remedy}."
    )


def _find_spec(top: str) -> ModuleSpec | None:
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(top)
    return None


def _installed_release(top: str, spec: ModuleSpec | None) -> str | None:
    """Return the installed release that contains a module, as a requirement."""
    from importlib import metadata  # slow to import

    with contextlib.suppress(metadata.PackageNotFoundError):  # most have the name of their module
        return f"{top}=={metadata.version(top)}"
    # Reading the lists of files of all installed packages takes time.
    found = metadata.packages_distributions().get(top) if spec is not None else None
    return f"{found[0]}=={metadata.version(found[0])}" if found else None


def _source_file(spec: ModuleSpec | None) -> str | None:
    """Return the path of a module's own file, relative to the working directory if possible."""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        return Path(os.path.relpath(spec.origin)).as_posix()
    except ValueError:  # on another drive
        return Path(spec.origin).as_posix()
