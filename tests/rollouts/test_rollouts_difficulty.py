"""Difficulty of prompts from recorded rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.command import command
from support.rollout_files import BEGAN, STEP, write_rollouts

from bedrock_rft import ConfigurationError, datasets, rewards, rollouts
from bedrock_rft.datasets import Difficulty


def test_the_difficulty_of_the_recorded_prompts(tmp_path: Path) -> None:
    written = write_rollouts(tmp_path, steps=3, groups=10, samples=8)
    table = rollouts.read(tmp_path).difficulty()
    assert table.origin == f"rollouts of {tmp_path}, source lambda"
    rewards: dict[str, list[float]] = {}
    for one in written:
        rewards.setdefault(one["prompt_hash"], []).append(one["score"])
    assert {each: list(prompt.rewards) for each, prompt in table.prompts.items()} == rewards
    assert {group.value for group in table.by("level")} == {"easy", "hard"}
    first = rollouts.read(tmp_path, until=BEGAN + STEP / 2).difficulty(pass_mark=0.5)
    assert {prompt.samples for prompt in first.prompts.values()} == {8}
    solved = sum(one["score"] >= 0.5 for one in written[:80])
    assert sum(prompt.passed for prompt in first.prompts.values()) == solved > 0


def test_the_command_writes_the_difficulty(tmp_path: Path) -> None:
    write_rollouts(tmp_path / "recorded", steps=1, groups=4, samples=4)
    path = tmp_path / "difficulty.json"
    done = command("rollouts", "stats", tmp_path / "recorded", "--difficulty", path, "--pass-mark", 0.5)
    assert f"The difficulty was written to {path}." in " ".join(done.err.split())  # long paths are wrapped
    assert Difficulty.load(path) == rollouts.read(tmp_path / "recorded").difficulty(pass_mark=0.5)


def test_failed_rewards_are_left_out(tmp_path: Path) -> None:
    written = write_rollouts(tmp_path, steps=1, groups=4, samples=8, behaviour="errors")
    table = rollouts.read(tmp_path).difficulty()
    scored = sum(one["error"] is None for one in written)
    assert sum(prompt.samples for prompt in table.prompts.values()) == scored < len(written)


def test_rollouts_without_an_end_have_no_difficulty(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no rewards"):
        rollouts.read(tmp_path).difficulty()
    with rollouts.read(tmp_path, follow=True) as endless, pytest.raises(ConfigurationError, match="never ends"):
        endless.difficulty()


def test_recorded_prompts_are_those_of_the_training_file(tmp_path: Path) -> None:
    """Prompts of several turns and of text parts have the same hash in the file and in the recording."""
    contents: list[Any] = ["6 * 7?", [{"type": "text", "text": "6 * 8?"}], "é\u2028 6 * 9?"]
    records: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": content}], "reference_answer": str(42 + 6 * place)}
        for place, content in enumerate(contents)
    ]
    turns = [{"role": "user", "content": "6?"}, {"role": "assistant", "content": "6."}, *records[0]["messages"]]
    records.append({"messages": turns, "reference_answer": "42"})
    datasets.write(tmp_path / "train.jsonl", records, limits=datasets.Limits(min_records=1))
    answers = [
        (record, str(number)) for record in datasets.read(tmp_path / "train.jsonl") for number in (42, 48, 54, 1)
    ]
    list(rewards.score(rewards.Numeric(), answers, record=tmp_path / "recorded"))
    table = rollouts.read(tmp_path / "recorded").difficulty()
    assert set(table.prompts) == {datasets.hash_messages(record["messages"]) for record in records}
    limits = datasets.Limits(min_records=1)
    done = datasets.select(tmp_path / "train.jsonl", table, out=tmp_path / "s.jsonl", unsampled="drop", limits=limits)
    assert (done.kept, done.unsampled) == (4, 0)
