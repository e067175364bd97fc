"""`Package`: a reproducible zip for Lambda, within its limits on names and sizes."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bedrock_rft._core.atomic_file import AtomicFile
from bedrock_rft._core.findings import WIDTH, clip
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.rewards._runtime.rollout_log import RolloutLog

LARGEST = 50 * 1024 * 1024
LARGEST_UNZIPPED = 250 * 1024 * 1024
"""Lambda's limits on a zip in a request, and on its unpacked size, in bytes."""

_STORED = 5 * 1024 * 1024
"""Bytes up to which files are not compressed, because compressed bytes differ between versions of zlib."""

_MAX_NAME = 200
_MAX_FILES = 50_000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DATE = (1980, 1, 1, 0, 0, 0)
_EXECUTABLE = (".so", ".sh")


@dataclass(frozen=True)
class PackagedFile(ShortRepr):
    """One file of a package.

    Attributes:
        name: the path in the zip.
        size: the unpacked size in bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, repr=False)
class Package:
    """The zip of a Lambda function, and its settings.

    Attributes:
        content: the bytes of the zip.
        handler: the handler setting, `module.name`.
        runtime: the Lambda runtime, such as `python3.13`.
        architecture: `x86_64` or `arm64`.
        files: the files of the zip, in order.
        reward: a description of the reward.
        models: ids of the models that the judges call; the function's role needs `bedrock:InvokeModel` on these models
            only.
        requirements: the installed releases, each as `name==version`.
        timeout: the recommended timeout in seconds; Lambda's default is 3.
        memory: the recommended memory in megabytes.
        record: the location, `sample`, `include` and `kms_key` of the recording of rollouts; None without recording.
    """

    content: bytes
    handler: str
    runtime: str
    architecture: str
    files: tuple[PackagedFile, ...]
    reward: str
    models: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    timeout: int = 300
    memory: int = 512
    record: RolloutLog | None = None

    @property
    def code_sha256(self) -> str:
        """The SHA-256 of the zip in base64, as in `CodeSha256` of a Lambda function."""
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the zip atomically and return its path. Raises `ConfigurationError` if that fails."""
        try:
            with AtomicFile(path) as file:
                file.write(self.content)
                file.commit()
        except DatasetError as error:
            raise ConfigurationError(f"The package cannot be written: {error.message}") from error
        return file.path

    def __repr__(self) -> str:
        count = f"{len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        head = f"<Package {count}, {_size(len(self.content))}, {self.runtime}, {self.architecture}: "
        return f"{head}{sanitize_line(self.reward, WIDTH - len(head) - 1)}>"

    def __str__(self) -> str:
        facts = [
            ("handler", f"{self.handler}, {self.runtime}, {self.architecture}"),
            ("invocation", f"up to {self.timeout} s, {self.memory} MB"),
            *_rows("models", self.models or ("none",)),
            *_rows("requirements", self.requirements or ("none",)),
            *([] if self.record is None else [("rollouts", f"recorded in {self.record.location}")]),
            ("size", f"{_size(len(self.content))} zipped"),
            ("SHA-256", self.code_sha256),
        ]
        lines = [f"Package of {sanitize_line(self.reward)}"]
        lines += [f"  {name:<13}  {sanitize_line(value)}" for name, value in facts]
        lines += [f"  {file.size:>13,}  {sanitize_line(file.name)}" for file in self.files]
        return "\n".join(map(clip, lines))


def validate_file_name(name: str) -> str:
    """Return a path in the zip in normal form."""
    parts = name.split("/")
    invalid_part = any(not part.strip() or part in (".", "..") or part != part.strip() for part in parts)
    invalid_character = any(not character.isprintable() or character in '\\:*?"<>|' for character in name)
    if not name or invalid_part or invalid_character or len(name) > _MAX_NAME:
        raise ConfigurationError(
            f"'{sanitize_line(name, 80)}' cannot be a name in a package. Use a relative name without '..' that is "
            "printable."
        )
    return unicodedata.normalize("NFC", name)


def build_zip(files: Mapping[str, bytes]) -> tuple[bytes, tuple[PackagedFile, ...]]:
    """Return the zip of some files, and the list of the files."""
    ordered = sorted((validate_file_name(name), content) for name, content in files.items())
    folded = [name.casefold() for name, _ in ordered]
    duplicate = next((name for name in folded if folded.count(name) > 1), None)
    if duplicate is not None:
        raise ConfigurationError(f"Two files of the package are named '{duplicate}'. Rename one of them.")
    names = {name for name, _ in ordered}
    nested = next((name for name in names if any(str(parent) in names for parent in PurePosixPath(name).parents)), None)
    if nested is not None:
        raise ConfigurationError(f"'{nested}' would be in a folder with the same name as a file. Rename one of them.")
    total = sum(len(content) for _, content in ordered)
    if total > LARGEST_UNZIPPED:
        raise ConfigurationError(
            f"The package is {_size(total)} unpacked; the limit of Lambda is {_size(LARGEST_UNZIPPED)}. Leave out "
            "files or requirements."
        )
    compression = zipfile.ZIP_STORED if total <= _STORED else zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ordered:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # POSIX on every system, because only POSIX entries have modes
            entry.external_attr = (0o100755 if name.endswith(_EXECUTABLE) else 0o100644) << 16
            entry.compress_type = compression
            archive.writestr(entry, content, compresslevel=9)
    content = buffer.getvalue()
    return content, tuple(PackagedFile(name, len(content)) for name, content in ordered)


def unpack_zip(archive: bytes | Path, folder: Path, name: str) -> None:
    """Unpack the zip of a Lambda function. Raise `ConfigurationError` if it is damaged or exceeds Lambda's limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else archive) as file:
            problem = _zip_problem(file.infolist())
            if not problem:
                file.extractall(folder)
    except Exception as error:  # noqa: BLE001 - zipfile raises many types for archives that are damaged
        problem = f"the file is damaged, or not a zip: {type(error).__name__}: {error}"
    if problem:
        raise ConfigurationError(f"{name} cannot be unpacked: {sanitize_line(problem, 200)}.")


def _zip_problem(entries: Sequence[zipfile.ZipInfo]) -> str:
    total = sum(entry.file_size for entry in entries)
    if total > LARGEST_UNZIPPED:
        return f"the zip has {_size(total)} unpacked, and the limit of Lambda is {_size(LARGEST_UNZIPPED)}"
    if len(entries) > _MAX_FILES:
        return f"the zip has {len(entries):,} files; at most {_MAX_FILES:,} are read"
    encrypted = next((entry.filename for entry in entries if entry.flag_bits & 1), None)
    if encrypted is not None:
        return f"'{encrypted}' is encrypted. Make a zip without a password"
    unknown = next((entry for entry in entries if entry.compress_type not in _METHODS), None)
    if unknown is not None:
        method = f"the compression method {unknown.compress_type}"
        return f"'{unknown.filename}' has {method}. Make a zip that only deflates files"
    return ""


def _rows(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    return [("" if index else name, value) for index, value in enumerate(values)]


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MB" if count >= 1024 * 1024 else f"{count / 1024:.0f} kB"
