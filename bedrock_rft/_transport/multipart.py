"""Multipart upload body that can be sent again. Its length and hash are known before it is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from bedrock_rft.errors import DatasetError

if TYPE_CHECKING:  # creating a client must not import `datasets`
    from bedrock_rft.datasets._report import Limits, Report
    from bedrock_rft.datasets._source import Source

CHUNK = 1 << 20
"""The largest number of bytes that is read and sent at once."""

Progress = Callable[[int, int], object]
"""Function that is called with the bytes sent so far and the size of the file. A retry starts again from 0."""


class Upload:
    """The body of `POST /files`. `size` and `content_sha256` are of the file, `length` and `sha256` of the body."""

    def __init__(
        self,
        source: Source,
        *,
        filename: str | None = None,
        purpose: str = "fine-tune",
        progress: Progress | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Read the source to measure it, and validate it against `limits`. `DatasetError` closes the source."""
        self._source = source
        self._progress = progress
        self._reported = -1
        self.filename = filename or source.name
        self.purpose = purpose
        boundary = os.urandom(16).hex()
        # The name is escaped as browsers escape it, so that it cannot end the header or the part.
        name = self.filename.encode("utf-8", "replace").decode()
        name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        try:
            self.checked = self._measure(limits)
        except BaseException:
            source.close()
            raise
        self.length = len(self._head) + self.size + len(self._tail)

    def _measure(self, limits: Limits | None) -> Report | None:
        body, size, report = hashlib.sha256(self._head), 0, None
        if limits is None:
            content = hashlib.sha256()
            for chunk in self.content():
                body.update(chunk)
                content.update(chunk)
                size += len(chunk)
            self.size, self.content_sha256 = size, content.hexdigest()
        else:
            from bedrock_rft.datasets._check import CHUNK_SIZE, DatasetCheck
            from bedrock_rft.datasets._source import read_chunks

            check = DatasetCheck(self.filename, limits=limits, digests=[body])
            for chunk in read_chunks(self._source, CHUNK_SIZE):
                check.feed(chunk)
            report = check.finish()
            self.size, self.content_sha256 = report.size, report.sha256
        if not self.size:
            raise DatasetError(f"{self.filename} is empty, so there is nothing to train on. Check the path.")
        if report is not None and not report.ok:
            try:
                report.raise_for_errors()
            except DatasetError as error:
                text = f"{error.message}\nTo upload the file without validation, pass validate=False."
                raise DatasetError(text, **vars(error)) from None
        body.update(self._tail)
        self.sha256 = body.hexdigest()
        return report

    def content(self) -> Iterator[bytes]:
        """Return the bytes of the file itself, in chunks of at most 1 MiB."""
        from bedrock_rft.datasets._source import read_chunks

        return read_chunks(self._source)

    def check_readable(self) -> None:
        """Raise `DatasetError` if the file cannot be read any more, before a request begins."""
        from bedrock_rft.datasets._source import read_chunks

        with closing(read_chunks(self._source, 1)) as reading:
            next(reading, b"")

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole body; raise `DatasetError` before its end if the file changed, so that the upload fails."""
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
                f"{self.filename} changed while it was being uploaded, so the upload was cancelled. "
                "Upload the file again when no other program writes to it."
            )
        yield self._tail

    def report(self, sent: int) -> None:
        """Call `progress` after `sent` bytes of the body were sent."""
        of_file = min(max(sent - len(self._head), 0), self.size)
        if self._progress is not None and of_file != self._reported:
            self._reported = of_file
            self._progress(of_file, self.size)

    def close(self) -> None:
        """Remove temporary copies."""
        self._source.close()
