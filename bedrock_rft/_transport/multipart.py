"""A multipart body that can be sent again: length and hash are known before it leaves, and it never sits in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

from bedrock_rft.datasets._cut import READ
from bedrock_rft.datasets._source import CHUNK, Data, Source, pieces, source
from bedrock_rft.errors import DatasetError

if TYPE_CHECKING:
    from bedrock_rft.datasets._bounds import Rules
    from bedrock_rft.datasets._report import Report

__all__ = ["CHUNK", "Progress", "Source", "Upload", "UploadData", "source"]

Progress = Callable[[int, int], object]
"""Called with the bytes of the file sent so far, and of the whole file. A retry starts again from 0."""

UploadData: TypeAlias = Data
"""A path, the content itself, a file opened in binary mode, or records to write as JSON lines: dicts, models, a pandas
or polars frame, a Hugging Face data set."""


class Upload:
    """A file on its way to the service, as the body of `POST /files`.

    Attributes:
        filename: the name the service will show.
        size: bytes of the file.
        length: bytes of the whole body.
        sha256: hex digest of the whole body, as a signature needs it.
        content_sha256: hex digest of the file alone.
        checked: what the same reading found, where the content was to be checked.
        content_type: `multipart/form-data` with the boundary.
    """

    def __init__(
        self,
        source: Source,
        *,
        filename: str | None = None,
        purpose: str = "fine-tune",
        progress: Progress | None = None,
        rules: Rules | None = None,
    ) -> None:
        """Read the source once, to know its length and hash. It is closed where that fails.

        Args:
            source: where the bytes come from.
            filename: the name the service will show; by default the source's.
            purpose: what the service may do with it.
            progress: told how far the body has come.
            rules: what the content is held to, in the same reading; None leaves it unchecked.

        Raises:
            DatasetError: it is empty, cannot be read, or is not what the rules ask for.
        """
        self._source = source
        self._progress = progress
        self._told = -1
        self.filename = filename or source.name
        self.purpose = purpose
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(self.filename)}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        try:
            self.checked = self._measure(rules)
        except BaseException:
            source.close()
            raise
        self.length = len(self._head) + self.size + len(self._tail)

    def _measure(self, rules: Rules | None) -> Report | None:
        body, size, report = hashlib.sha256(self._head), 0, None
        if rules is None:
            content = hashlib.sha256()
            for chunk in self.content():
                body.update(chunk)
                content.update(chunk)
                size += len(chunk)
            self.size, self.content_sha256 = size, content.hexdigest()
        else:
            from bedrock_rft.datasets._scan import Scan

            with Scan(self.filename, rules=rules, also=[body]) as scan:
                for chunk in pieces(self._source, READ):
                    scan.feed(chunk)
                report = scan.finish()
            self.size, self.content_sha256 = report.size, report.sha256
        if not self.size:
            raise DatasetError(f"{self.filename} is empty: there is nothing to train on.")
        if report is not None and not report.ok:
            try:
                report.raise_for_errors()
            except DatasetError as error:
                said = f"{error.message} To send it unchecked: validate=False."
                raise DatasetError(said, **vars(error)) from None
        body.update(self._tail)
        self.sha256 = body.hexdigest()
        return report

    def content(self) -> Iterator[bytes]:
        """The bytes of the file itself, without the body around it, in chunks of at most 1 MiB."""
        return pieces(self._source)

    def expect(self) -> None:
        """Raise DatasetError where the file cannot be read any more, before a request begins."""
        with closing(pieces(self._source, 1)) as reading:
            next(reading, b"")

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


def _quoted(name: str) -> str:
    """A file name as browsers write it into a form: nothing in it can end the header or the part."""
    safe = name.encode("utf-8", "replace").decode()
    return safe.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
