"""Ids of jobs and files for shell completion, kept for a minute."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

_FRESH = 60.0
"""Seconds for which cached ids are used without a request."""
_TIMEOUT = 2.0
"""Seconds to wait for the service, because the shell waits too."""
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
    """Return ids with a short description of each: from the cache, or from the service."""
    from bedrock_rft._core.findings import write_text
    from bedrock_rft.errors import BedrockRFTError

    path = _path(kind, options)
    known: list[tuple[str, str]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    if not path.exists() or time.time() - path.stat().st_mtime > _FRESH:
        with suppress(BedrockRFTError):  # the ids so far stay for another minute, so that not every key waits
            known = _fetch(kind, options)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(json.dumps(known), path)
    return known


def _fetch(kind: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    from bedrock_rft import Client

    with Client(**options, timeout=_TIMEOUT, max_retries=0) as client:
        if kind == "jobs":
            return [(job.id, f"{job.status} {job.model}") for job in islice(client.jobs.list(), _MAX_IDS)]
        return [(file.id, file.filename) for file in islice(client.files.list(), _MAX_IDS)]


def _path(kind: str, options: Mapping[str, str]) -> Path:
    """Return the file for an identity. Its name is a digest, so that no setting is stored."""
    identity = sorted((name, value) for name, value in os.environ.items() if name.startswith(_IDENTITY))
    text = json.dumps([kind, sorted(options.items()), identity])
    return cache_folder() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
