"""Start this program again as a process in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_DETACHED = 0x00000008  # DETACHED_PROCESS of Windows
_POSIX = os.name == "posix"


def start(module: str, arguments: Sequence[str], *, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a module of this package, which outlives this process.

    Args:
        module: the module, as for `python -m`.
        arguments: its arguments. Other users of the machine can read them.
        log: a file for its standard error; its standard output is then a pipe. By default both are dropped.
    """
    errors: IO[bytes] | int = subprocess.DEVNULL if log is None else log.open("wb")
    try:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - this Python, with a module of this package
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log is None else subprocess.PIPE,
            stderr=errors,
            start_new_session=_POSIX,
            creationflags=0 if _POSIX else _DETACHED,
        )
        return process
    finally:
        if not isinstance(errors, int):
            errors.close()
