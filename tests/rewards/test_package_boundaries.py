"""Tests of what packaging trusts: pip and the working folder, zips, and the files that a user names."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from bedrock_rft import ConfigurationError
from bedrock_rft.rewards import Numeric, check, package
from bedrock_rft.rewards._packaging import archive
from bedrock_rft.rewards._packaging.requirements import install_requirements


def write_wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "VALUE = 0.5\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_pip_runs_nothing_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels, here, ran = tmp_path / "wheels", tmp_path / "here", tmp_path / "ran"
    wheels.mkdir()
    here.mkdir()
    write_wheel(wheels, "tinything", "1.5")
    hostile = f"from pathlib import Path\nPath({str(ran)!r}).touch()\nraise SystemExit('ran')\n"
    for name in ("pip.py", "sitecustomize.py", "tempfile.py"):
        (here / name).write_text(hostile)
    (here / "tinything==1.5.tar.gz").write_bytes(b"not an archive")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.setenv("PYTHONSTARTUP", str(here / "pip.py"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "../wheels")
    assert set(install_requirements(["tinything==1.5"], runtime="python3.13", architecture="x86_64")) > {"tinything.py"}
    assert not ran.exists()


@pytest.mark.parametrize("ending", ["tar.gz", "zip", "whl", "tgz", "tar", "tar.bz2", "TAR.XZ", "tbz", "tlz"])
def test_the_name_of_an_archive_is_no_version(ending: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'tinything==1\.0\..*' is the name of an archive"):
        package(Numeric(), requirements=[f"tinything==1.0.{ending}"])
    with pytest.raises(
        ConfigurationError, match=r"'tinything-1\.0\..*' is the name of an archive. Write 'name==version'"
    ):
        package(Numeric(), requirements=[f"tinything-1.0.{ending}"])


def damaged(content: bytes) -> bytes:
    place = content.index(b"def lambda_handler")
    return content[:place] + b"DEF" + content[place + 3 :]


def zipped(compression: int = zipfile.ZIP_DEFLATED, size: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("lambda_function.py", "def lambda_handler(event, context): return []\n" + "\n" * size)
    return file.getvalue()


def encrypted(content: bytes) -> bytes:
    place = content.index(b"PK\x01\x02") + 8
    return content[:place] + b"\x01" + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(size=2_000_000), "has 1.9 MB unpacked, and the limit of Lambda is 1.0 MB"),
        (zipped(zipfile.ZIP_LZMA), "compression method 14"),
        (encrypted(zipped()), "'lambda_function.py' is encrypted"),
        (damaged(zipped(zipfile.ZIP_STORED)), "damaged, or no zip: BadZipFile"),
        (zipped()[:-9], "damaged, or no zip"),
        (b"PK\x03\x04" + b"\xff" * 90, "damaged, or no zip"),
        (b"", "damaged, or no zip"),
    ],
    ids=["large", "method", "encrypted", "changed", "cut", "unreadable", "empty"],
)
def test_a_zip_that_lambda_would_refuse_is_not_unpacked(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST_UNZIPPED", 1024 * 1024)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match=words):
        archive.unpack_zip(content, folder, "reward.zip")
    (tmp_path / "reward.zip").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        check(
            f"{tmp_path / 'reward.zip'}:lambda_function.lambda_handler",
            [{"messages": [{"role": "user", "content": "1"}]}],
        )
    monkeypatch.setattr(archive, "_MAX_FILES", 0)
    with pytest.raises(ConfigurationError, match="has 1 files; at most 0 are read"):
        archive.unpack_zip(zipped(), folder, "reward.zip")
    assert [path for path in folder.iterdir() if path.stat().st_size > 100] == []
