"""A job with a reward that pays for length, on the local service: watched, recorded, and found in the report."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.live_runs import started

from bedrock_rft import Client, rollouts
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics._live.notebook import panel
from bedrock_rft.metrics._live.state import State
from bedrock_rft.metrics._live.view import view
from bedrock_rft.metrics._live.words import rollout_lines
from bedrock_rft.rollouts._latest import LatestRollouts

REWARD = """
from bedrock_rft.rewards import Handler, reward

@reward
def pays_for_length(rollout):
    return min(1.0, len(rollout.answer) / 80)

lambda_handler = Handler(pays_for_length)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("job")
    (folder / "reward.py").write_text(REWARD, encoding="utf-8")
    reward, recorded, shown = f"{folder / 'reward.py'}:lambda_handler", folder / "rollouts", io.StringIO()
    with (
        Service(folder / "state", reward=reward, record=recorded) as service,
        Client(transport=LocalTransport(service)) as client,
    ):
        watched = client.jobs.watch(
            started(service), poll_interval=0.1, style="terminal", file=shown, rollouts=recorded
        )
        yield SimpleNamespace(
            status=watched.status, folder=recorded, shown=shown.getvalue(), events=list(client.jobs.events(watched))
        )


def test_the_report_finds_a_reward_that_pays_for_length(run: Any) -> None:
    assert run.status == "succeeded"
    report = rollouts.read(run.folder).report(run.events)
    assert report.rollouts == 800
    assert report.groups == 100
    found = {finding.code: finding for finding in report.warnings}
    assert "longer answers get higher rewards" in found["reward_length"].summary
    assert re.search(r"correlation within groups is \+0\.\d+ \[\+0\.[5-9]", found["reward_length"].reason)
    short, long = report.examples["reward_length"]
    assert short.prompt == long.prompt
    assert len(short.answer or "") < len(long.answer or "")
    assert report.steps == ()  # the local service makes several steps in a second


def test_the_panel_shows_three_current_rollouts(run: Any) -> None:
    last = run.shown.rpartition("checkpoints")[2]
    assert len(re.findall(r"reward [\d.]+  pays_for_length", last)) == 3
    assert re.search(r"\d+ \+ \d+\?", last)


def test_texts_of_rollouts_are_made_safe_and_cut() -> None:
    hostile = "\x1b[2J<script>\u202e\n" + "word " * 200 + "the end"
    one: Any = SimpleNamespace(prompt=None, answer=hostile, score=0.5, parts={hostile: 1.0}, error=None)
    failed: Any = SimpleNamespace(prompt="p", answer="a", score=0.0, parts={}, error=hostile)
    state = State(rollouts=(one, failed))
    (result, (prompt, answer)), (error, _) = rollout_lines(state)
    assert result.startswith("reward 0.5  \\x1b[2J<script>")
    assert error.startswith("error: \\x1b")
    assert prompt == "not recorded"
    assert answer.endswith("word the end")
    assert max(map(len, (result, error, answer))) < 260
    html = panel(state, 0.0)
    assert "<script" not in html
    assert "\x1b" not in html
    assert "&lt;script&gt;" in html


def test_lines_of_text_show_rollouts_when_they_change() -> None:
    stream = io.StringIO()
    plain = view("plain", stream)
    change: Any = SimpleNamespace(messages=(), checkpoints=(), status=None, steps=(), alarms=())
    for score in (0.25, 0.25, 0.5):
        one: Any = SimpleNamespace(prompt="2 + 2?", answer="word " * 40, score=score, parts={}, error=None)
        plain.show(State(rollouts=(one,)), change)
    lines = stream.getvalue().splitlines()
    assert [line.strip() for line in lines[::3]] == ["reward 0.25", "reward 0.5"]
    assert len(lines) == 6
    assert max(map(len, lines)) <= 80


def test_rollouts_that_cannot_be_read_do_not_end_the_view(tmp_path: Path) -> None:
    with Client(region="us-west-2", api_key="k") as client:
        latest = client.jobs._async.latest_rollouts(tmp_path / "none")
        assert latest() == ()
        assert "There is no folder" in latest.problem
        assert "rollouts: There is no folder" in panel(State(rollouts_problem=latest.problem), 0.0)
        (tmp_path / "none" / "function=grade" / "date=2026-11-28" / "hour=14").mkdir(parents=True)
        assert latest() == ()  # between the creation of the folder and that of its first file
        assert latest.problem == ""


def test_three_rollouts_are_shown_if_each_invocation_has_one(tmp_path: Path) -> None:
    folder = tmp_path / "function=grade" / "date=2026-11-28" / "hour=14"
    folder.mkdir(parents=True)
    latest = LatestRollouts(tmp_path, None)
    for place in range(5):
        record = {"time": f"2026-11-28T14:00:0{place}Z", "score": -place, "answer": "a"}
        (folder / f"{place}.jsonl").write_text(json.dumps(record))
        os.utime(folder / f"{place}.jsonl", (place, place))
        assert [one.score for one in latest()] == [-place, 1 - place, 2 - place][: place + 1]
    assert latest.problem == ""
