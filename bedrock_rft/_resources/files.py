"""Training and validation files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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
    page_query,
    segment,
)
from bedrock_rft._transport.multipart import Progress, Upload
from bedrock_rft._transport.status_errors import parse_response
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import APIStatusError, ConfigurationError, NotFoundError
from bedrock_rft.types.files import File, FileDeleted

if TYPE_CHECKING:  # creating a client must not import `datasets`
    from bedrock_rft.datasets._report import Limits
    from bedrock_rft.datasets._source import Data as UploadData

_NO_CONTENT = 204
_TRAINING = "fine-tune"
_NOT_THERE = {"error", "deleted"}


class AsyncFiles(AsyncResource):
    """`client.files`: training and validation files in JSONL format."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        # SHA-256 of the files that this client uploaded, by file id.
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
        """Upload a dataset.

        The content is read twice: once to check it and to compute its length and hash, once to send it in chunks of
        1 MiB. Every retry reads the content again. An upload whose response was lost may leave an unused file.

        Args:
            data: a path, bytes, a file opened in binary mode (read from its position), or an iterable of records.
            filename: the name that the service shows. Default: the name of the path, or `data.jsonl`.
            purpose: the purpose of the file. Only `fine-tune` files are checked as datasets.
            progress: called with the number of bytes sent and the total; a retry starts from 0.
            validate: check the file as `datasets.validate` does. Errors raise, warnings are logged.
                `datasets.Limits(min_records=1)` sets other limits, for a validation file; False skips the check.
            reuse: if the service already has a file with the same name, size and SHA-256, return that file and send
                nothing. To compare files that this client did not upload, their content is downloaded. Reuse is noted
                in the log.

        Raises:
            DatasetError: the data cannot be read, is empty, would be rejected by the service, or changed during the
                upload; `.problems` lists the problems.
            ConfigurationError: `data` has a type that cannot be uploaded.
        """
        from bedrock_rft.datasets._source import open_source

        limits = _limits(validate) if purpose == _TRAINING else None
        upload = await self._session.transport.run(
            lambda: Upload(open_source(data), filename=filename, purpose=purpose, progress=progress, limits=limits)
        )
        try:
            _log_warnings(upload)
            if reuse and (same := await self._find_identical(upload)) is not None:
                log.info(
                    "%s is already on the service as %s and was not sent again", sanitize_line(upload.filename), same.id
                )
                return same
            known = next((one for one, sha256 in self._uploaded.items() if sha256 == upload.content_sha256), None)
            if known is not None:
                name = upload.filename
                log.info("%s was already uploaded by this client as %s; reuse=True would use that file", name, known)
            file = await self._send(Request("POST", "/files", upload=upload, repeatable=True), File)
            self._uploaded[file.id] = upload.content_sha256
            return file
        finally:
            upload.close()

    async def _find_identical(self, upload: Upload) -> File | None:
        """Return the file on the service with the same name, size and content, if there is one."""
        async for file in self.list(purpose=upload.purpose):
            if (file.filename, file.bytes) != (upload.filename, upload.size) or file.status in _NOT_THERE:
                continue
            if (self._uploaded.get(file.id) or await self._sha256(file)) == upload.content_sha256:
                return file
        return None

    async def _sha256(self, file: File) -> str | None:
        """Return the SHA-256 of a file, or None if the service does not return its content."""
        sink = _HashSink()
        try:
            await self._session.exchange(Request("GET", f"/files/{segment(file, 'file')}/content", sink=sink))
        except APIStatusError:
            return None
        return sink.sha256

    async def retrieve(self, file: File | str) -> File:
        """Return the current state of a file."""
        return await self._send(Request("GET", f"/files/{segment(file, 'file')}"), File)

    def list(
        self, *, purpose: str | None = None, order: str | None = None, limit: int | None = None
    ) -> AsyncIterator[File]:
        """Iterate over all files.

        Args:
            purpose: only files with this purpose, such as `fine-tune`.
            order: by time of creation, `asc` or `desc`.
            limit: items per page, 1 to 100. All items are returned in any case.
        """
        query = {"purpose": purpose, "order": order, **page_query(limit)}
        return self._pages("/files", File, query)

    async def content(self, file: File | str, *, to: str | os.PathLike[str] | None = None) -> bytes:
        """Return or save the content of a file.

        Args:
            file: the file or its id.
            to: a path to write to, with constant memory. The file is written completely or not at all.

        Returns:
            The content, or empty bytes if it was written to `to`.
        """
        path = f"/files/{segment(file, 'file')}/content"
        with _MemorySink() if to is None else AtomicFile(to) as sink:
            await self._session.exchange(Request("GET", path, sink=sink))
            return sink.commit() or b""

    async def delete(self, file: File | str) -> FileDeleted:
        """Delete a file. Jobs that already started with it continue.

        Raises:
            NotFoundError: the file does not exist. If a response was lost and the file is missing at the retry, the
                file counts as deleted, and nothing is raised.
        """
        request = Request("DELETE", f"/files/{segment(file, 'file')}")
        try:
            response = await self._session.exchange(request)
        except NotFoundError as error:
            if error.attempts == 1:
                raise
        else:
            if response.status != _NO_CONTENT:
                return parse_response(FileDeleted, response, request, self._session.config)
        return FileDeleted(id=identifier(file, "file"))


class Files(Resource):
    """`client.files`: training and validation files in JSONL format."""

    upload = blocking(AsyncFiles.upload)
    retrieve = blocking(AsyncFiles.retrieve)
    list = blocking_iter(AsyncFiles.list)
    content = blocking(AsyncFiles.content)
    delete = blocking(AsyncFiles.delete)


class _MemorySink(io.BytesIO):
    """Sink that keeps a download in memory."""

    def restart(self) -> None:
        self.seek(0)
        self.truncate()

    def commit(self) -> bytes:
        return self.getvalue()


class _HashSink:
    """Sink that keeps only the SHA-256 of a download."""

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
    from bedrock_rft.datasets._report import Limits

    if isinstance(validate, Limits):
        return validate
    if not isinstance(validate, bool):
        raise ConfigurationError(f"validate is a {type(validate).__name__}. Use True, False or datasets.Limits(…).")
    return Limits() if validate else None


def _log_warnings(upload: Upload) -> None:
    report = upload.checked
    if report is not None and report.warnings:
        log.warning("%s: %s; the first is: %s", sanitize_line(report.name), report.verdict, report.warnings[0])
