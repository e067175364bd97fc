"""The metadata and the workflows agree with each other; `make dist` builds and tries the distributions themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bedrock_rft._core.version import __version__

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_is_in_one_place() -> None:
    assert '\ndynamic = ["version", ' in PYPROJECT
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "bedrock_rft").rglob("*.py")]
    assert sum(f'"{__version__}"' in source for source in sources) == 1


def test_every_supported_python_is_named_and_tested() -> None:
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", PYPROJECT)
    tested = re.search(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert tested is not None
    assert re.findall(r"3\.\d+", tested[1]) == named
    assert f'requires-python = ">={named[0]}"' in PYPROJECT


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_permissions_and_pinned_actions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions:\n  contents: read$", text, re.MULTILINE)
    assert text.count("runs-on:") == text.count("timeout-minutes:")
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [action for action in re.findall(r"uses: (.*)", text) if not pinned.fullmatch(action)] == []
    targets = re.findall(r"run: make (\w+)", text)
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8") for target in targets)


def test_an_action_has_the_same_pin_everywhere() -> None:
    pins = {pin for path in WORKFLOWS for pin in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


def test_only_a_pushed_tag_is_published() -> None:
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    publish = release[release.index("\n  publish:") : release.index("\n  github-release:")]
    assert 'push:\n    tags: ["v*"]' in release
    assert "if: github.event_name == 'push'\n    needs: build" in publish
    assert "needs: publish" in release
    assert "environment: pypi\n    permissions:\n      id-token: write\n    steps:" in publish


@pytest.mark.parametrize("name", ["bug.yml", "service.yml"])
def test_reports_ask_for_a_redacted_check(name: str) -> None:
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8")
    assert "`bedrock-rft doctor --redacted`" in form
