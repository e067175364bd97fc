"""The health of a run: every disease is found in spite of noise, and no healthy run is called ill."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.metric_curves import DISEASES, healthy, ill, job, metrics

from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._robust import deviation, noise, slope, stretches, trend

SEEDS = range(20)


def alarms(steps: list[dict[str, Any]], thresholds: Thresholds | None = None) -> set[str]:
    found = metrics(steps).health(thresholds)
    return {finding.code for finding in (*found.errors, *found.warnings)}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healthy_run_raises_no_alarm_at_any_time(seed: int) -> None:
    steps = healthy(seed)
    for reached in range(3, len(steps) + 1, 4):
        assert alarms(steps[:reached]) == set()


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_a_healthy_run_is_healthy_in_the_end(seed: int) -> None:
    found = metrics(healthy(seed)).health()
    assert [finding.code for finding in found.findings] == ["reward", "entropy", "gradient", "length", "advantages"]
    assert found.verdict == "ok"


@pytest.mark.parametrize("disease", DISEASES)
def test_each_disease_is_found_and_no_other(disease: str) -> None:
    for seed in SEEDS:
        assert alarms(ill(disease, seed)) == {disease}, seed


@pytest.mark.parametrize("disease", DISEASES)
def test_a_finding_says_what_it_means_what_shows_it_and_what_to_try(disease: str) -> None:
    (finding,) = [each for each in metrics(ill(disease)).health().findings if each.code == disease]
    assert any(character.isdigit() for character in finding.summary)
    assert finding.reason
    assert finding.remedy


def test_it_names_the_steps_of_what_it_found() -> None:
    said = str(metrics(ill("gradient_spikes"), job("ftjob-1\x1b[2J")).health())
    assert "at step 20" in said
    assert "at step 60" in said
    assert "\x1b" not in said
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "20 steps in a row, 21 to 40" in str(metrics(ill("advantages_zero")).health())
    assert "nan at step 7" in str(metrics([{"step": 7, "actor_entropy": math.nan}]).health())


def test_few_steps_get_no_verdict() -> None:
    found = metrics(ill("reward_low")[:14]).health()
    assert [finding.code for finding in found.findings] == ["too_few_steps"]
    assert found.findings[0].level == "unknown"
    assert metrics([]).health().ok


def test_thresholds_can_be_set() -> None:
    assert alarms(ill("reward_flat"), Thresholds(reward_low=0.7)) == {"reward_low"}
    assert alarms(healthy(), Thresholds(entropy_share=0.9)) == {"entropy_collapse"}
    assert alarms(ill("length_runaway"), Thresholds(length_ratio=5)) == set()
    assert alarms(ill("reward_saturated"), Thresholds(reward_high=0.999)) <= {"reward_flat"}
    assert alarms(ill("advantages_zero"), Thresholds(zero_steps=21)) == set()
    assert alarms(ill("gradient_spikes"), Thresholds(spikes=4)) == set()


def test_bounds_between_0_and_1_are_not_held_against_other_scales() -> None:
    rolls = random.Random(3)  # noqa: S311 - seeded draws, nothing secret
    debts = [{"step": n, "critic_rewards_mean": -2 + n / 40 + rolls.gauss(0, 0.1)} for n in range(1, 60)]
    assert alarms(debts) == set()
    points = [{"step": n, "critic_rewards_mean": 40 + n / 4 + rolls.gauss(0, 1)} for n in range(1, 60)]
    assert alarms(points) == set()


def test_a_reward_that_never_changes_is_flat_at_once() -> None:
    assert alarms([{"step": n, "critic_rewards_mean": 0.5} for n in range(1, 16)]) == {"reward_flat"}


def test_a_low_reward_that_clearly_rises_is_not_stuck() -> None:
    assert alarms([{"step": n, "critic_rewards_mean": n / 500} for n in range(1, 60)]) == set()


def test_a_flat_reward_is_not_told_from_a_noisy_one() -> None:
    for seed in SEEDS:
        rolls = random.Random(seed)  # noqa: S311 - seeded draws, nothing secret
        noisy = [{"step": n, "critic_rewards_mean": min(1, max(0, rolls.gauss(0.5, 0.25)))} for n in range(1, 60)]
        found = metrics(noisy).health()
        assert found.ok
        assert not found.warnings
        assert [finding.code for finding in found.unknown] in (["reward_trend"], [])


def test_a_gradient_that_warms_up_does_not_spike() -> None:
    steps = [{"step": n, "actor_grad_norm": 1e-6 if n < 3 else 1e-3 + n * 1e-6} for n in range(1, 40)]
    assert alarms(steps) == set()


def test_no_gradient_is_no_measure_of_a_spike() -> None:
    steps = [{"step": n, "actor_grad_norm": 0.3 if n % 5 == 0 else 0.0} for n in range(1, 100)]
    assert alarms(steps) == set()


def test_where_everything_is_earned_there_is_nothing_left_to_learn() -> None:
    done = {"critic_rewards_mean": 1.0, "critic_advantages_mean": 0.0, "actor_pg_loss": 0.0, "actor_grad_norm": 0.0}
    steps = healthy()
    for step in steps[40:]:
        step.update(done)
    assert alarms(steps) == set()
    assert "fewer epochs" in str(metrics(steps).health())


def test_without_a_reward_it_says_so() -> None:
    found = metrics([{"step": n, "actor_entropy": 0.6} for n in range(1, 30)]).health()
    assert [finding.code for finding in found.unknown] == ["reward_missing"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_trend_of_a_reversed_run_is_the_opposite(values: list[float]) -> None:
    assert trend(values[::-1]) == pytest.approx(-trend(values))
    assert trend(sorted(values)) >= 0


def test_statistics_are_not_moved_by_a_wild_step() -> None:
    line = [n / 100 for n in range(101)]
    wild = [*line[:50], 1e9, *line[51:]]
    assert slope(line) == pytest.approx(1.0)
    assert slope(wild) == pytest.approx(1.0, abs=0.05)
    assert trend(wild) > 10
    rolls = random.Random(1)  # noqa: S311 - seeded draws, nothing secret
    noisy = [n / 100 + rolls.gauss(0, 0.2) for n in range(2000)]
    assert noise(noisy) == pytest.approx(0.2, rel=0.1)
    assert deviation([rolls.gauss(0, 2.0) for _ in range(2000)]) == pytest.approx(2.0, rel=0.1)
    assert slope(noisy) == pytest.approx(20, rel=0.05)  # in blocks


def test_stretches_are_told_apart() -> None:
    marks = [(n, n in {2, 5, 6, 7, 9}) for n in range(1, 11)]
    assert stretches(marks) == [(3, 5, 7), (1, 2, 2), (1, 9, 9)]
