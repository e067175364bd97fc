"""Fingerprint the code of a reward, so that scores of an edited reward are not reused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.entry_writer import write_function_sources, write_reward_sources
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.source_files import imported_sources, source_with_imports

__all__ = ["digest", "fingerprint_file", "fingerprint_object"]

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def digest(pieces: Iterable[bytes]) -> str:
    """Return 16 hexadecimal digits for a sequence of byte strings."""
    hashed = sha256()
    for piece in pieces:
        hashed.update(piece + b"\0")
    return hashed.hexdigest()[:16]


def fingerprint_file(path: Path, handler: str) -> str:
    """Fingerprint a handler in a file: the file itself and every module of the user that it imports.

    Installed packages are not read.
    """
    sources = source_with_imports(path) if path.suffix == ".py" else [(path.name, path.read_bytes())]
    return digest([*_named_contents(sources), handler.encode()])


def fingerprint_object(reward: object) -> str:
    """Fingerprint a reward, a handler or a function in this process.

    Code in a file counts with the modules of the user that it imports; code from a notebook counts as its package
    would contain it. Installed packages are not read.
    """
    return digest(_object_pieces(reward))


def _object_pieces(reward: object) -> Iterator[bytes]:
    yield _ADDRESS.sub("", repr(reward)).encode()
    inner = reward.reward if isinstance(reward, Handler) else reward
    leaves: Sequence[object] = inner.leaves if isinstance(inner, Reward) else (inner,)
    for leaf in leaves:
        yield from _source_pieces(getattr(leaf, "function", leaf), reward)


def _named_contents(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for name, content in files:
        yield name.encode() + b"\0" + content


def _source_pieces(code: Any, reward: object) -> Iterator[bytes]:
    unwrapped = inspect.unwrap(code) if callable(code) else code
    is_definition = inspect.isroutine(unwrapped) or inspect.isclass(unwrapped)
    definition = cast("Any", unwrapped if is_definition else type(unwrapped))
    try:
        file = Path(inspect.getsourcefile(definition) or "")
        if _PACKAGE_FOLDER in file.resolve().parents:
            yield __version__.encode()  # one of the package's own graders
        else:
            yield from _named_contents(source_with_imports(file))
    except (OSError, TypeError):
        yield from _named_contents(_notebook_sources(definition, reward))


def _notebook_sources(definition: Any, reward: object) -> Iterator[tuple[str, bytes]]:
    try:
        if isinstance(reward, (Reward, Handler)):
            made = write_reward_sources(reward if isinstance(reward, Handler) else Handler(reward)).files
        else:
            made = write_function_sources(cast("Any", reward)).files
    except ConfigurationError:
        yield "", _definition_bytes(definition)
        return
    yield from made.items()
    yield from imported_sources(made.values(), Path.cwd())


def _definition_bytes(definition: Any) -> bytes:
    try:
        return inspect.getsource(definition).encode()
    except (OSError, TypeError):
        code = getattr(definition, "__code__", None)
        return code.co_code + _ADDRESS.sub("", repr(code.co_consts)).encode() if code else b""
