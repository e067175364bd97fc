"""Training and validation files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from typing_extensions import Self

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._resources.base import (
    AsyncResource,
    Resource,
    Session,
    blocking,
    blocking_iter,
    identifier,
    limited,
    segment,
)
from bedrock_rft._transport.multipart import Progress, Upload
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import APIStatusError, ConfigurationError, NotFoundError
from bedrock_rft.types.files import File, FileDeleted

if TYPE_CHECKING:  # creating a client must not import `datasets`
    from bedrock_rft.datasets._limits import Limits
    from bedrock_rft.datasets._source import Data as UploadData

__all__ = ["AsyncFiles", "Files"]


_NO_CONTENT = 204
_TRAINING = "fine-tune"
_NOT_THERE = {"error", "deleted"}


class AsyncFiles(AsyncResource):
    """`client.files`: JSON lines, one prompt a line, for a job to train on."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        # What this client sent, by the id it got: the hash stays in the process, where nobody need look after it.
        self._uploaded: dict[str, str] = {}

    async def upload(
        self,
        data: UploadData,
        *,
        filename: str | None = None,
        purpose: str = _TRAINING,
        progress: Progress | None = None,
        validate: bool | Limits = True,
        reuse: bool = False,
    ) -> File:
        """Upload training data.

        The content is read twice: once to check it and to know its length and hash, once to send it, 1 MiB at a time.
        It is read again for every further attempt. One that was lost half-way may leave a file behind that no job uses.

        Args:
            data: a path, the bytes, a file opened in binary mode (from where it stands), or an iterable of records.
            filename: the name the service shows; by default the path's, or `data.jsonl`.
            purpose: what the service may do with it. Only `fine-tune` is checked to be training data.
            progress: called with the bytes sent so far and the bytes in all; a retry starts again from 0.
            validate: whether it must be what `datasets.validate` takes, errors aside from warnings, which are logged.
                `datasets.Limits(min_records=1)` holds a validation file to other bounds; False sends whatever it is.
            reuse: whether a file of the same name, size and SHA-256 that the service has already is returned instead,
                and nothing sent. This client knows the hash of what it uploaded itself; of other files with that name
                and size it reads the content to compare. Never done unless asked for; the log says when it was.

        Raises:
            DatasetError: it cannot be read, is empty, is not what the service takes, or changed while it was being
                sent; `.problems` has what was found.
            ConfigurationError: it is nothing that can be uploaded.
        """
        from bedrock_rft.datasets._source import open_source

        limits = _limits(validate) if purpose == _TRAINING else None
        upload = await self._session.transport.run(
            lambda: Upload(open_source(data), filename=filename, purpose=purpose, progress=progress, limits=limits)
        )
        try:
            _log_warnings(upload)
            if reuse and (same := await self._same(upload)) is not None:
                log.info(
                    "%s is on the service already as %s, and was not sent again",
                    sanitize_line(upload.filename),
                    same.id,
                )
                return same
            self._offer(upload)
            file = await self._send(Request("POST", "/files", upload=upload, repeatable=True), File)
            self._uploaded[file.id] = upload.content_sha256
            return file
        finally:
            upload.close()

    def _offer(self, upload: Upload) -> None:
        known = next((one for one, sha256 in self._uploaded.items() if sha256 == upload.content_sha256), None)
        if known is not None:
            log.info("This client uploaded the content of %s as %s; reuse=True would use that", upload.filename, known)

    async def _same(self, upload: Upload) -> File | None:
        """The file on the service with the same name, size and content."""
        async for file in self.list(purpose=upload.purpose):
            if (file.filename, file.bytes) != (upload.filename, upload.size) or file.status in _NOT_THERE:
                continue
            if (self._uploaded.get(file.id) or await self._sha256(file)) == upload.content_sha256:
                return file
        return None

    async def _sha256(self, file: File) -> str | None:
        """The hash of a file's content; None where the service does not show it."""
        reading = _Hashing()
        try:
            await self._session.exchange(Request("GET", f"/files/{segment(file, 'file')}/content", sink=reading))
        except APIStatusError:
            return None
        return reading.sha256

    async def retrieve(self, file: File | str) -> File:
        """One file as it stands."""
        return await self._send(Request("GET", f"/files/{segment(file, 'file')}"), File)

    def list(
        self, *, purpose: str | None = None, order: str | None = None, limit: int | None = None
    ) -> AsyncIterator[File]:
        """Every file.

        Args:
            purpose: only those, such as `fine-tune`.
            order: by creation, `asc` or `desc`.
            limit: how many to ask for at once, up to 100. All of them come, whatever it is.
        """
        query = {"purpose": purpose, "order": order, **limited(limit)}
        return self._pages("/files", File, query)

    async def content(self, file: File | str, *, to: str | os.PathLike[str] | None = None) -> bytes:
        """What is in a file.

        Args:
            file: the file or its id.
            to: a path to write to, for which memory stays constant. The file appears there whole or not at all.

        Returns:
            The bytes; empty where they went to `to`.
        """
        path = f"/files/{segment(file, 'file')}/content"
        with _Memory() if to is None else AtomicFile(to) as sink:
            await self._session.exchange(Request("GET", path, sink=sink))
            return sink.commit() or b""

    async def delete(self, file: File | str) -> FileDeleted:
        """Delete a file. A job that has begun with it goes on.

        Raises:
            NotFoundError: there is no such file. After a lost answer it means that the first attempt deleted it.
        """
        call = Request("DELETE", f"/files/{segment(file, 'file')}")
        try:
            reply = await self._session.exchange(call)
        except NotFoundError as error:
            if error.attempts == 1:
                raise
        else:
            if reply.status != _NO_CONTENT:
                return parse_response(FileDeleted, reply, call, self._session.config)
        return FileDeleted(id=identifier(file, "file"))


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

    def commit(self) -> bytes:
        return bytes(self._content)


class _Hashing:
    """A download of which only the hash is wanted."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def restart(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes, /) -> None:
        self._digest.update(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _limits(validate: bool | Limits) -> Limits | None:
    from bedrock_rft.datasets._limits import Limits

    if isinstance(validate, Limits):
        return validate
    if not isinstance(validate, bool):
        raise ConfigurationError(f"validate is a {type(validate).__name__}. Use True, False or datasets.Limits(…).")
    return Limits() if validate else None


def _log_warnings(upload: Upload) -> None:
    report = upload.checked
    if report is not None and report.warnings:
        log.warning("%s: %s; the first: %s", sanitize_line(report.name), report.verdict, report.warnings[0])
