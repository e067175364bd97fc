"""Keep files that do not belong in Lambda, and text that looks like a secret, out of a package."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from bedrock_rft._core.redaction import SECRET_PATTERNS
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

_FOLDERS = frozenset({"__pycache__", "venv", "env", "virtualenv", "node_modules", "site-packages"})
_NAMES = frozenset({"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "credentials", "credentials.json", "_netrc"})
_FILE_KINDS: Mapping[str, tuple[str, ...]] = {
    "a key or a certificate": (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx", ".crt", ".cer"),
    "a notebook": (".ipynb",),
    "bytecode": (".pyc", ".pyo"),
    "a dataset": (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npy", ".npz", ".xlsx"),
    "a pickle, which runs code when it is loaded": (".pkl", ".pickle", ".joblib"),
    "a database": (".sqlite", ".sqlite3", ".db", ".h5", ".hdf5"),
    "an archive": (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".whl"),
    "a file of environment variables": (".env",),
}
_HOME = re.compile(
    r"(?:(?<![\w./:-])|(?<=file://))/(?:home|Users)/[A-Za-z0-9._-]+/|(?<![\w])[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"
)
_ROOT = re.compile(r"(?<![\w./:-])/root/[\w.-][\w./-]{0,200}")
_WORD_CHARACTERS = re.compile(r"[\w+/=.-]*")
_MIN_DEPTH = 3


def check_file_name(name: str) -> None:
    """Raise `ConfigurationError` if a file, by its name, does not belong in Lambda."""
    parts = PurePosixPath(name).parts
    low = [part.casefold() for part in parts]
    if any(part in _FOLDERS for part in low[:-1]) or any(part.startswith(".") for part in low):
        _raise_for_name(name, "the file is hidden, or in a folder that does not belong in Lambda")
    if low and low[-1] in _NAMES:
        _raise_for_name(name, "the file has credentials")
    for kind, endings in _FILE_KINDS.items():
        if low and low[-1].endswith(endings):
            _raise_for_name(name, f"it is {kind}")


def _raise_for_name(name: str, reason: str) -> None:
    raise ConfigurationError(
        f"'{sanitize_line(name, 80)}' is not packaged: {reason}. Name only files that the reward reads."
    )


def check_secrets(files: Mapping[str, bytes], *, allow: Collection[str] = ()) -> None:
    """Raise `ConfigurationError`, without the text, if a text looks like a secret or is a path of this machine."""
    unused = {str(entry) for entry in allow}
    for name, content in files.items():
        text = content.decode("latin-1")  # never fails, and keeps ASCII; secrets consist of ASCII
        for kind, remedy, match in _iter_findings(text):
            entry = _allow_entry(name, kind, text, match)
            if entry not in allow:
                line = text.count("\n", 0, match.start()) + 1
                raise ConfigurationError(
                    f"{sanitize_line(name, 80)}, line {line}, contains text that looks like {kind}. {remedy}; if it is "
                    f"not one, pass allow=['{entry}']."
                )
            unused.discard(entry)
    if unused:
        raise ConfigurationError(
            f"allow has entries without a finding: {sanitize_line(', '.join(sorted(unused)), 200)}. The file or its "
            "text changed. Remove these entries, and check the present findings."
        )


def _iter_findings(text: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    """Yield the kind of each finding, the remedy, and the match."""
    for kind, form in SECRET_PATTERNS.items():
        for match in re.finditer(form, text):
            yield kind, "Read it from the function's environment or a secret store", match
    folders = [re.compile(re.escape(folder)) for folder in _local_folders()]
    for pattern in (*folders, _HOME, _ROOT):
        for match in pattern.finditer(text):
            # A path below root's home that does not exist may be an XPath, for example.
            if pattern is not _ROOT or os.path.exists(match.group()):  # noqa: PTH110 - it raises no errors
                yield (
                    "a path of this machine",
                    "Use paths relative to the code, because the path is not in Lambda",
                    match,
                )


def _allow_entry(name: str, kind: str, text: str, match: re.Match[str]) -> str:
    """Return the entry for `allow`: the file, the kind, and a checksum that does not reveal the text."""
    rest = _WORD_CHARACTERS.match(text, match.end())
    whole = match.group() + (rest.group() if rest else "")
    slug = kind.split(" ", 1)[1].lower().replace(" ", "-")
    return f"{sanitize_line(name, 80)}:{slug}:{sha256(whole.encode()).hexdigest()[:8]}"


def _local_folders() -> list[str]:
    """Return the home and the working directory, unless they are too short to identify this machine."""
    folders = [Path.cwd()]
    with contextlib.suppress(RuntimeError):  # there is no home
        folders.append(Path.home())
    return [str(folder) for folder in folders if len(folder.parts) >= _MIN_DEPTH]
