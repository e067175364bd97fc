"""Ids of jobs and files for shell completion: kept for a minute, and renewed by a process in the background."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedrock_rft._cli.background import open_private, start

_FRESH = 60.0
"""Seconds for which cached ids are used without a request."""
_STALE = 3600.0
"""Seconds after which cached ids are not offered any more, if they could not be renewed."""
_WAIT, _STEP = 0.15, 0.01
"""Seconds to wait for the background process; Python and click need about this time to start."""
_RETRY = 10.0
"""Seconds after which another process is started, if the last process wrote no ids."""
_MAX_IDS = 200

_IDENTITY = ("AWS_", "OPENAI_", "BEDROCK_")


def cache_folder() -> Path:
    """Return the folder for cached files."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "bedrock_rft"


def cached_ids(kind: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return ids with a short description of each: from the cache, or from the service if it responds at once."""
    path = _path(kind, options)
    age = _age(path)
    if age is None or age > _FRESH:
        attempt = path.with_suffix(".attempt")
        tried = _age(attempt)
        if tried is None or tried > _RETRY:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            attempt.touch()
            _start(kind, options, path)
        deadline = time.monotonic() + _WAIT
        while time.monotonic() < deadline:
            age = _age(path)
            if age is not None and age <= _FRESH:
                break
            time.sleep(_STEP)
    if age is None or age > _STALE:
        return []
    return [(str(one), str(about)) for one, about in json.loads(path.read_text(encoding="utf-8"))]


def renew(kind: str, options: Mapping[str, Any], path: Path) -> None:
    """Fetch ids from the service, and write them to the cache."""
    from itertools import islice

    from bedrock_rft import Client

    with Client(**options, timeout=10.0, max_retries=0) as client:
        if kind == "jobs":
            found = [(job.id, f"{job.status} {job.model}") for job in islice(client.jobs.list(), _MAX_IDS)]
        else:
            found = [(file.id, file.filename) for file in islice(client.files.list(), _MAX_IDS)]
    written = path.with_suffix(f".{os.getpid()}")
    with open_private(written) as stream:
        stream.write(json.dumps(found).encode())
    written.replace(path)


def _path(kind: str, options: Mapping[str, str]) -> Path:
    """Return the cache file for these options and credentials.

    The name of the file is a hash of them, so that nobody can read them there.
    """
    identity = sorted((name, value) for name, value in os.environ.items() if name.startswith(_IDENTITY))
    text = json.dumps([kind, sorted(options.items()), identity])
    return cache_folder() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _age(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def _start(kind: str, options: Mapping[str, str], path: Path) -> None:
    given = json.dumps([kind, dict(options), str(path)])
    start("bedrock_rft._cli.id_cache", [given])


if __name__ == "__main__":
    _kind, _options, _file = json.loads(sys.argv[1])
    renew(_kind, _options, Path(_file))
