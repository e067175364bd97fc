"""A multipart body that can be sent again: length and hash are known before it leaves, and it never sits in memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast
from uuid import uuid4

from pydantic import BaseModel

from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["CHUNK", "Progress", "Source", "Upload", "UploadData", "source"]

CHUNK = 1 << 20

Progress = Callable[[int, int], object]
"""Called with the bytes of the file sent so far, and of the whole file. A retry starts again from 0."""

UploadData = str | os.PathLike[str] | bytes | IO[bytes] | Iterable[Mapping[str, Any] | BaseModel]
"""A path, the content itself, a file opened in binary mode, or records to write as JSON lines."""


class Source(Protocol):
    """Where a file's bytes come from, as often as they are needed."""

    name: str

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open at the first byte."""
        ...

    def close(self) -> None:
        """Let go of what was made for the upload; the user's own files stay as they are."""
        ...


class Upload:
    """A file on its way to the service, as the body of `POST /files`.

    Attributes:
        filename: the name the service will show.
        size: bytes of the file.
        length: bytes of the whole body.
        sha256: hex digest of the whole body, as a signature needs it.
        content_type: `multipart/form-data` with the boundary.
    """

    def __init__(
        self,
        source: Source,
        *,
        filename: str | None = None,
        purpose: str = "fine-tune",
        progress: Progress | None = None,
    ) -> None:
        """Read the source once, to know its length and hash. It is closed where that fails.

        Raises:
            DatasetError: it is empty or cannot be read.
        """
        self._source = source
        self._progress = progress
        self._told = -1
        self.filename = filename or source.name
        self.purpose = purpose
        boundary = uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(self.filename)}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        try:
            self.size, self.sha256 = self._measure()
        except BaseException:
            source.close()
            raise
        self.length = len(self._head) + self.size + len(self._tail)

    def _measure(self) -> tuple[int, str]:
        digest, size = hashlib.sha256(self._head), 0
        for chunk in self.content():
            digest.update(chunk)
            size += len(chunk)
        if not size:
            raise DatasetError(f"{self.filename} is empty: there is nothing to train on.")
        digest.update(self._tail)
        return size, digest.hexdigest()

    def content(self) -> Iterator[bytes]:
        """The bytes of the file itself, without the body around it, in chunks of at most 1 MiB."""
        try:
            with self._source.open() as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise _unreadable(self._source.name, error) from error

    def chunks(self) -> Iterator[bytes]:
        """The body, read afresh.

        Raises:
            DatasetError: the file is not the one that was measured. The last bytes are held back, so that the service
                cannot take the body for a whole one.
        """
        digest, sent = hashlib.sha256(self._head), 0
        yield self._head
        for chunk in self.content():
            digest.update(chunk)
            sent += len(chunk)
            if sent > self.size:
                break
            yield chunk
        digest.update(self._tail)
        if sent != self.size or digest.hexdigest() != self.sha256:
            raise DatasetError(
                f"{self.filename} changed while it was being uploaded, so the upload was broken off. "
                "Upload it again once nothing writes to it."
            )
        yield self._tail

    def report(self, sent: int) -> None:
        """Tell the caller how far the body has come: `sent` counts bytes of the body."""
        of_file = min(max(sent - len(self._head), 0), self.size)
        if self._progress is not None and of_file != self._told:
            self._told = of_file
            self._progress(of_file, self.size)

    def close(self) -> None:
        """Remove temporary copies."""
        self._source.close()


class _Path:
    """A regular file of the user's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        try:
            mode = path.stat().st_mode
        except OSError as error:
            dangling = " (a symbolic link to nothing)" if path.is_symlink() else ""
            raise _unreadable(f"{path}{dangling}", error) from error
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

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open(self) -> IO[bytes]:
        return io.BytesIO(self._content)

    def close(self) -> None:
        pass


class _Stream:
    """A seekable file object, from where it stands: that is where every attempt starts."""

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

    def __init__(self, chunks: Iterable[bytes]) -> None:
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


def source(data: UploadData) -> Source:
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
        return _Path(Path(data).expanduser())
    if isinstance(data, io.TextIOBase):
        raise ConfigurationError("The training file is open in text mode. Open it with mode 'rb'.")
    given: object = data
    if hasattr(data, "read"):
        return _opened(cast("IO[bytes]", data))
    if isinstance(data, Iterable) and not isinstance(data, Mapping):
        return _Spool(_lines(cast("Iterable[Any]", data)))
    raise ConfigurationError(
        f"A training file is a path, bytes, a binary file object or an iterable of records, not {type(given).__name__}."
    )


def _opened(file: IO[bytes]) -> Source:
    if not isinstance(file.read(0), bytes):
        raise ConfigurationError("The training file is open in text mode. Open it with mode 'rb'.")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return _Stream(file)
    return _Spool(iter(lambda: file.read(CHUNK), b""))


def _lines(records: Iterable[Any]) -> Iterator[bytes]:
    for number, record in enumerate(records, 1):
        if not isinstance(record, (Mapping, BaseModel)):
            raise DatasetError(f"Record {number} is a {type(record).__name__}. Every record is a mapping or a model.")
        try:
            # NaN has no spelling in JSON; writing it as null would change the data in silence.
            yield json.dumps(_plain(record), ensure_ascii=False, allow_nan=False, default=_plain).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise DatasetError(f"Record {number} cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """A mapping or a model, at the top or inside a record, as JSON can write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    fields: Any = value  # narrowing it would make its items unknown
    if isinstance(value, Mapping):
        return dict(fields)
    raise TypeError(f"a value of type {type(value).__name__} has no spelling in JSON")


def _quoted(name: str) -> str:
    """A file name as browsers write it into a form: nothing in it can end the header or the part."""
    safe = name.encode("utf-8", "replace").decode()
    return safe.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _unreadable(name: str, error: OSError) -> DatasetError:
    return DatasetError(f"{name} cannot be read: {error.strerror or error}.")
