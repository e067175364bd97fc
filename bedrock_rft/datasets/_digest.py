"""Hashing beside the reading: `hashlib` lets go of the interpreter, so a second core does it for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from typing_extensions import Self

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Semaphore, Thread

__all__ = ["Digest", "Digests"]

_WORTH_A_THREAD = 1 << 16  # bytes: below, handing them over takes longer than hashing them
# Chunks that may wait: the thread gets the interpreter only while the caller reads, which is once for each chunk, and
# a caller that had to wait for it would lose what the second core gains. Each costs memory.
_WAITING = 2


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        ...


class Digests:
    """Several digests of the same bytes, at most some chunks behind the reader."""

    def __init__(self, digests: Sequence[Digest]) -> None:
        self._digests = digests
        self._thread: Thread | None = None
        self._chunks: SimpleQueue[bytes | None]
        self._room: Semaphore

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def update(self, chunk: bytes, *, beside: bool = True) -> None:
        """Take the next bytes.

        Args:
            chunk: the bytes.
            beside: whether they may be hashed later, and in this order, since there is something else to do.
        """
        if self._thread is None:
            if not beside or len(chunk) < _WORTH_A_THREAD:
                self._hash(chunk)
                return
            self._begin()
        self._room.acquire()
        self._chunks.put(chunk)

    def wait(self) -> None:
        """Return once everything taken is hashed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._chunks.put(None)
            thread.join()

    def _begin(self) -> None:
        from queue import SimpleQueue
        from threading import Semaphore, Thread

        self._chunks, self._room = SimpleQueue(), Semaphore(_WAITING)
        self._thread = Thread(target=self._work, name="bedrock-rft-digest", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash(chunk)
            self._room.release()

    def _hash(self, chunk: bytes) -> None:
        for digest in self._digests:
            digest.update(chunk)
