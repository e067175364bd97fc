"""docs/openai.md: the script for OpenAI's client runs, and the code prints the text blocks."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import JOBS, Faults

from bedrock_rft import Client, datasets, rewards
from bedrock_rft.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```(python before|python|text)\n(.*?)^```$",
    (ROOT / "docs" / "openai.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
SETUP, BEFORE = BLOCKS[0][1], BLOCKS[1][1]


def at_once(_: float) -> None:
    """Replace `time.sleep`."""


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(SETUP, {})  # noqa: S102 - our own documentation


@pytest.mark.usefixtures("_folder")
def test_the_script_before_runs_with_openais_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Faults() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setattr(time, "sleep", at_once)
        space: dict[str, Any] = {}
        exec(BEFORE, space)  # noqa: S102 - our own documentation
        space["client"].close()
        (sent,) = server.sent("POST", JOBS)
    assert sent.json()["method"]["reinforcement"]["grader"] == json.loads(Path("grader.json").read_text("utf-8"))
    assert capsys.readouterr().out.splitlines()[-1] == str(space["job"].fine_tuned_model)
    assert repr(rewards.from_openai(sent.json())) == repr(rewards.from_openai("grader.json"))
    with (
        Client("us-west-2", api_key="key", base_url="https://example.com/v1") as client,
        pytest.raises(ConfigurationError, match=r"o4-mini.*of type 'multi' has to be a Lambda"),
    ):
        client.jobs.create_raw(sent.json())


@pytest.mark.usefixtures("_folder")
def test_the_code_of_the_page_prints_its_text_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    # `test_readme.py` runs all blocks, with deployments and jobs. Only some of them print a text.
    space: dict[str, Any] = {"__name__": "page", "Path": Path, "datasets": datasets, "rewards": rewards}
    shown = 0
    for (kind, code), (following, text) in pairwise(BLOCKS):
        if kind == "python" and following == "text":
            exec(compile(code, "openai.md", "exec", dont_inherit=True), space)  # noqa: S102 - our own documentation
            assert text.strip() == capsys.readouterr().out.strip()
            shown += 1
    assert shown == 3
