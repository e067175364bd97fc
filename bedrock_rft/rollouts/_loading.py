"""Load and decompress files, and merge their lines by time. Files of S3 are loaded in advance, in threads."""

from __future__ import annotations

import gzip
import heapq
import io
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

from bedrock_rft.rollouts._source import File, Source

_BLOCK = 1 << 20
_WHOLE = 4 << 20
"""Bytes of the text of a file that is read at once. Larger files are read in blocks."""
_LONGEST_LINE = 64 << 20
_AHEAD = 10
"""Files of S3 that are loaded in advance: as many as botocore keeps connections."""
_WINDOW, _WINDOW_BYTES = 48, 16 << 20
"""Number and bytes of the blocks that are merged by time: about as many invocations as end in one second."""
_TIME = re.compile(rb'"time":\s*"([^"]+)"')
_DAMAGE = (OSError, EOFError, zlib.error)

_FileContent = bytes | tuple[BinaryIO, io.BufferedReader]
_Skip = Callable[[File, int | None, str], None]


class Block(NamedTuple):
    """Whole lines of a file. Blocks are compared by their hour and the time of their first line.

    `number` is the number of earlier blocks, and `lines_before` the number of earlier lines in the same file.
    """

    hour: str
    time: bytes
    number: int
    file: File
    text: bytes
    lines_before: int


def load_blocks(source: Source, files: Iterator[tuple[str, File]], skip: _Skip) -> Iterator[Block]:
    """Yield the lines of files, ordered by time. `skip` is called for files that cannot be read completely."""
    heap: list[Block] = []
    number = size = 0
    for hour, file, content in _load_ahead(source, files, skip):
        for text, lines_before in _split(file, content, skip):
            time = _TIME.search(text, 0, 200)
            heapq.heappush(heap, Block(hour, time[1] if time else b"", number, file, text, lines_before))
            number, size = number + 1, size + len(text)
            while len(heap) > _WINDOW or size > _WINDOW_BYTES:
                first = heapq.heappop(heap)
                size -= len(first.text)
                yield first
    while heap:
        yield heapq.heappop(heap)


def _load_ahead(
    source: Source, files: Iterator[tuple[str, File]], skip: _Skip
) -> Iterator[tuple[str, File, _FileContent]]:
    """Yield each file with its text. Threads load from S3; from a disk they would mainly wait for each other."""
    pending: deque[tuple[str, File, Callable[[], _FileContent]]] = deque()
    ahead = _AHEAD if source.is_remote else 1
    pool = ThreadPoolExecutor(ahead)  # starts no thread before a file is submitted
    try:
        while True:
            for hour, file in islice(files, ahead - len(pending)):
                whole = partial(_load, source, file)
                pending.append((hour, file, pool.submit(whole).result if source.is_remote else whole))
            if not pending:
                return
            hour, file, load = pending.popleft()
            try:
                yield hour, file, load()
            except FileNotFoundError:
                skip(file, None, "the file was deleted")
            except OSError as error:
                skip(file, None, error.strerror or str(error))
    finally:
        pool.shutdown(cancel_futures=True)


def _split(file: File, content: _FileContent, skip: _Skip) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of whole lines, each with the number of lines before it."""
    if isinstance(content, bytes):
        if content:
            yield content, 0
        return
    count, size, waiting = 0, 0, list[bytes]()  # parts of a line, joined once: it may be very long
    handle, stream = content
    with handle:
        try:
            while chunk := stream.read1(_BLOCK):
                lines, newline, rest = chunk.rpartition(b"\n")
                if newline:
                    text, size, waiting = b"".join((*waiting, lines)), 0, []
                    yield text, count
                    count += text.count(b"\n") + 1
                waiting.append(rest)
                if (size := size + len(rest)) > _LONGEST_LINE:
                    skip(file, None, f"not read after line {count:,}: the next one is longer than 64 MiB")
                    return
        except _DAMAGE as error:
            skip(file, None, f"damaged after line {count:,}: {error}")
        else:
            if text := b"".join(waiting):
                yield text, count


def _load(source: Source, file: File) -> _FileContent:
    """Return the text of a file. If the file is large or damaged, return the open file and a stream of its text."""
    handle = source.open(file)
    start = handle.read(_WHOLE)
    compressed = start.startswith(b"\x1f\x8b")
    if len(start) < _WHOLE and not compressed:
        handle.close()
        return start
    library = _fastest_zlib()
    unzip = library.decompressobj(16 + zlib.MAX_WBITS)
    with suppress(library.error):
        text: bytes = unzip.decompress(start, _WHOLE) if compressed else start
        if len(text) < _WHOLE and unzip.eof and not unzip.unused_data:
            handle.close()
            return text
    handle.seek(0)
    return handle, cast("io.BufferedReader", gzip.GzipFile(fileobj=handle) if compressed else handle)


@cache
def _fastest_zlib() -> Any:
    """Return the module isal_zlib (extra 'fast'), which takes half the time, or else the standard library's zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib
