"""Find the source files of a reward: its own file and every module of the user that it imports."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["imported_sources", "source_with_imports"]

_MAX_FILES = 500
_PACKAGE = "bedrock_rft"


def source_with_imports(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of a file and of the user's modules that it imports, directly or not.

    The standard library, this package and installed packages are not followed.
    """
    content = file.read_bytes()
    yield file.name, content
    yield from imported_sources([content], file.parent, seen={file.resolve()})


def imported_sources(
    texts: Iterable[bytes], folder: Path, *, seen: set[Path] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each module of the user that some sources import, directly or not."""
    known = set[Path]() if seen is None else seen
    pending = [(text, folder) for text in texts]
    while pending and len(known) < _MAX_FILES:
        text, location = pending.pop(0)
        for name, file in _imported_files(text, location, folder):
            if file.resolve() in known:
                continue
            known.add(file.resolve())
            try:
                content = file.read_bytes()
            except OSError:
                continue
            yield name, content
            pending.append((content, file.parent))


def _imported_files(text: bytes, location: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(alias.name.split("."), _search_folders(alias.name, folder))
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            relative = [location, *location.parents][node.level - 1 : node.level]
            folders = relative if node.level else _search_folders(parts[0], folder)
            for alias in node.names:
                yield from _module_files([*parts, alias.name], folders)


def _search_folders(name: str, folder: Path) -> list[Path]:
    """Return the folders that may hold a module of the user."""
    top = name.split(".", maxsplit=1)[0]
    if top in sys.stdlib_module_names or top == _PACKAGE:
        return []
    try:
        spec = importlib.util.find_spec(top)  # only the top-level name: finding a submodule would run its package
    except (ImportError, ValueError, AttributeError):
        spec = None
    locations = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return [folder, *(Path(place).parent for place in locations if place and not _is_installed(Path(place)))]


def _is_installed(file: Path) -> bool:
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(str(parent) in homes or parent.name in ("site-packages", "dist-packages") for parent in file.parents)


def _module_files(parts: list[str], folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the files of a module and of its parent packages, from the first folder that has any."""
    for folder in folders:
        found: list[tuple[str, Path]] = []
        for count in range(1, len(parts) + 1):
            inner = folder.joinpath(*parts[:count])
            files = (inner.with_name(f"{inner.name}.py"), inner / "__init__.py")
            found += [(".".join(parts[:count]), file) for file in files if file.is_file()]
        if found:
            yield from found
            return
