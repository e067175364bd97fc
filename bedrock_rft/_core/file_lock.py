"""Locks of files between processes, which the system releases when a process ends."""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}
_BEYOND = 2**31 - 2
"""Windows blocks reads of a locked byte, so the lock of a file covers a byte far beyond the data."""


def try_lock(descriptor: int, place: int | None = None) -> bool | None:
    """Lock a file, or only the byte at `place`, until it is closed. Return False if it is locked, None if it cannot be.

    The lock of a file excludes others of this process too; that of a byte does not.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _BEYOND if place is None else place, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        elif place is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:  # a file system may have no locks
        return False if error.errno in _LOCKED else None
    return True
