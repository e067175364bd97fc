"""`rewards.score` takes recorded rollouts as rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rollout_files import write_rollouts

from bedrock_rft import rewards, rollouts
from bedrock_rft.errors import ConfigurationError, DatasetError

REWARD = rewards.Matches(r"Answer: (\d+)$")


def test_recorded_rollouts_are_scored_again(tmp_path: Path) -> None:
    written = write_rollouts(tmp_path / "recorded", steps=1, groups=2, samples=3)
    found = rollouts.read(tmp_path / "recorded")
    found.to_jsonl(tmp_path / "all.jsonl")
    for rows in (found, tmp_path / "recorded", next((tmp_path / "recorded").rglob("*.gz")), tmp_path / "all.jsonl"):
        scored = [*rewards.score(rewards.Numeric(), rows)]
        assert [one.id for one in scored] == [one["rollout_id"] for one in written]
        assert [one.score for one in scored] == [one["parts"]["correct"] for one in written]


def test_a_rollout_whose_answer_is_not_complete_is_refused(tmp_path: Path) -> None:
    (record,) = _records(tmp_path)
    with pytest.raises(ConfigurationError, match="has no prompt or no answer"):
        next(rewards.score(REWARD, [{**record, "answer": None}]))
    with pytest.raises(ConfigurationError, match="has an answer that was cut"):
        next(rewards.score(REWARD, [{**record, "truncated": ["answer"]}]))


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(DatasetError, match="cannot be read"):
        next(rewards.score(REWARD, tmp_path))


def _records(folder: Path) -> list[dict[str, object]]:
    write_rollouts(folder, steps=1, groups=1, samples=1)
    return [record.to_dict() for record in rollouts.read(folder)]
