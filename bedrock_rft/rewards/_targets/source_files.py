"""The sources behind a reward: its own file, and every module of the user's that it imports, however far."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["followed", "with_imports"]

_MOST = 500
_OURS = "bedrock_rft"


def with_imports(file: Path) -> Iterator[tuple[str, bytes]]:
    """A file and what it imports of the user's, each with its name.

    What belongs to Python, to this package or to an installed one is not followed. Raises `OSError` where the file
    itself cannot be read.
    """
    content = file.read_bytes()
    yield file.name, content
    yield from followed([content], file.parent, seen={file.resolve()})


def followed(texts: Iterable[bytes], folder: Path, *, seen: set[Path] | None = None) -> Iterator[tuple[str, bytes]]:
    """What some sources import of the user's, each file once.

    Args:
        texts: the sources.
        folder: where they stand, and what they import is looked for first.
        seen: files that are known already.
    """
    known = set[Path]() if seen is None else seen
    todo = [(text, folder) for text in texts]
    while todo and len(known) < _MOST:
        text, place = todo.pop(0)
        for name, file in _imported(text, place, folder):
            if file.resolve() in known:
                continue
            known.add(file.resolve())
            try:
                content = file.read_bytes()
            except OSError:
                continue
            yield name, content
            todo.append((content, file.parent))


def _imported(text: bytes, place: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name.split("."), _homes(alias.name, folder))
        elif isinstance(node, ast.ImportFrom):
            own = (node.module or "").split(".") if node.module else []
            homes = [place, *place.parents][node.level - 1 : node.level] if node.level else _homes(own[0], folder)
            for alias in node.names:
                yield from _files([*own, alias.name], homes)


def _homes(name: str, folder: Path) -> list[Path]:
    """The folders in which a module of the user's may stand."""
    top = name.split(".", maxsplit=1)[0]
    if top in sys.stdlib_module_names or top == _OURS:
        return []
    try:
        spec = importlib.util.find_spec(top)  # of the top alone: nothing is run
    except (ImportError, ValueError, AttributeError):
        spec = None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return [folder, *(Path(place).parent for place in places if place and not _installed(Path(place)))]


def _installed(place: Path) -> bool:
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(str(parent) in homes or parent.name in ("site-packages", "dist-packages") for parent in place.parents)


def _files(parts: list[str], homes: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The files of a module and of the packages it is in, in the first folder that has any."""
    for home in homes:
        found: list[tuple[str, Path]] = []
        for count in range(1, len(parts) + 1):
            inner = home.joinpath(*parts[:count])
            files = (inner.with_name(f"{inner.name}.py"), inner / "__init__.py")
            found += [(".".join(parts[:count]), file) for file in files if file.is_file()]
        if found:
            yield from found
            return
