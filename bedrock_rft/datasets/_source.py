"""Open data as bytes that can be read several times: from a path, bytes, a file object, or records."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from pydantic import BaseModel

from bedrock_rft._core.atomic_file import file_error
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._records import encode_record, iterate_records
from bedrock_rft.errors import ConfigurationError, DatasetError

CHUNK_SIZE = 1 << 20
"""Bytes that are sent at once."""

_DEFAULT_NAME = "data.jsonl"
_MAX_PATH_CHARS = 4096
_MAX_NAME_BYTES = 255  # longest name of a file in every usual file system
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # pathlib.Path removes the second slash
_DOWNLOADS = {"s3": "aws s3 cp s3://… train.jsonl", "gs": "gcloud storage cp gs://… train.jsonl",
              "http": "curl -o train.jsonl http://…", "https": "curl -o train.jsonl https://…"}  # fmt: skip
_TEXT_MODE = "The training file is open in text mode. Open it with mode 'rb'."

Data: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Iterable[Mapping[str, Any] | BaseModel]
"""A path, the content as bytes, a file opened in binary mode, or records: dicts, models, a pandas or polars frame, an
Arrow table, a Hugging Face dataset."""


@dataclass(frozen=True)
class Source:
    """A source of bytes that can be opened several times, each time at its first byte."""

    name: str
    open: Callable[[], contextlib.AbstractContextManager[IO[bytes]]]
    close: Callable[[], None] = lambda: None  # removes a temporary copy; the user's files stay open


def open_source(data: Data) -> Source:
    """Return the source for data of any accepted type. Raise DatasetError or ConfigurationError for other data."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        content = bytes(data)
        return Source(_DEFAULT_NAME, lambda: io.BytesIO(content))
    if isinstance(data, (str, os.PathLike)):
        path = local_path(data)
        _check_regular_file(path)
        return Source(path.name, lambda: path.open("rb", buffering=0))  # chunks are large; a buffer would only copy
    records = records_in(data)
    if records is not None:
        return _temporary_copy(encode_record(number, record) for number, record in enumerate(records, 1))
    return _open_file(cast("IO[bytes]", data))


def records_in(data: Data) -> Iterator[Any] | None:
    """Return the records of an iterable; None for a path, bytes or a file. Raise ConfigurationError for other data."""
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
    """Return the path of a local file with `~` expanded. Errors do not repeat a value that is content or a URL."""
    if not isinstance(cast("object", value), (str, os.PathLike)):
        name = type(value).__name__
        raise ConfigurationError(f"An object of type {name} was given as a path. Give the path of a file.")
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


def _check_regular_file(path: Path) -> None:
    short_path = sanitize_line(str(path), 200)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        link_note = " (a symbolic link to nothing)" if path.is_symlink() else ""
        raise file_error(f"{short_path}{link_note} cannot be read", error) from error
    except ValueError as error:  # the path has a NUL
        raise DatasetError(f"{short_path} is not a valid path: {error}.") from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise DatasetError(f"{short_path} is {kind}. Give the path of a JSONL file.")


def _open_file(file: IO[bytes]) -> Source:
    """Return the source for a file object, which is read each time from its present position."""
    if getattr(file, "closed", False):
        raise ConfigurationError("The file object is closed. Open it again with mode 'rb', or give the path.")
    try:
        head = file.read(0)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The file object cannot be read: {error}. Open it with mode 'rb'.") from error
    if not isinstance(head, bytes):
        raise ConfigurationError(_TEXT_MODE)
    seekable = getattr(file, "seekable", None)
    if seekable is None or not seekable():
        return _temporary_copy(iter(lambda: file.read(CHUNK_SIZE), b""))
    name = getattr(file, "name", None)
    name = Path(name).name if isinstance(name, str) else _DEFAULT_NAME
    start = file.tell()
    if start and file.seek(0, os.SEEK_END) == start:
        raise DatasetError(
            f"The file object of {sanitize_line(name, 100)} is at its end, so there is nothing to read. "
            "Call seek(0) first, or give the path."
        )
    return Source(name, lambda: _seek_to(file, start))


def _temporary_copy(chunks: Iterable[bytes]) -> Source:
    """Copy data that can be read only once to a temporary file of mode 0600."""
    import tempfile  # slow to import, and most datasets are files

    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the source
    try:
        file.writelines(chunks)
    except BaseException:
        file.close()
        raise
    return Source(_DEFAULT_NAME, lambda: _seek_to(file, 0), file.close)


@contextlib.contextmanager
def _seek_to(file: IO[bytes], offset: int) -> Generator[IO[bytes], None, None]:
    file.seek(offset)
    yield file
