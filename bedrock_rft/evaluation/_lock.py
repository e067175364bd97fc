"""A file that one process at a time writes to. The lock is the system's own: it ends with the process that holds it."""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["hold"]

_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}
_FAR = 2**31 - 2  # Windows keeps others from reading what is locked, so that is a byte where nothing stands


def hold(descriptor: int) -> bool | None:
    """Lock an open file until it is closed, without waiting.

    Returns:
        False where another has it locked, and None where its file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True
