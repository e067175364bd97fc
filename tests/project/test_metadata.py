"""hatch_build.py writes the address of the repository into the metadata, and no relative link."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import hatchling.build
import pytest
from markdown_it import MarkdownIt

from bedrock_rft import errors
from bedrock_rft._core import errors as error_classes
from bedrock_rft._core.version import __version__

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://git.example.com/owner/name"
SOURCES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "docs/service-facts.md")


class Built:
    """The metadata of a source distribution, and of the wheel that is built from it without the address."""

    def __init__(self, folder: Path, repository: str | None) -> None:
        source = folder / "source"
        for name in (*SOURCES, "bedrock_rft/_core/version.py"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("BEDROCK_RFT_REPOSITORY", raising=False)
            if repository is not None:
                patch.setenv("BEDROCK_RFT_REPOSITORY", repository)
            patch.chdir(source)
            sdist = folder / hatchling.build.build_sdist(str(folder))
            with tarfile.open(sdist) as archive:
                for member in archive:
                    if content := archive.extractfile(member):
                        (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                        (folder / member.name).write_bytes(content.read())
            patch.delenv("BEDROCK_RFT_REPOSITORY", raising=False)
            patch.chdir(folder / sdist.name.removesuffix(".tar.gz"))
            self.sdist = Path("PKG-INFO").read_bytes()
            wheel = zipfile.ZipFile(folder / hatchling.build.build_wheel(str(folder)))
        self.wheel = wheel.read(f"bedrock_rft-{__version__}.dist-info/METADATA")
        self.metadata: Message = message_from_bytes(self.wheel)
        self.urls = dict(each.split(", ", 1) for each in self.metadata.get_all("Project-URL", []))
        self.text = self.wheel.decode().partition("\n\n")[2]
        html = MarkdownIt("commonmark").enable("table").render(self.text)
        self.links: list[str] = re.findall(r'href="([^"]*)"', html)
        self.images: list[str] = re.findall(r'src="([^"]*)"', html)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("known"), f"{REPOSITORY}/")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("unknown"), None)


def test_links_and_pictures_lead_to_the_files_of_the_release(known: Built) -> None:
    files = [link.partition("#")[0] for link in known.links if link.startswith(REPOSITORY)]
    blob, raw = (f"{REPOSITORY}/{kind}/v{__version__}/" for kind in ("blob", "raw"))
    assert len(files) > 20
    assert [link for link in files if not (ROOT / link.removeprefix(blob)).is_file()] == []
    assert [image for image in known.images if not (ROOT / image.removeprefix(raw)).is_file()] == []
    assert known.images
    assert f"{blob}docs/index.md#in-your-environment" in known.links


def test_the_metadata_has_urls(known: Built) -> None:
    assert known.urls == {
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Documentation": f"{REPOSITORY}/blob/v{__version__}/docs/index.md",
        "Changelog": f"{REPOSITORY}/blob/v{__version__}/CHANGELOG.md",
    }


@pytest.mark.parametrize("built", ["known", "unknown"])
def test_errors_give_the_address_of_their_entry(
    built: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Built = request.getfixturevalue(built)
    installed = tmp_path / f"bedrock_rft-{__version__}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_bytes(found.wheel)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(error_classes, "_documentation_address", error_classes._documentation_address.__wrapped__)
    folder = f"{REPOSITORY}/blob/v{__version__}/docs" if built == "known" else "docs"
    assert errors.RateLimitError("…").help == f"{folder}/troubleshooting.md#ratelimiterror"
    assert errors.RateLimitError.help == errors.RateLimitError("…").help


def test_without_an_address_a_link_becomes_text_with_its_path(unknown: Built) -> None:
    assert unknown.urls == {}
    assert unknown.images == []
    assert "Install (`docs/start/install.md`)" in unknown.text
    assert "SECURITY.md explains" in unknown.text


@pytest.mark.parametrize("built", ["known", "unknown"])
def test_every_link_is_absolute_and_the_code_unchanged(built: str, request: pytest.FixtureRequest) -> None:
    found: Built = request.getfixturevalue(built)
    assert [link for link in found.links + found.images if not link.startswith("https://")] == []
    fences = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert fences.findall(found.text) == fences.findall((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("built", ["known", "unknown"])
def test_a_wheel_from_the_source_distribution_has_its_metadata(built: str, request: pytest.FixtureRequest) -> None:
    found: Built = request.getfixturevalue(built)
    assert found.wheel == found.sdist
    assert found.metadata["Version"] == __version__
    assert found.metadata["Description-Content-Type"] == "text/markdown"
    assert found.metadata["Dynamic"] is None
