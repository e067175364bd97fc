"""Locks on files, which the system releases when the process that has them ends."""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TAKEN_ERRORS = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}
_LOCK_OFFSET = 2**31 - 2
"""Windows blocks reads of a locked byte, so the lock of a file covers a byte far beyond the data."""


def try_lock(descriptor: int, place: int | None = None) -> bool | None:
    """Lock a file, or only the byte at `place`, until the file is closed.

    Return False if the lock is taken, or None if the file system has no locks. The lock of a whole file also excludes
    other locks of this process; the lock of a byte does not.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCK_OFFSET if place is None else place, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        elif place is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:  # a file system may have no locks
        return False if error.errno in _TAKEN_ERRORS else None
    return True
