"""Files that are written whole or not at all, and exceptions for errors of the file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from typing_extensions import Self

from bedrock_rft._core.errors import ConfigurationError, DatasetError, DatasetPermissionError
from bedrock_rft._core.text import sanitize_line


class AtomicFile:
    """A temporary file next to `path`, with mode 0600, that `commit` moves to `path`. Otherwise it is removed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raise `ConfigurationError` for an empty path, `DatasetError` if the home directory of `~` is unknown."""
        if not os.fspath(path):
            raise ConfigurationError("The path to write the file to is empty.")
        try:
            self.path = Path(path).expanduser()
        except RuntimeError as error:
            raise DatasetError(f"Cannot find {sanitize_line(str(path), 100)}: {error}") from error
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        import tempfile  # slow to import, and few clients write files

        try:
            self._file = tempfile.NamedTemporaryFile(
                dir=self.path.parent, prefix=f".{self.path.name[:100]}.", delete=False
            )
        except (OSError, ValueError) as error:
            raise self._error(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def restart(self) -> None:
        """Discard the bytes written so far."""
        self._open_file.seek(0)
        self._open_file.truncate()

    def write(self, chunk: bytes, /) -> None:
        """Write the next bytes. Raises `DatasetError` if they cannot be written."""
        try:
            self._open_file.write(chunk)
        except OSError as error:
            raise self._error(error) from error

    def commit(self) -> None:
        """Move the file to its path, and replace an older file. Raises `DatasetError` if it cannot be moved."""
        file = self._open_file
        try:
            file.close()
            Path(file.name).replace(self.path)
        except OSError as error:
            raise self._error(error) from error
        self._file = None

    @property
    def _open_file(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError("The file is not open: it was committed, or its context was not entered.")
        return self._file

    def _error(self, error: Exception) -> DatasetError:
        return file_error(f"{sanitize_line(str(self.path), 200)} cannot be written", error)


def file_error(action: str, error: Exception) -> DatasetError:
    """Return the exception for an action such as "FILE cannot be read"; a `PermissionError` too if access is denied."""
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    if not isinstance(error, PermissionError):
        return DatasetError(f"{action}: {reason}.")
    denied = DatasetPermissionError(f"{action}: {reason}.")
    denied.errno = error.errno
    return denied
