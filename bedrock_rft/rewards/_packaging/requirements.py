"""What a Lambda needs beside the standard library: wheels for its platform, each of one named release."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.archive import LARGEST_UNZIPPED

__all__ = ["ARCHITECTURES", "pinned", "refuse_unnamed", "vendored"]

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's names of processors, and those of wheels."""

_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(\[[A-Za-z0-9._, -]*\])?==([A-Za-z0-9][A-Za-z0-9.+!_-]*)"
)
_NOTES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})  # they tell of this machine
_SECONDS = 600
_LONGEST = 600


def pinned(requirements: Sequence[str]) -> tuple[str, ...]:
    """Requirements of the one form `name==version`; a bare name gets the version that is installed here.

    Raises:
        ConfigurationError: one is of another form, or is not installed.
    """
    found: dict[str, str] = {}
    for one in requirements:
        text = one.strip()
        if re.fullmatch(r"[A-Za-z0-9._-]+", text):
            try:
                text = f"{text}=={importlib.metadata.version(text)}"
            except importlib.metadata.PackageNotFoundError:
                raise ConfigurationError(
                    f"The requirement '{sanitize_line(text, 80)}' has no version. Write '{sanitize_line(text, 80)}==' and the version."
                ) from None
        match = _PINNED.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"The requirement '{sanitize_line(text, 80)}' is not of the form 'name==version': two builds are to be alike."
            )
        name = _name(match.group(1))
        if found.setdefault(name, text) != text:
            raise ConfigurationError(f"The requirement '{name}' is there twice: {found[name]} and {text}.")
    return tuple(found[name] for name in sorted(found))


def vendored(requirements: Sequence[str], *, runtime: str, architecture: str) -> dict[str, bytes]:
    """The files of some releases as Lambda needs them, by name; `pip` fetches them, from where it is set up to.

    Raises:
        ConfigurationError: pip is missing or found no wheel for the platform, or a release needs others that are not
            named.
    """
    if not requirements:
        return {}
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        _install(requirements, folder, runtime, ARCHITECTURES[architecture])
        files = dict(_read(Path(folder)))
    refuse_unnamed(requirements, files)
    return files


def _install(requirements: Sequence[str], folder: str, runtime: str, processor: str) -> None:
    options = ["--target", folder, "--only-binary=:all:", "--no-compile", "--quiet", "--no-input"]
    options += [
        "--disable-pip-version-check",
        "--implementation",
        "cp",
        "--python-version",
        runtime.removeprefix("python"),
    ]
    for platform in ("manylinux_2_28", "manylinux2014"):  # what Amazon Linux 2023 runs, and what most wheels are for
        options += ["--platform", f"{platform}_{processor}"]
    try:
        done = subprocess.run(  # noqa: S603 - the requirements are of one checked form
            [sys.executable, "-m", "pip", "install", *options, *requirements],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "PIP_USER": "0"},  # --user and --target exclude each other
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"pip did not fetch the requirements within {_SECONDS} seconds. Try again.") from None
    if done.returncode:
        raise ConfigurationError(_why(done.stderr, requirements, runtime, processor))


def _why(said: str, requirements: Sequence[str], runtime: str, processor: str) -> str:
    if "No module named pip" in said:
        return "Requirements are fetched with pip, which is not installed here: python -m ensurepip."
    # An index's address may hold a password.
    errors = [line for line in re.sub(r"://[^/@\s]*@", "://", said).splitlines() if line.startswith("ERROR:")]
    why = sanitize_line((errors or [said.strip() or "it said nothing"])[-1].removeprefix("ERROR:").strip(), _LONGEST)
    wanted = ", ".join(requirements)
    return (
        f"pip found no wheel of each of {wanted} for {runtime} on {processor}: {why.rstrip('.')}. Only releases with "
        "such wheels, or of pure Python, can be packaged."
    )


def _read(folder: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    left = LARGEST_UNZIPPED
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        stray = parts[0] == "bin" or "__pycache__" in parts or (parts[0].endswith(".dist-info") and path.name in _NOTES)
        if path.is_symlink():
            raise ConfigurationError(
                f"The requirement's file {'/'.join(parts)} is a link, which a package has none of."
            )
        if path.is_file() and not stray:
            left -= path.stat().st_size
            if left < 0:
                raise ConfigurationError(
                    f"The requirements unpack to more than Lambda's {LARGEST_UNZIPPED // 1024 // 1024} MB. "
                    "Leave some out, or deploy a container image by other means, and pass its ARN."
                )
            found.append(("/".join(parts), path.read_bytes()))
    return found


def refuse_unnamed(requirements: Sequence[str], files: dict[str, bytes]) -> None:
    """What releases need of others is to be named as well, or it may be another version the next time."""
    named = {_name(re.split(r"[\[=]", one)[0]) for one in requirements}
    there = {_release(name.split("/")[0]) for name in files if name.split("/")[0].endswith(".dist-info")}
    unnamed = sorted(f"{name}=={version}" for name, version in there if name not in named)
    if unnamed:
        raise ConfigurationError(
            f"The requirements need others: {', '.join(unnamed)}. Name them too, so that two builds are alike: "
            f"requirements={[*requirements, *unnamed]!r}."
        )


def _release(folder: str) -> tuple[str, str]:
    name, _, version = folder.removesuffix(".dist-info").rpartition("-")
    return _name(name), version


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
