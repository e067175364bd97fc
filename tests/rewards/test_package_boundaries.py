"""Tests of what packaging trusts: zips, and the files that a user names."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from bedrock_rft import ConfigurationError
from bedrock_rft.rewards import Numeric, check, package
from bedrock_rft.rewards._packaging import archive


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
        (damaged(zipped(zipfile.ZIP_STORED)), "damaged, or not a zip: BadZipFile"),
        (zipped()[:-9], "damaged, or not a zip"),
        (b"PK\x03\x04" + b"\xff" * 90, "damaged, or not a zip"),
        (b"", "damaged, or not a zip"),
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
