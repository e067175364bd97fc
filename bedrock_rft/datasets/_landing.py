"""A file that appears whole or not at all: written beside its place with mode 0600, and moved there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from typing_extensions import Self

from bedrock_rft.datasets._trouble import trouble
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["Landing"]


class Landing:
    """A file on its way to a path."""

    def __init__(self, to: str | os.PathLike[str]) -> None:
        """Raises ConfigurationError for an empty path."""
        if not os.fspath(to):
            raise ConfigurationError("The path to write the file to is empty.")
        try:
            self.path = Path(to).expanduser()
        except RuntimeError as error:
            raise DatasetError(f"{to} cannot be found: {error}") from error
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        import tempfile  # dear to load, and few clients download

        try:
            self._file = tempfile.NamedTemporaryFile(
                dir=self.path.parent, prefix=f".{self.path.name[:100]}.", delete=False
            )
        except (OSError, ValueError) as error:
            raise trouble(f"{self.path} cannot be written", error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def restart(self) -> None:
        """Begin again, with nothing written."""
        self._open.seek(0)
        self._open.truncate()

    def write(self, chunk: bytes, /) -> None:
        """Write the next bytes. Raises DatasetError where that fails."""
        try:
            self._open.write(chunk)
        except OSError as error:
            raise trouble(f"{self.path} cannot be written", error) from error

    def land(self) -> bytes:
        """Move the file to its place, whatever stood there."""
        file = self._open
        try:
            file.close()
            Path(file.name).replace(self.path)
        except OSError as error:
            raise trouble(f"{self.path} cannot be written", error) from error
        self._file = None
        return b""

    @property
    def _open(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError("The file has landed already.")
        return self._file
