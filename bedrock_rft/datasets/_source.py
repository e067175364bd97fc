"""Sources of a file's bytes that can be read several times: a path, bytes, a file object, or records."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, cast

from pydantic import BaseModel

from bedrock_rft._core.atomic_file import file_error
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._records import encode_record, iterate_records
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["CHUNK_SIZE", "Data", "Source", "local_path", "open_source", "read_chunks", "records_in"]

CHUNK_SIZE = 1 << 20
"""Bytes that are sent at once."""

_DEFAULT_NAME = "data.jsonl"
_MAX_PATH_CHARS = 4096
_MAX_NAME_BYTES = 255  # of a file, in every usual file system
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # pathlib.Path removes the second slash
_DOWNLOADS = {"s3": "aws s3 cp s3://… train.jsonl", "gs": "gcloud storage cp gs://… train.jsonl",
              "http": "curl -o train.jsonl http://…", "https": "curl -o train.jsonl https://…"}  # fmt: skip
_TEXT_MODE = "The training file is open in text mode. Open it with mode 'rb'."

Data: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Iterable[Mapping[str, Any] | BaseModel]
"""A path, the content as bytes, a file opened in binary mode, or records: dicts, models, a pandas or polars frame, an
Arrow table, a Hugging Face dataset."""


class Source(Protocol):
    """A source of bytes that can be opened several times."""

    name: str

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open the source at its first byte."""
        ...

    def close(self) -> None:
        """Remove temporary copies. The user's files stay open."""
        ...


class _PathSource:
    """A regular file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        shown = sanitize_line(str(path), 200)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            dangling = " (a symbolic link to nothing)" if path.is_symlink() else ""
            raise file_error(f"{shown}{dangling} cannot be read", error) from error
        except ValueError as error:  # a NUL in it
            raise DatasetError(f"{shown} is not a valid path: {error}.") from error
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise DatasetError(f"{shown} is {kind}. Give the path of a JSONL file.")

    def open(self) -> IO[bytes]:
        return self._path.open("rb", buffering=0)  # chunks are large, so a buffer would only copy

    def close(self) -> None:
        pass


class _BytesSource:
    """Content in memory."""

    name = _DEFAULT_NAME

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self) -> IO[bytes]:
        return io.BytesIO(self._content)

    def close(self) -> None:
        pass


class _FileSource:
    """A seekable file object. Every reading starts at the position where it was given."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()
        name = getattr(file, "name", None)
        self.name = Path(name).name if isinstance(name, str) else _DEFAULT_NAME
        if self._start and file.seek(0, os.SEEK_END) == self._start:
            raise DatasetError(
                f"The file object of {sanitize_line(self.name, 100)} is at its end, so there is nothing to read. "
                "Call seek(0) first, or give the path."
            )
        file.seek(self._start)

    @contextlib.contextmanager
    def open(self) -> Generator[IO[bytes], None, None]:
        self._file.seek(self._start)
        yield self._file

    def close(self) -> None:
        pass


class _TemporaryCopy:
    """A temporary copy, mode 0600, of data that can be read only once."""

    name = _DEFAULT_NAME

    def __init__(self, chunks: Iterable[bytes]) -> None:
        import tempfile  # slow to import, and most datasets are files

        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the source
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


def open_source(data: Data) -> Source:
    """Return the source for whatever may be given as a dataset.

    Raises:
        DatasetError: the file does not exist or is not a regular file, or JSON cannot represent a record.
        ConfigurationError: the object cannot be read as a dataset.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _BytesSource(bytes(data))
    if isinstance(data, (str, os.PathLike)):
        return _PathSource(local_path(data))
    records = records_in(data)
    if records is not None:
        return _TemporaryCopy(encode_record(number, record) for number, record in enumerate(records, 1))
    return _open_file(cast("IO[bytes]", data))


def records_in(data: Data) -> Iterator[Any] | None:
    """Return the records if the data is an iterable of records; None for a path, bytes or a file object.

    Raises:
        ConfigurationError: the object cannot be read as a dataset.
    """
    if isinstance(data, (bytes, bytearray, memoryview, str, os.PathLike)):
        return None
    if isinstance(data, io.TextIOBase):
        raise ConfigurationError(_TEXT_MODE)
    if callable(getattr(data, "read", None)):
        return None
    if isinstance(data, tuple) and any(isinstance(item, (str, bytes)) for item in cast("tuple[object, ...]", data)):
        raise ConfigurationError(
            "A tuple with text or bytes was given. Give the content as bytes alone; upload(filename=…) takes a name."
        )
    records = iterate_records(data)
    if records is None:
        name = type(cast("object", data)).__name__
        raise ConfigurationError(
            f"An object of type {name} was given. Give a path, bytes, a binary file object or an iterable of records."
        )
    return records


def local_path(value: str | os.PathLike[str]) -> Path:
    """Return the path of a local file with `~` expanded.

    Raises:
        ConfigurationError: the value is empty, the content of a file or a URL. The message does not repeat it.
        DatasetError: the home directory is unknown.
    """
    text = os.fsdecode(os.fspath(value))
    if not text:
        raise ConfigurationError("The path of the training file is empty.")
    if _is_content(text):
        raise ConfigurationError(
            f"A text of {len(text):,} characters was given as a path; it looks like the content of a file. "
            "Give the path, or the content as bytes: text.encode()."
        )
    url = _URL.match(text)
    if url is not None:
        scheme = url[1].lower()
        example = f", for example with `{_DOWNLOADS[scheme]}`" if scheme in _DOWNLOADS else ""
        raise ConfigurationError(
            f"A URL ({scheme}://…) was given as a path. Download the file first{example}, and give its path."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise DatasetError(f"Cannot find {sanitize_line(text, 100)}: {error}") from error


def read_chunks(source: Source, size: int = CHUNK_SIZE) -> Generator[bytes, None, None]:
    """Yield the bytes of a source, at most `size` at once. Raise DatasetError if it cannot be read."""
    try:
        with source.open() as file:
            while chunk := file.read(size):
                yield chunk
    except OSError as error:
        name = sanitize_line(str(error.filename or source.name), 200)
        raise file_error(f"{name} cannot be read", error) from error


def _is_content(text: str) -> bool:
    return (
        len(text) > _MAX_PATH_CHARS
        or max(map(len, os.fsencode(text).split(os.sep.encode()))) > _MAX_NAME_BYTES
        or "\n" in text
        or "\r" in text
        or (text.lstrip()[:1] in {"{", "["} and any(mark in text for mark in "\"':"))
    )


def _open_file(file: IO[bytes]) -> Source:
    if getattr(file, "closed", False):
        raise ConfigurationError("The file object is closed. Open it again with mode 'rb', or give the path.")
    try:
        head = file.read(0)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The file object cannot be read: {error}. Open it with mode 'rb'.") from error
    if not isinstance(head, bytes):
        raise ConfigurationError(_TEXT_MODE)
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return _FileSource(file)
    return _TemporaryCopy(iter(lambda: file.read(CHUNK_SIZE), b""))
