"""Hashing beside the reading: `hashlib` lets go of the interpreter, so a second core does it for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from typing_extensions import Self

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Digest", "Digests"]

_WORTH_A_THREAD = 1 << 16  # bytes: below, handing them over takes longer than hashing them
_AT_ONCE = 1 << 19  # bytes handed over: each time two threads have to wait for each other


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        ...


class Digests:
    """Several digests of the same bytes, at most a megabyte behind the reader."""

    def __init__(self, digests: Sequence[Digest]) -> None:
        self._digests = digests
        self._pool: ThreadPoolExecutor | None = None
        self._busy: Future[None] | None = None
        self._held: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes; they may be hashed later, and in this order."""
        self._held.append(chunk)
        self._size += len(chunk)
        if self._size >= _AT_ONCE:
            self._hand_over()

    def wait(self) -> None:
        """Return once everything taken is hashed."""
        self._hand_over()
        self._rest()

    def _hand_over(self) -> None:
        held, size, self._held, self._size = self._held, self._size, [], 0
        self._rest()
        if size < _WORTH_A_THREAD:
            self._hash(held)
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "bedrock-rft-digest")
        self._busy = self._pool.submit(self._hash, held)

    def _rest(self) -> None:
        if self._busy is not None:
            self._busy.result()
            self._busy = None

    def _hash(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            for digest in self._digests:
                digest.update(chunk)
