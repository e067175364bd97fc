"""Training and validation files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from typing_extensions import Self

from bedrock_rft._resource import AsyncResource, Resource, blocking, blocking_iter, limited, segment
from bedrock_rft._transport import Call
from bedrock_rft._upload import Progress, Upload, UploadData, source
from bedrock_rft.errors import ConfigurationError, DatasetError, NotFoundError
from bedrock_rft.types.files import File, FileDeleted

__all__ = ["AsyncFiles", "Files"]


class AsyncFiles(AsyncResource):
    """`client.files`: JSON lines, one prompt a line, for a job to train on."""

    async def upload(
        self,
        data: UploadData,
        *,
        filename: str | None = None,
        purpose: str = "fine-tune",
        progress: Progress | None = None,
    ) -> File:
        """Upload training data.

        The content is read twice: once to know its length and hash, once to send it, 1 MiB at a time. It is read
        again for every further attempt. One that was lost half-way may leave a file behind that no job uses.

        Args:
            data: a path, the bytes, a file opened in binary mode (from where it stands), or an iterable of records.
            filename: the name the service shows; by default the path's, or `data.jsonl`.
            purpose: what the service may do with it.
            progress: called with the bytes sent so far and the bytes in all; a retry starts again from 0.

        Raises:
            DatasetError: it cannot be read, is empty, or changed while it was being sent.
            ConfigurationError: it is nothing that can be uploaded.
        """
        upload = await self._session.transport.run(
            lambda: Upload(source(data), filename=filename, purpose=purpose, progress=progress)
        )
        try:
            return await self._send(Call("POST", "/files", upload=upload, repeatable=True), File)
        finally:
            upload.close()

    async def retrieve(self, file: File | str) -> File:
        """One file as it stands."""
        return await self._send(Call("GET", f"/files/{segment(file, 'file')}"), File)

    async def list(
        self, *, purpose: str | None = None, order: str | None = None, limit: int | None = None
    ) -> AsyncIterator[File]:
        """Every file.

        Args:
            purpose: only those, such as `fine-tune`.
            order: by creation, `asc` or `desc`.
            limit: how many to ask for at once, up to 100. All of them come, whatever it is.
        """
        query = {"purpose": purpose, "order": order, **limited(limit)}
        async for file in self._pages("/files", File, query):
            yield file

    async def content(self, file: File | str, *, to: str | os.PathLike[str] | None = None) -> bytes:
        """What is in a file.

        Args:
            file: the file or its id.
            to: a path to write to, for which memory stays constant. The file appears there whole or not at all.

        Returns:
            The bytes; empty where they went to `to`.
        """
        path = f"/files/{segment(file, 'file')}/content"
        with _Memory() if to is None else _Landing(to) as landing:
            await self._session.exchange(Call("GET", path, sink=landing))
            return landing.land()

    async def delete(self, file: File | str) -> FileDeleted:
        """Delete a file. A job that has begun with it goes on.

        Raises:
            NotFoundError: there is no such file. After a lost answer it means that the first attempt deleted it.
        """
        path = f"/files/{segment(file, 'file')}"
        try:
            return await self._send(Call("DELETE", path), FileDeleted)
        except NotFoundError as error:
            if error.attempts == 1:
                raise
            return FileDeleted(id=file if isinstance(file, str) else file.id)


class Files(Resource):
    """`client.files`: JSON lines, one prompt a line, for a job to train on."""

    upload = blocking(AsyncFiles.upload)
    retrieve = blocking(AsyncFiles.retrieve)
    list = blocking_iter(AsyncFiles.list)
    content = blocking(AsyncFiles.content)
    delete = blocking(AsyncFiles.delete)


class _Memory:
    """A download that is wanted as bytes."""

    def __init__(self) -> None:
        self._content = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.clear()

    def restart(self) -> None:
        self._content.clear()

    def write(self, chunk: bytes, /) -> None:
        self._content += chunk

    def land(self) -> bytes:
        return bytes(self._content)


class _Landing:
    """A download on its way to a path: beside it first, and moved there once it is whole."""

    def __init__(self, to: str | os.PathLike[str]) -> None:
        if not os.fspath(to):
            raise ConfigurationError("The path to write the file to is empty.")
        self._to = Path(to).expanduser()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._file = tempfile.NamedTemporaryFile(
                dir=self._to.parent, prefix=f".{self._to.name[:100]}.", delete=False
            )
        except OSError as error:
            raise DatasetError(f"{self._to} cannot be written: {error.strerror or error}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def restart(self) -> None:
        self._open.seek(0)
        self._open.truncate()

    def write(self, chunk: bytes, /) -> None:
        try:
            self._open.write(chunk)
        except OSError as error:
            raise DatasetError(f"{self._to} cannot be written: {error.strerror or error}.") from error

    def land(self) -> bytes:
        file = self._open
        file.close()
        Path(file.name).replace(self._to)
        self._file = None
        return b""

    @property
    def _open(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError("The download has landed already.")
        return self._file
