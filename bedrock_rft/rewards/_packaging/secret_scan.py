"""What must not get into a Lambda's zip: files that never belong there, and text that looks like a secret."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["refuse_names", "refuse_secrets"]

_FOLDERS = frozenset({"__pycache__", "venv", "env", "virtualenv", "node_modules", "site-packages"})
_NAMES = frozenset({"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "credentials", "credentials.json", "_netrc"})
_KINDS: Mapping[str, tuple[str, ...]] = {
    "a key or a certificate": (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx", ".crt", ".cer"),
    "a notebook": (".ipynb",),
    "bytecode": (".pyc", ".pyo"),
    "a data set": (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npy", ".npz", ".xlsx"),
    "a pickle, which runs code as it is read": (".pkl", ".pickle", ".joblib"),
    "a database": (".sqlite", ".sqlite3", ".db", ".h5", ".hdf5"),
    "an archive": (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".whl"),
    "a file of environment variables": (".env",),
}
_SECRETS: Mapping[str, re.Pattern[str]] = {
    "an AWS access key": re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "an AWS secret key": re.compile(
        r"(?i)(?:secret|aws)[\w .-]{0,30}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?![A-Za-z0-9/+]{30}EXAMPLEKEY)"
        r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
    "an AWS session token": re.compile(r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz)[A-Za-z0-9/+=]{20}"),
    "a Bedrock API key": re.compile(r"bedrock-api-key-[A-Za-z0-9+/=_-]{20}|(?<![A-Za-z0-9])ABSK[A-Za-z0-9+/]{20}"),
    "an OpenAI or Anthropic key": re.compile(r"(?<![A-Za-z0-9_-])sk-(?:[a-z]{2,12}[0-9]{0,2}-)?[A-Za-z0-9_-]{20}"),
    "a GitHub token": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{22})"),
    "a Hugging Face token": re.compile(r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30}"),
    "a Slack token": re.compile(r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?s:.{0,400})"),
    "a JSON web token": re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8}"),
    "a password in a URL": re.compile(
        r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'{}<>]{1,80}:[^\s/:@\"'{}<>]{3,80}@[A-Za-z0-9]"
    ),
}
_HOME = re.compile(
    r"(?:(?<![\w./:-])|(?<=file://))/(?:home|Users)/[A-Za-z0-9._-]+/|(?<![\w])[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"
)
_ROOT = re.compile(r"(?<![\w./:-])/root/[\w.-][\w./-]{0,200}")
_WORD = re.compile(r"[\w+/=.-]*")
_DEEP = 3


def refuse_names(name: str) -> None:
    """Refuse a file that never belongs into a Lambda, by its name. Raises `ConfigurationError`."""
    parts = PurePosixPath(name).parts
    low = [part.casefold() for part in parts]
    if any(part in _FOLDERS for part in low[:-1]) or any(part.startswith(".") for part in low):
        _refused(name, "it is hidden, or in a folder that never belongs into a Lambda")
    if low and low[-1] in _NAMES:
        _refused(name, "it holds credentials")
    for kind, endings in _KINDS.items():
        if low and low[-1].endswith(endings):
            _refused(name, f"it is {kind}")


def _refused(name: str, why: str) -> None:
    raise ConfigurationError(
        f"'{sanitize_line(name, 80)}' is not packaged: {why}. Name only the sources that the reward reads."
    )


def refuse_secrets(files: Mapping[str, bytes], *, allow: Collection[str] = ()) -> None:
    """Refuse text that looks like a secret, or names this machine's folders. What was found is not repeated.

    Args:
        files: by name.
        allow: what was found before and only looks so, each as the error names it.

    Raises:
        ConfigurationError: with the file, the line and the kind of secret; or something is allowed that is not there.
    """
    unused = {str(one) for one in allow}
    for name, content in files.items():
        text = content.decode("latin-1")  # never fails, and leaves ASCII, of which secrets are made, as it is
        for kind, mend, found in _looked(text):
            known = _named(name, kind, text, found)
            if known not in allow:
                _found(name, text, found.start(), kind, f"{mend}; if it is none, allow=['{known}'] lets it pass")
            unused.discard(known)
    if unused:
        raise ConfigurationError(
            f"allow names what is not there: {sanitize_line(', '.join(sorted(unused)), 200)}. The file or its text changed; "
            "take that out, and see what is found now."
        )


def _looked(text: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    """The kind of whatever looks like a secret or a path, what to do about it, and where it is."""
    for kind, pattern in _SECRETS.items():
        for found in pattern.finditer(text):
            yield kind, "Read it from the function's environment or a secret store", found
    places = [re.compile(re.escape(place)) for place in _here()]
    for pattern in (*places, _HOME, _ROOT):
        for found in pattern.finditer(text):
            if pattern is not _ROOT or _exists(found.group()):
                yield "a path of this machine", "It does not exist in Lambda; name files relative to the code", found


def _named(name: str, kind: str, text: str, found: re.Match[str]) -> str:
    """What a finding is called: by its file, its kind, and a sum of its text that says nothing of it."""
    rest = _WORD.match(text, found.end())
    whole = found.group() + (rest.group() if rest else "")
    slug = kind.split(" ", 1)[1].lower().replace(" ", "-")
    return f"{sanitize_line(name, 80)}:{slug}:{sha256(whole.encode()).hexdigest()[:8]}"


def _exists(path: str) -> bool:
    """Whether a path into root's home leads somewhere; one that does not may be anything, such as an XPath."""
    with contextlib.suppress(OSError):
        return Path(path).exists()
    return False


def _here() -> list[str]:
    """This user's home and working folder, where they are deep enough to mean something."""
    found = [Path.cwd()]
    with contextlib.suppress(RuntimeError):  # there is none
        found.append(Path.home())
    return [str(path) for path in found if len(path.parts) >= _DEEP]


def _found(name: str, text: str, place: int, kind: str, mend: str) -> None:
    line = text.count("\n", 0, place) + 1
    raise ConfigurationError(f"{sanitize_line(name, 80)}, line {line}, holds what looks like {kind}. {mend}.")
