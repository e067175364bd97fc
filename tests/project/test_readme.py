"""Run every Python block of README.md and docs/, and check every link."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.scripts import run_python

from bedrock_rft import Client
from bedrock_rft._resources import wait as _watch
from bedrock_rft.local import LocalService

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
REWARD = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the code blocks of a language with their line numbers."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in found]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def soon(*_: object, **__: object) -> float:
    return 0.02


@pytest.fixture(scope="module")
def aws() -> Iterator[Mapping[str, str]]:
    """Yield the URL of the emulated IAM, Lambda and STS."""
    spec = importlib.util.spec_from_file_location("aws_here", ROOT / "examples" / "aws_here.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.AwsHere() as here:
        yield {name: value for name, value in here.environment().items() if "ENDPOINT" in name}


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: Mapping[str, str]) -> Iterator[None]:
    """Set up a folder with data, both kinds of identity, and fast local services."""
    monkeypatch.chdir(tmp_path)
    run_python(ROOT / "examples" / "word_problems.py", "--count", 100, "--out", "train.jsonl", cwd=tmp_path)
    (tmp_path / "reward.py").write_bytes((ROOT / "examples" / "reward.py").read_bytes())
    # The documented job takes hours; this one takes a second.
    monkeypatch.setattr(_watch._Intervals, "next_pause", soon)
    with LocalService(reward=f"{ROOT / 'examples' / 'reward.py'}:lambda_handler") as service:
        for auth in ("aws", "api_key"):
            for name, value in {**service.environment(auth), **aws}.items():
                monkeypatch.setenv(name, value)
        yield


def run(page: Path) -> None:
    """Run the blocks as one script whose line numbers match the page."""
    script = Path(f"{page.stem.lower()}_blocks.py").resolve()
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for line, code in blocks(page, "python"):
        lines[line - 1 : line - 1 + code.count("\n")] = code.splitlines()
    script.write_text("\n".join(lines), encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page", "__file__": str(script)}
    if page != README:
        namespace["REWARD"] = REWARD
    try:
        for line, code in blocks(page, "python"):
            # Padded, so that line numbers in a traceback match the page.
            exec(compile("\n" * (line - 1) + code, str(script), "exec", dont_inherit=True), namespace)  # noqa: S102
    finally:
        for value in namespace.values():
            if isinstance(value, Client):
                value.close()


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=named)
def test_python_blocks_run_in_order(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(page)
    said = capsys.readouterr().out
    if page == README:
        assert "identity  API key  (from OPENAI_API_KEY)" in said
        assert re.search(r"bytes\n", said)
        assert said.count("succeeded") >= 2
        assert "openai.gpt-oss-20b" in said
        assert re.search(r"from 0\.\d\d to [01]\.\d\d", said)


def test_the_pages_have_python_blocks() -> None:
    assert len(blocks(README, "python")) >= 8
    assert blocks(README, "sh")[0][1].startswith("make demo")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"], ids=named)
def test_every_link_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
