"""Groups are recognised from prompt, invocation and time, in any order of files within an hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rollout_families import HEALTHY, generate
from support.rollout_files import write_rollouts

from bedrock_rft import rollouts
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rollouts import Record, _groups
from bedrock_rft.rollouts._groups import group_records

BEGAN = datetime(2026, 11, 28, 14, 59, 30, tzinfo=timezone.utc)
ONE = generate(HEALTHY["multiple choice"], steps=2)[0]


def record(seconds: float, request: str = "", prompt: str = "a", source: str = "lambda") -> Record:
    time = (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    request = request or f"at {seconds}"
    return replace(
        ONE, time=time, request_id=request, prompt_hash=prompt, source=source, rollout_id=f"{seconds}{request}"
    )


def sizes(records: list[Record], gap: float = 60.0) -> list[int]:
    return sorted(len(found.records) for found in group_records(records, gap))


def test_rollouts_of_one_invocation_are_a_group_for_each_prompt() -> None:
    found = [record(0, "one", "a"), record(0, "one", "b"), record(0, "one", "a")]
    assert sizes(found) == [1, 2]


def test_invocations_of_one_step_form_a_group_and_those_of_two_steps_do_not() -> None:
    assert sizes([record(0), record(59), record(118)]) == [3]
    assert sizes([record(0), record(61)]) == [1, 1]
    assert sizes([record(0), record(61)], gap=62) == [2]


def test_a_rollout_between_two_groups_joins_them() -> None:
    assert sizes([record(0), record(100), record(50)]) == [3]


def test_steps_of_the_local_service_are_recognised_by_the_invocation() -> None:
    local = [record(second, f"step {second}", source="local_service") for second in (0, 0, 1, 1, 2)]
    assert sizes(local) == [1, 2, 2]


def test_a_group_may_cross_an_hour_and_is_yielded_when_the_next_cannot_reach_it() -> None:
    crossing = [record(0), record(40), record(7200, prompt="b")]  # the hour ends after 30 seconds
    assert sizes(crossing) == [1, 2]
    groups = group_records(crossing, 60.0)
    first = next(groups)
    assert [one.time[:16] for one in first.records] == ["2026-11-28T14:59", "2026-11-28T15:00"]
    assert first.rewards == (ONE.score, ONE.score)
    assert not first.has_signal


def test_records_without_a_prompt_form_no_groups() -> None:
    assert sizes([replace(record(0), prompt_hash=None), record(0)]) == [1]


CHOICES = generate(HEALTHY["multiple choice"], steps=3)[:200]


def rollout_ids(records: list[Record]) -> set[frozenset[str]]:
    return {frozenset(one.rollout_id for one in each.records) for each in group_records(records, 60.0)}


@given(st.randoms(use_true_random=False))
def test_the_order_within_an_hour_does_not_matter(random: Random) -> None:
    assert rollout_ids(random.sample(CHOICES, len(CHOICES))) == rollout_ids(CHOICES)


def test_very_many_open_groups_are_closed_early_and_every_rollout_is_yielded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_groups, "_MOST_OPEN", 20)
    found = [record(place // 4, f"r{place // 4}", str(place // 4)) for place in range(400)]
    groups = list(group_records(found, 0.5))
    assert sorted(one.rollout_id for each in groups for one in each.records) == sorted(one.rollout_id for one in found)
    assert [len(each.records) for each in groups] == [4] * 100


def test_groups_of_recorded_files_have_the_prompts_of_each_step(tmp_path: Path) -> None:
    write_rollouts(tmp_path, steps=8, groups=5, samples=4)
    groups = list(rollouts.read(tmp_path).groups())
    assert [len(each.records) for each in groups] == [4] * 40
    assert len({each.prompt_hash for each in groups}) == 5
    assert repr(groups[0]).startswith("Group(prompt_hash=")


def test_rollouts_that_are_followed_have_no_complete_groups(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="follow=True never ends"):
        rollouts.read(tmp_path, follow=True).groups()
