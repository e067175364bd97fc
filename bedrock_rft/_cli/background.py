"""Start this program again as a process in the background."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_DETACHED = 0x00000008  # DETACHED_PROCESS of Windows
# Not `python -m`, because it imports modules from the current folder, which others may write to, before installed ones.
_RUN = (
    "import sys; sys.path[:] = [one for one in sys.path if one]; module = sys.argv.pop(1); "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_POSIX = os.name == "posix"


def open_private(path: Path) -> IO[bytes]:
    """Open a new file to write, which only this user can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600), "wb")


def start(module: str, arguments: Sequence[str], *, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a module of this package in a process that outlives this one.

    With `log`, the new process writes standard error to that file, and its standard output is a pipe to this process.
    Otherwise both are discarded.
    """
    with contextlib.nullcontext(subprocess.DEVNULL) if log is None else open_private(log) as errors:
        return subprocess.Popen(  # noqa: S603 - this Python, with a module of this package
            [sys.executable, "-c", _RUN, module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log is None else subprocess.PIPE,
            stderr=errors,
            start_new_session=_POSIX,
            creationflags=0 if _POSIX else _DETACHED,
        )
