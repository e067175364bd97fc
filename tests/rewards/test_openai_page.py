"""docs/openai.md: the script for OpenAI's client runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import JOBS, Faults
from support.pages import blocks

from bedrock_rft import Client, rewards
from bedrock_rft.errors import ConfigurationError

PAGE = blocks(Path(__file__).parents[2] / "docs" / "openai.md")
SETUP = PAGE[0].text
(BEFORE,) = (block.text for block in PAGE if block.kind == "python before")


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
        pytest.raises(ConfigurationError, match=r"o4-mini.*of type 'multi' must be deployed as a Lambda"),
    ):
        client.jobs.create_raw(sent.json())
