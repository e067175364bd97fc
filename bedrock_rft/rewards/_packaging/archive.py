"""A Lambda's zip as a value: the same files give the same bytes, with names, modes and sizes that Lambda takes."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bedrock_rft._core.findings import WIDTH, clip
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["LARGEST", "LARGEST_UNZIPPED", "Package", "PackagedFile", "checked_name", "zipped"]

LARGEST = 50 * 1024 * 1024
LARGEST_UNZIPPED = 250 * 1024 * 1024
"""Lambda's quotas for a zip that is sent with the call, and for what it unpacks to."""

_STORED = 5 * 1024 * 1024
"""Bytes up to which nothing is compressed: that differs from one zlib to the next, and the hash should not."""

_LONGEST_NAME = 200
_WHEN = (1980, 1, 1, 0, 0, 0)
_PROGRAMS = (".so", ".sh")


@dataclass(frozen=True)
class PackagedFile:
    """One file of a package.

    Attributes:
        name: in the zip, from its top.
        size: bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, repr=False)
class Package:
    """A reward function as Lambda takes it: a zip, and the settings that belong to it.

    Attributes:
        content: the zip.
        handler: what Lambda calls, as `module.name`.
        runtime: Lambda's name of the Python it is made for.
        architecture: `x86_64` or `arm64`.
        files: what is in it, in order.
        reward: what it was made of, for people to read.
        models: ids of the models that its judges ask; its role needs `bedrock:InvokeModel` on them, and on no others.
        requirements: what was installed beside it, each with its version.
        timeout: seconds that an invocation should be given; Lambda's own default is 3.
        memory: megabytes that it should be given.
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

    @property
    def code_sha256(self) -> str:
        """The SHA-256 of the zip in base64, as Lambda tells a function's `CodeSha256`."""
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the zip, whole or not at all. Raises `ConfigurationError` where that cannot be done."""
        target = Path(path)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self.content)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigurationError(f"The package cannot be written to {target}: {error.strerror}.") from error
        return target

    def __repr__(self) -> str:
        head = f"<Package {_files(self.files)}, {_size(len(self.content))}, {self.runtime}, {self.architecture}: "
        return f"{head}{sanitize_line(self.reward, WIDTH - len(head) - 1)}>"

    def __str__(self) -> str:
        facts = [
            ("handler", f"{self.handler}, {self.runtime}, {self.architecture}"),
            ("an invocation", f"up to {self.timeout} s, {self.memory} MB"),
            *_listed("asks", self.models or ("no model",)),
            *_listed("requirements", self.requirements or ("none",)),
            ("size", f"{_size(len(self.content))} zipped"),
            ("SHA-256", self.code_sha256),
        ]
        lines = [f"Package of {sanitize_line(self.reward)}"]
        lines += [f"  {name:<13}  {sanitize_line(value)}" for name, value in facts]
        lines += [f"  {one.size:>13,}  {sanitize_line(one.name)}" for one in self.files]
        return "\n".join(map(clip, lines))


@dataclass(frozen=True)
class Contents:
    """What goes into a zip, by name.

    Attributes:
        own: what was named or written for it.
        vendored: what came with requirements.
    """

    own: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    vendored: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def checked_name(name: str) -> str:
    """A name in a zip, from its top, with slashes.

    Raises:
        ConfigurationError: it leads out of the zip, or would not be the same file on every system.
    """
    parts = name.split("/")
    odd = any(not part.strip() or part in (".", "..") or part != part.strip() for part in parts)
    strange = any(not character.isprintable() or character in '\\:*?"<>|' for character in name)
    if not name or odd or strange or len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"'{sanitize_line(name, 80)}' cannot be a name in a package. Names are relative, without '..', and printable."
        )
    return unicodedata.normalize("NFC", name)


def zipped(files: Mapping[str, bytes]) -> tuple[bytes, tuple[PackagedFile, ...]]:
    """The zip of some files, and its list.

    Raises:
        ConfigurationError: a name makes no sense, two are the same, or it is larger than Lambda takes.
    """
    ordered = sorted((checked_name(name), content) for name, content in files.items())
    folded = [name.casefold() for name, _ in ordered]
    twice = next((name for name in folded if folded.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"Two files of the package are named '{twice}'. Rename one of them.")
    names = {name for name, _ in ordered}
    under = next((name for name in names if any(str(parent) in names for parent in PurePosixPath(name).parents)), None)
    if under is not None:
        raise ConfigurationError(f"'{under}' would be in a folder that is a file of the package. Rename one of them.")
    total = sum(len(content) for _, content in ordered)
    _bounded(total, LARGEST_UNZIPPED, "unpacked")
    how = zipfile.ZIP_STORED if total <= _STORED else zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in ordered:
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.create_system = 3  # POSIX, wherever it was made: only then are there modes
            entry.external_attr = (0o100755 if name.endswith(_PROGRAMS) else 0o100644) << 16
            entry.compress_type = how
            archive.writestr(entry, content, compresslevel=9)
    content = buffer.getvalue()
    _bounded(len(content), LARGEST, "zipped")
    return content, tuple(PackagedFile(name, len(content)) for name, content in ordered)


def _bounded(size: int, most: int, how: str) -> None:
    if size > most:
        raise ConfigurationError(
            f"The package is {_size(size)} {how}; Lambda takes {_size(most)}. Leave out files or requirements."
        )


def _listed(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    return [("" if place else name, value) for place, value in enumerate(values)]


def _files(files: Sequence[object]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MB" if count >= 1024 * 1024 else f"{count / 1024:.0f} kB"
