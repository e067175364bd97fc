"""A name for what a reward does, so that scores another reward gave are not taken for its own."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards import Handler, Reward
from bedrock_rft.rewards._packaging.entry_writer import of_function, of_reward
from bedrock_rft.rewards._targets.source_files import followed, with_imports
from bedrock_rft.rewards._targets.target import Target

__all__ = ["arn_of", "fingerprint"]

_HERE = Path(__file__).resolve().parents[2]
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(reward: object, target: Target) -> str:
    """Names what a reward does, as far as that can be told: the one it was before an edit is another.

    A file stands for itself and every module of the user's that it imports, a deployed function for its revision, and
    what was written in a notebook for what would be packaged of it. Installed packages are taken as they are.
    """
    hashed = sha256()
    for piece in _content(reward, target):
        hashed.update(piece + b"\0")
    return hashed.hexdigest()[:16]


def _content(reward: object, target: Target) -> Iterator[bytes]:
    if arn_of(reward) is not None:
        known = cast("Mapping[str, Any]", getattr(target, "configuration", {}))
        state = known.get("RevisionId") or known.get("CodeSha256") or uuid4()  # not told: never the same
        yield f"{target.name} {state}".encode()
    elif isinstance(reward, (str, os.PathLike)):
        place = os.fspath(cast("str", reward))
        path = Path(place if Path(place).expanduser().is_file() else place.rpartition(":")[0]).expanduser()
        yield from _pieces(with_imports(path) if path.suffix == ".py" else [(path.name, path.read_bytes())])
        yield place.rpartition(":")[2].encode()
    else:
        yield _ADDRESS.sub("", repr(reward)).encode()
        inner = reward.reward if isinstance(reward, Handler) else reward
        leaves: Sequence[object] = inner.leaves if isinstance(inner, Reward) else (inner,)
        for leaf in leaves:
            yield from _source(getattr(leaf, "function", leaf), reward)


def _pieces(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for name, content in files:
        yield name.encode() + b"\0" + content


def _source(thing: Any, reward: object) -> Iterator[bytes]:
    """The file that something is written in, with what it imports; or of a notebook, what would be packaged."""
    written = inspect.unwrap(thing) if callable(thing) else thing
    named = inspect.isroutine(written) or inspect.isclass(written)
    about = cast("Any", written if named else type(written))
    try:
        file = Path(inspect.getsourcefile(about) or "")
        if _HERE in file.resolve().parents:
            yield __version__.encode()  # a grader of this package's
        else:
            yield from _pieces(with_imports(file))
    except (OSError, TypeError):
        yield from _pieces(_cells(about, reward))


def _cells(about: Any, reward: object) -> Iterator[tuple[str, bytes]]:
    try:
        made = (
            of_reward(_handler(reward)) if isinstance(reward, (Reward, Handler)) else of_function(cast("Any", reward))
        )
    except ConfigurationError:
        yield "", _text(about)
        return
    texts = {name: text.encode() for name, text in made.items()}
    yield from texts.items()
    yield from followed(texts.values(), Path.cwd())


def _handler(reward: Reward | Handler) -> Handler:
    return reward if isinstance(reward, Handler) else Handler(reward)


def _text(about: Any) -> bytes:
    try:
        return inspect.getsource(about).encode()
    except (OSError, TypeError):
        code = getattr(about, "__code__", None)
        return code.co_code + _ADDRESS.sub("", repr(code.co_consts)).encode() if code else b""


def arn_of(reward: object) -> str | None:
    """The ARN of a deployed function, where a reward is one."""
    arn = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None
