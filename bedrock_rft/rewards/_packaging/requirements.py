"""Install requirements for Lambda: wheels for its platform, each of one pinned version."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.archive import LARGEST_UNZIPPED

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's names of processors, and the names in the tags of wheels."""

_GLIBC_MINOR = {"python3.10": 26, "python3.11": 26}
_NEWER_GLIBC_MINOR = 28
"""Amazon Linux 2 has glibc 2.26. Later runtimes run on Amazon Linux 2023 with glibc 2.34; wheels need 2.28 at most."""

_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC_MINOR = {"x86_64": 5, "aarch64": 17}
_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(\[[A-Za-z0-9._, -]*\])?==([A-Za-z0-9][A-Za-z0-9.+!_-]*)"
)
_WITHOUT_WHEEL = frozenset({"rouge-score"})  # pure Python, published as source only
_LOCAL_RECORDS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})  # they describe this machine
_TIMEOUT = 600
_MAX_REASON = 600
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|NameResolutionError|Max retries exceeded|"
    r"connection error|Connection refused|Temporary failure in name resolution|Network is unreachable",
    re.IGNORECASE,
)
_ARCHIVE = re.compile(r"\.(whl|zip|tar|t[abglx]z|tbz2?|tar\.\w+)", re.IGNORECASE)
_ENVIRONMENT = re.compile(
    r"PIP_\w+|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC|HOME|PATH|LANG|LC_\w+|"
    r"TMPDIR|TEMP|TMP|XDG_\w+|SYSTEMROOT|WINDIR|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA",
    re.IGNORECASE,
)
"""The environment variables that pip and its HTTP library read."""
_PATHS = {"PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"}
_SETTINGS = ("NO_INDEX", "FIND_LINKS", "INDEX_URL", "EXTRA_INDEX_URL", "NO_BINARY", "ONLY_BINARY", "REQUIRE_HASHES",
             "CONSTRAINT", "PREFIX", "ROOT", "TARGET", "REQUIRE_VIRTUALENV", "PROXY", "CERT")  # fmt: skip


def pin_requirements(requirements: Sequence[str]) -> tuple[str, ...]:
    """Return requirements in the form `name==version`. A name without a version gets the version on this machine."""
    pinned: dict[str, str] = {}
    for requirement in requirements:
        text = requirement.strip()
        shown = sanitize_line(text, 80)
        if re.fullmatch(r"[A-Za-z0-9._-]+", text):
            if re.search(f"{_ARCHIVE.pattern}$", text, re.IGNORECASE):
                raise ConfigurationError(f"The requirement '{shown}' is the name of an archive. Write 'name==version'.")
            try:
                text = f"{text}=={importlib.metadata.version(text)}"
            except importlib.metadata.PackageNotFoundError:
                raise ConfigurationError(
                    f"The requirement '{shown}' has no version, and is not installed on this machine. Write "
                    f"'{shown}==' and the version."
                ) from None
        match = _PINNED.fullmatch(text)
        if match is not None and _ARCHIVE.search(match.group(3)):
            raise ConfigurationError(f"The requirement '{shown}' is the name of an archive. Write 'name==version'.")
        if match is None:
            raise ConfigurationError(
                f"The requirement '{shown}' is not of the form 'name==version'. Give an exact version, so that every "
                "build is the same."
            )
        name = requirement_name(match.group(1))
        if pinned.setdefault(name, text) != text:
            raise ConfigurationError(f"The requirement '{name}' occurs twice: {pinned[name]} and {text}. Remove one.")
    return tuple(pinned[name] for name in sorted(pinned))


def install_requirements(requirements: Sequence[str], *, runtime: str, architecture: str) -> dict[str, bytes]:
    """Download wheels for Lambda with pip, as configured on this machine, and return their files by name."""
    if not requirements:
        return {}
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        installed, empty = Path(folder, "installed"), Path(folder, "empty")
        installed.mkdir()
        empty.mkdir()
        sources = [one for one in requirements if requirement_name(one) in _WITHOUT_WHEEL]
        wheels = [one for one in requirements if one not in sources]
        for group, option in ((wheels, "--only-binary=:all:"), (sources, "--no-deps")):
            if group:
                _run_pip(group, installed, empty, runtime, ARCHITECTURES[architecture], option)
        files = dict(_read_files(installed))
    check_releases(requirements, files)
    return files


def wheel_platforms(runtime: str, processor: str) -> list[str]:
    """Return the platform tags of wheels that run on a runtime, the newest first.

    Source:
        AWS Lambda runtimes: python3.10 and python3.11 run on Amazon Linux 2, later ones on Amazon Linux 2023.
    """
    tags: list[str] = []
    newest = _GLIBC_MINOR.get(runtime, _NEWER_GLIBC_MINOR)
    for minor in range(newest, _OLDEST_GLIBC_MINOR[processor] - 1, -1):
        tags.append(f"manylinux_2_{minor}_{processor}")
        if minor in _ALIASES:
            tags.append(f"{_ALIASES[minor]}_{processor}")
    return [*tags, f"linux_{processor}"]


def _run_pip(requirements: Sequence[str], target: Path, empty: Path, runtime: str, processor: str, option: str) -> None:
    """Install requirements into a folder. pip runs isolated, so that it uses no file of the working folder."""
    version = runtime.removeprefix("python")
    # pip does not search for conflicts with the packages of this environment, because Lambda does not have them.
    options = [option, "--target", str(target), "--no-compile", "--no-warn-conflicts", "--no-input", "--verbose"]
    options += ["--disable-pip-version-check", "--progress-bar=off", "--implementation=cp", "--python-version", version]
    # pip prefers the tag that is named first, and a compiled wheel to a pure wheel.
    options += [f"--platform={platform}" for platform in wheel_platforms(runtime, processor)]
    try:
        done = subprocess.run(  # noqa: S603 - the form of the requirements was checked
            [sys.executable, "-I", "-m", "pip", "install", *options, *requirements],
            cwd=empty,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            env=_pip_environment(),
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            f"pip did not download the requirements within {_TIMEOUT} seconds. Check the connection and try again."
        ) from None
    if done.returncode:
        raise ConfigurationError(explain_pip_failure(done.stdout, requirements, runtime, processor))


def _pip_environment() -> dict[str, str]:
    """Return pip's own settings. Their paths are absolute, because pip runs in another folder."""
    found = {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)}
    for name in _PATHS & found.keys():
        words = (Path(word) for word in found[name].split())
        found[name] = " ".join(str(word.absolute() if word.exists() else word) for word in words)
    return {**found, "PIP_USER": "0"}  # --user and --target exclude each other


def explain_pip_failure(output: str, requirements: Sequence[str], runtime: str, processor: str) -> str:
    """Return a message for pip's output. The passwords of package indexes are removed."""
    if "No module named pip" in output:
        return "pip, which downloads requirements, is not installed. Run: python -m ensurepip."
    output = re.sub(r"://[^/@\s]*@", "://", output)
    lines = [line.strip() for line in output.splitlines()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    last = (errors or [output.strip() or "pip printed nothing"])[-1].removeprefix("ERROR:").strip()
    reason = sanitize_line(last, _MAX_REASON).rstrip(".")
    names = ", ".join(requirements)
    configured = [f"PIP_{name}" for name in _SETTINGS if os.environ.get(f"PIP_{name}")]
    hint = f" pip is configured by {', '.join(configured)} in the environment." if configured else ""
    if "no-index" in output.lower() or os.environ.get("PIP_NO_INDEX") or "Ignoring indexes" in output:
        hint = " pip is configured to use no package index (PIP_NO_INDEX, or no-index in pip.conf)."
    elif "(from versions: none)" in output:
        hint = f" pip found no release at all: check the name, and that the package index can be reached.{hint}"
    unreachable = next((line for line in lines if _UNREACHABLE.search(line)), None)
    if unreachable is not None:
        detail = sanitize_line(unreachable, _MAX_REASON).rstrip(".")
        return (
            f"pip could not reach the package index to download {names}: {detail}. Check the connection, the proxy and "
            f"the index.{hint}"
        )
    return (
        f"pip found no wheel of each of {names} for {runtime} on {processor}: {reason}. Only releases with such "
        f"wheels, or of pure Python, can be packaged.{hint}"
    )


def _read_files(folder: Path) -> list[tuple[str, bytes]]:
    """Return the installed files, without scripts, bytecode and records of this machine."""
    files: list[tuple[str, bytes]] = []
    remaining = LARGEST_UNZIPPED
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_record = parts[0].endswith(".dist-info") and path.name in _LOCAL_RECORDS
        if path.is_symlink():
            raise ConfigurationError(
                f"The requirement's file {'/'.join(parts)} is a symbolic link, which a package cannot contain."
            )
        if path.is_file() and not is_record and parts[0] != "bin" and "__pycache__" not in parts:
            remaining -= path.stat().st_size
            if remaining < 0:
                raise ConfigurationError(
                    f"The requirements unpack to more than Lambda's {LARGEST_UNZIPPED // 1024 // 1024} MB. Leave some "
                    "out, or deploy a container image by other means and pass its ARN."
                )
            files.append(("/".join(parts), path.read_bytes()))
    return files


def check_releases(requirements: Sequence[str], files: Mapping[str, bytes]) -> None:
    """Raise `ConfigurationError` if a requirement is not in the files, or a dependency has no pinned version."""
    named = {requirement_name(requirement): requirement.partition("==")[2] for requirement in requirements}
    folders = {name.split("/")[0] for name in files}
    releases = [folder[: -len(".dist-info")].rpartition("-") for folder in folders if folder.endswith(".dist-info")]
    installed = {requirement_name(name): version for name, _, version in releases}
    absent = [
        f"{name}=={version}"
        for name, version in named.items()
        if name not in installed or _release(installed[name]) != _release(version)
    ]
    if absent:
        raise ConfigurationError(
            f"pip installed something other than {', '.join(absent)}. Check the package index that pip uses."
        )
    missing = sorted(f"{name}=={version}" for name, version in installed.items() if name not in named)
    if missing:
        raise ConfigurationError(
            f"The requirements depend on {', '.join(missing)}. Name these too, so that every build is the same: "
            f"requirements={[*requirements, *missing]!r}."
        )


def _release(version: str) -> list[int]:
    """Return the numbers of a version, which may be written in several ways, without zeros at the end."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def requirement_name(requirement: str) -> str:
    """Return the normalized name of a requirement, without extras and version."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=]", requirement.strip())[0]).lower()
