"""The README as a reader takes it: every Python block runs, one after the other, and every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import Client, _watch
from bedrock_rft.local import LocalService

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """The blocks of a language, each with the line it begins at."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in found]


def soon(*_: object) -> float:
    return 0.02


def test_python_blocks_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = ROOT / "examples" / "word_problems.py"
    subprocess.run([sys.executable, generator, "--count", "100", "--out", "train.jsonl"], check=True)  # noqa: S603
    # A reader of the README waits for a job of hours; this one has a job of a second.
    monkeypatch.setattr(_watch._Pace, "after", soon)
    namespace: dict[str, Any] = {"__name__": "readme"}
    with LocalService(reward=f"{ROOT / 'examples' / 'reward.py'}:lambda_handler") as service:
        for auth in ("aws", "api_key"):
            for name, value in service.environment(auth).items():
                monkeypatch.setenv(name, value)
        try:
            for line, code in blocks(README, "python"):
                # Padded, so that a traceback names the README's own line.
                exec(compile("\n" * (line - 1) + code, "README.md", "exec", dont_inherit=True), namespace)  # noqa: S102
        finally:
            for value in namespace.values():
                if isinstance(value, Client):
                    value.close()
    said = capsys.readouterr().out
    assert "identity  API key  (from OPENAI_API_KEY)" in said
    assert re.search(r"bytes\n", said)
    assert said.count("succeeded") >= 2
    assert "openai.gpt-oss-20b" in said
    assert re.search(r"from 0\.\d\d to [01]\.\d\d", said)


def test_there_are_blocks_to_run() -> None:
    assert len(blocks(README, "python")) >= 8
    assert blocks(README, "sh")[0][1].startswith("make demo")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "docs/architecture.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
