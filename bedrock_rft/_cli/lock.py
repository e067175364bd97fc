"""A lock between processes, so that two of them do not create the same job."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Generator

from bedrock_rft._cli.background import open_private
from bedrock_rft._cli.id_cache import cache_folder
from bedrock_rft._cli.output import note

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_STEP = 0.1
"""Seconds between attempts."""
_PLACES = 1 << 30
"""Bytes of the file that names are spread over, so that other names do not wait."""


@contextlib.contextmanager
def one_process(name: str) -> Generator[None]:
    """Wait until no other process of this user on this machine works on a job with this name."""
    # The system releases the lock when a process ends. Without a folder that can be written, there is no lock.
    try:
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = open_private(cache_folder() / "create.lock")
    except OSError:
        yield
        return
    place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _PLACES
    with stream:
        waiting = False
        while not _lock(stream.fileno(), place):
            if not waiting:
                note("Another process creates the same job. Waiting for it.")
            waiting = True
            time.sleep(_STEP)
        yield


def _lock(descriptor: int, place: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, place, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
