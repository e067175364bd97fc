"""Fingerprint the code of a reward, so that scores of an edited reward are not reused."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.entry_writer import write_function_sources, write_reward_sources
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_PACKAGE = "bedrock_rft"
_MAX_FILES = 500
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def digest(pieces: Iterable[bytes]) -> str:
    """Return 16 hexadecimal digits for a sequence of byte strings."""
    hashed = sha256()
    for piece in pieces:
        hashed.update(piece + b"\0")
    return hashed.hexdigest()[:16]


def fingerprint_file(path: Path, handler: str) -> str:
    """Fingerprint a handler in a file with every module of the user that it imports, without installed packages."""
    sources = _source_with_imports(path) if path.suffix == ".py" else [(path.name, path.read_bytes())]
    return _digest_files([*sources, ("", handler.encode())])


def fingerprint_object(reward: object) -> str:
    """Fingerprint a reward, a handler or a function in this process: its file, or its statements in a notebook."""
    inner = reward.reward if isinstance(reward, Handler) else reward
    leaves: Sequence[object] = inner.leaves if isinstance(inner, Reward) else (inner,)
    files = [("", _ADDRESS.sub("", repr(reward)).encode())]
    for leaf in leaves:
        files += _sources_of(getattr(leaf, "function", leaf), reward)
    return _digest_files(files)


def _digest_files(files: Iterable[tuple[str, bytes]]) -> str:
    return digest(name.encode() + b"\0" + content for name, content in files)


def _sources_of(code: Any, reward: object) -> list[tuple[str, bytes]]:
    unwrapped = inspect.unwrap(code) if callable(code) else code
    is_definition = inspect.isroutine(unwrapped) or inspect.isclass(unwrapped)
    definition = cast("Any", unwrapped if is_definition else type(unwrapped))
    try:
        file = Path(inspect.getsourcefile(definition) or "")
        if _PACKAGE_FOLDER in file.resolve().parents:
            return [("", __version__.encode())]  # one of the package's own graders
        return [*_source_with_imports(file)]
    except (OSError, TypeError):
        return _notebook_sources(definition, reward)


def _notebook_sources(definition: Any, reward: object) -> list[tuple[str, bytes]]:
    try:
        if isinstance(reward, (Reward, Handler)):
            made = write_reward_sources(reward if isinstance(reward, Handler) else Handler(reward)).files
        else:
            made = write_function_sources(cast("Any", reward)).files
    except ConfigurationError:
        return [("", _definition_bytes(definition))]
    return [*made.items(), *_imported_sources(made.values(), Path.cwd(), set())]


def _definition_bytes(definition: Any) -> bytes:
    try:
        return inspect.getsource(definition).encode()
    except (OSError, TypeError):
        code = getattr(definition, "__code__", None)
        return code.co_code + _ADDRESS.sub("", repr(code.co_consts)).encode() if code else b""


def _source_with_imports(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of a file and of the user's modules that it imports, directly or not."""
    content = file.read_bytes()
    yield file.name, content
    yield from _imported_sources([content], file.parent, {file.resolve()})


def _imported_sources(texts: Iterable[bytes], folder: Path, known: set[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each module of the user that some sources import, directly or not."""
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
    for name, level in _imported_names(text):
        parts = name.split(".")
        relative = [location, *location.parents][level - 1 : level]
        yield from _module_files(parts, relative if level else _search_folders(parts[0], folder))


@lru_cache(64)  # several evaluations with one reward read the same sources
def _imported_names(text: bytes) -> Sequence[tuple[str, int]]:
    """Return the dotted names that a source imports, each with the level of a relative import or 0."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    names: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            names += [(f"{module}{alias.name}", node.level) for alias in node.names]
    return names


def _search_folders(top: str, folder: Path) -> list[Path]:
    """Return the folders that may hold a top-level module of the user."""
    if top in sys.stdlib_module_names or top == _PACKAGE:
        return []
    try:
        spec = importlib.util.find_spec(top)  # only the top-level name: finding a submodule would run its package
    except (ImportError, ValueError, AttributeError):
        spec = None
    locations = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return [folder, *(Path(place).parent for place in locations if place and not _is_installed(Path(place)))]


def _is_installed(file: Path) -> bool:
    homes, folders = _python_folders(), ("site-packages", "dist-packages")
    return any(str(parent) in homes or parent.name in folders for parent in file.parents)


@cache
def _python_folders() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


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
