"""What scores the answers: the same reward as in training, here, in a file, or where it is deployed."""

from __future__ import annotations

import inspect
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from bedrock_rft.errors import RewardError
from bedrock_rft.evaluation._journal import Scored
from bedrock_rft.rewards import Handler, Reward
from bedrock_rft.rewards._answer import delivered, verdicts
from bedrock_rft.rewards._entry import Entry, invoke, load
from bedrock_rft.rewards._locate import target_of
from bedrock_rft.rewards._targets import Here, Target

__all__ = ["Scorer", "alone", "entry_of", "scorer_of"]

_LONGEST = 900.0
"""Seconds that a reward on this machine may take for a batch: what Lambda allows at most."""
_MEMORY = 1024
_INVOCATIONS = 8
"""Batches that a deployed function is given at once."""
_PATIENCE = 600.0
"""Seconds for which a function that is busy is asked again."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Scorer:
    """A reward, ready to be asked.

    Attributes:
        name: what the report calls it.
        key: names its content as well; scores that were kept under another key are not taken over.
        concurrency: how many batches it may score at once.
        score: scores a batch of entries as the service sends them, in their order. Raises `RewardError`.
        close: lets go of what it holds.
    """

    name: str
    key: str
    concurrency: int
    score: Callable[[Sequence[Mapping[str, Any]]], Sequence[Scored]]
    close: Callable[[], None]


def scorer_of(reward: object, client: Any) -> Scorer:
    """Find out how to ask a reward.

    Args:
        reward: a reward, a handler or a function of (event, context); `path/to/file.py:name`; the zip of a Lambda; the
            ARN of a deployed function, or anything with an `.arn`.
        client: a client of this package whose AWS credentials invoke a deployed function, or None.

    Raises:
        ConfigurationError: it is none of these, or cannot be found.
    """
    target = target_of(reward, timeout=_timeout(reward), memory=_MEMORY, client=client)
    entry = entry_of(reward, target)

    def score(entries: Sequence[Mapping[str, Any]]) -> list[Scored]:
        result = delivered(entry(entries, None))
        found = verdicts(result, [str(one["id"]) for one in entries])
        return [Scored(one.score, dict(one.metrics)) for one in found]

    at_once = 1 if _arn(reward) is None else _INVOCATIONS
    return Scorer(target.name, f"{target.name} {_digest(reward, target)}", at_once, score, target.close)


def entry_of(reward: object, target: Target) -> Entry:
    """A reward as a function of (event, context) in this process, wherever it runs.

    A deployed one that is busy is asked again. What goes wrong otherwise is raised as `RewardError`.
    """
    if isinstance(target, Here):
        here = load(cast("Any", reward))
        return lambda event, _: invoke(here, event, timeout=target.timeout)

    def asked(event: Any, _: Any) -> Any:
        until, pause = time.monotonic() + _PATIENCE, 0.5
        while True:
            outcome = target.invoke(event)
            if outcome.error is None:
                return outcome.result
            if outcome.error.code != "busy" or time.monotonic() > until:
                raise outcome.error
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spread over time
            pause = min(pause * 2, 30.0)

    return asked


def _timeout(reward: object) -> float | None:
    return None if _arn(reward) else _LONGEST


def _arn(reward: object) -> str | None:
    arn = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None


def _digest(reward: object, target: Target) -> str:
    """Names what a reward does, as far as that can be told: the one it was before an edit is another."""
    hashed = sha256()
    for piece in _content(reward, target):
        hashed.update(piece + b"\0")
    return hashed.hexdigest()[:16]


def _content(reward: object, target: Target) -> Iterator[bytes]:
    if _arn(reward) is not None:
        known = cast("Mapping[str, Any]", getattr(target, "configuration", {}))
        state = known.get("RevisionId") or known.get("CodeSha256") or uuid4()  # not told: never the same
        yield f"{target.name} {state}".encode()
    elif isinstance(reward, (str, os.PathLike)):
        place = os.fspath(cast("str", reward))
        path = Path(place if Path(place).expanduser().is_file() else place.rpartition(":")[0]).expanduser()
        yield path.read_bytes()
        yield place.rpartition(":")[2].encode()
    else:
        yield _ADDRESS.sub("", repr(reward)).encode()
        inner = reward.reward if isinstance(reward, Handler) else reward
        leaves: Sequence[object] = inner.leaves if isinstance(inner, Reward) else (inner,)
        for leaf in leaves:
            yield _source(getattr(leaf, "function", leaf))


def _source(thing: Any) -> bytes:
    """The source of the file that something is written in, or what stands for it."""
    written = inspect.unwrap(thing) if callable(thing) else thing
    named = inspect.isroutine(written) or inspect.isclass(written)
    about = cast("Any", written if named else type(written))
    try:
        return Path(inspect.getsourcefile(about) or "").read_bytes()
    except (OSError, TypeError):
        pass
    try:
        return inspect.getsource(about).encode()
    except (OSError, TypeError):
        code = getattr(about, "__code__", None)
        return code.co_code + _ADDRESS.sub("", repr(code.co_consts)).encode() if code else b""


def alone(error: RewardError) -> bool:
    """Whether an error may be about one rollout alone, so that the others of its batch are worth another try."""
    return error.code not in ("timeout", "not_invoked", "busy", "not_loaded")
