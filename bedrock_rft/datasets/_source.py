"""Where a file's bytes come from, as often as they are needed: a path, memory, a file object, or records."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, cast

from pydantic import BaseModel

from bedrock_rft.datasets._records import records_of, spelled
from bedrock_rft.datasets._trouble import trouble
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["CHUNK", "Data", "Source", "given_records", "pieces", "source"]

CHUNK = 1 << 20
"""Bytes, as they are sent."""

Data: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Iterable[Mapping[str, Any] | BaseModel]
"""A path, the content itself, a file opened in binary mode, or records: dicts, models, a pandas or polars frame, a
Hugging Face data set."""


class Source(Protocol):
    """Where a file's bytes come from, as often as they are needed."""

    name: str
    path: Path | None
    """Where it is a regular file of the user's, by which other processes find it."""

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open at the first byte."""
        ...

    def close(self) -> None:
        """Let go of what was made for the upload; the user's own files stay as they are."""
        ...


class _Path:
    """A regular file of the user's."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self._path = path
        self.name = path.name
        try:
            mode = path.stat().st_mode
        except OSError as error:
            dangling = " (a symbolic link to nothing)" if path.is_symlink() else ""
            raise trouble(f"{path}{dangling} cannot be read", error) from error
        except ValueError as error:  # a NUL in it
            raise DatasetError(f"{path} is no path: {error}.") from error
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise DatasetError(f"{path} is {kind}. Give the path of a JSONL file.")

    def open(self) -> IO[bytes]:
        # Unbuffered: chunks are large, and a second copy of each would only cost.
        return self._path.open("rb", buffering=0)

    def close(self) -> None:
        pass


class _Bytes:
    """Content that is in memory already."""

    name = "data.jsonl"
    path: Path | None = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self) -> IO[bytes]:
        return io.BytesIO(self._content)

    def close(self) -> None:
        pass


class _Stream:
    """A seekable file object, from where it stands: that is where every attempt starts."""

    path: Path | None = None

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()
        name = getattr(file, "name", None)
        self.name = Path(name).name if isinstance(name, str) else "data.jsonl"

    @contextlib.contextmanager
    def open(self) -> Generator[IO[bytes], None, None]:
        self._file.seek(self._start)
        yield self._file

    def close(self) -> None:
        pass


class _Spool:
    """A temporary copy of what can be read only once. Mode 0600, removed when the upload is done."""

    name = "data.jsonl"
    path: Path | None = None

    def __init__(self, chunks: Iterable[bytes]) -> None:
        import tempfile  # dear to load, and most data is a file already

        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the upload
        try:
            self._file.writelines(chunks)
        except BaseException:
            self._file.close()
            raise

    @contextlib.contextmanager
    def open(self) -> Generator[IO[bytes], None, None]:
        self._file.seek(0)
        yield self._file

    def close(self) -> None:
        self._file.close()


def source(data: Data) -> Source:
    """Tell what was given apart.

    Raises:
        DatasetError: there is no such file, or it is not a regular one, or a record is not JSON.
        ConfigurationError: it is nothing that can be uploaded.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _Bytes(bytes(data))
    if isinstance(data, (str, os.PathLike)):
        if not os.fspath(data):
            raise ConfigurationError("The path of the training file is empty.")
        return _Path(_expanded(Path(data)))
    records = given_records(data)
    if records is not None:
        return _Spool(spelled(number, record) for number, record in enumerate(records, 1))
    return _opened(cast("IO[bytes]", data))


def given_records(data: Data) -> Iterator[Any] | None:
    """The records, where records were given; None for a path, bytes or a file object.

    Raises:
        ConfigurationError: it is nothing that holds training data.
    """
    if isinstance(data, (bytes, bytearray, memoryview, str, os.PathLike)):
        return None
    if isinstance(data, io.TextIOBase):
        raise ConfigurationError("The training file is open in text mode. Open it with mode 'rb'.")
    if callable(getattr(data, "read", None)):
        return None
    found = records_of(data)
    if found is None:
        given: object = data
        raise ConfigurationError(
            "A training file is a path, bytes, a binary file object or an iterable of records, not "
            f"{type(given).__name__}."
        )
    return found


def pieces(origin: Source, size: int = CHUNK) -> Generator[bytes, None, None]:
    """The bytes of a source, in chunks of at most so many. Raises DatasetError where it cannot be read."""
    try:
        with origin.open() as file:
            while chunk := file.read(size):
                yield chunk
    except OSError as error:
        raise trouble(f"{error.filename or origin.name} cannot be read", error) from error


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise DatasetError(f"{path} cannot be found: {error}") from error


def _opened(file: IO[bytes]) -> Source:
    if not isinstance(file.read(0), bytes):
        raise ConfigurationError("The training file is open in text mode. Open it with mode 'rb'.")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return _Stream(file)
    return _Spool(iter(lambda: file.read(CHUNK), b""))
