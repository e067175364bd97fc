"""Difficulty of prompts from recorded rollouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import command
from support.rollout_files import BEGAN, STEP, write_rollouts

from bedrock_rft import ConfigurationError, rollouts
from bedrock_rft.datasets import Difficulty


def test_the_difficulty_of_the_recorded_prompts(tmp_path: Path) -> None:
    written = write_rollouts(tmp_path, steps=3, groups=10, samples=8)
    table = rollouts.read(tmp_path).difficulty()
    assert table.origin == f"rollouts of {tmp_path}"
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
    assert f"The difficulty was written to {path}." in done.err
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
