"""Health of runs: faults are found in noise, healthy runs raise no alarm, and no "ok" contradicts its numbers."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.metric_curves import DISEASES, healthy, ill, job, metrics
from support.run_families import FAULTS, HEALTHY, REWARDS, GeneratedRun, generate, generate_correlated

from bedrock_rft import ConfigurationError
from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._health import health
from bedrock_rft.metrics._windows import (
    deviation,
    find_falls,
    find_stretches,
    largest_rise,
    noise,
    rolling_means,
    window_sizes,
)
from bedrock_rft.types import Job

SEEDS = range(20)
RUNS = range(12)  # of each family, for each kind of reward
REWARD = "critic_rewards_mean"


def codes(found: Findings) -> set[str]:
    return {finding.code for finding in (*found.errors, *found.warnings)}


def alarms(steps: list[dict[str, Any]], thresholds: Thresholds | None = None, **options: Any) -> set[str]:
    return codes(metrics(steps).health(thresholds, **options))


def judge(run: GeneratedRun) -> Findings:
    return health(run, Thresholds(), (0.0, 1.0))


@pytest.mark.parametrize("correlation", [0.5, 0.8])
@pytest.mark.parametrize("family", ["already good", "steady learner"])
def test_noise_that_is_correlated_from_step_to_step_is_no_fall(family: str, correlation: float) -> None:
    """Without the correlation, 2 to 26 of these 40 runs raise the alarm."""
    fallen = 0
    for seed in range(40):
        run = generate_correlated(family, "partial", 67, seed, correlation)
        fallen += any("reward_falls" in codes(judge(run.until(step))) for step in (35, 50, 67))
    assert fallen <= 1


def rewards(*values: float, **fields: Any) -> list[dict[str, Any]]:
    return [{"step": step, REWARD: value, **fields} for step, value in enumerate(values, 1)]


def reward_finding(steps: list[dict[str, Any]], who: Job | None = None, **options: Any) -> Finding:
    (finding,) = [
        each for each in metrics(steps, who).health(**options).findings if each.code.startswith(("reward", "too_few"))
    ]
    return finding


def line(start: float, end: float, steps: int = 60, noise: float = 0.0, seed: int = 0) -> list[float]:
    rng = random.Random(seed)  # noqa: S311 - seeded draws, nothing secret
    return [start + (end - start) * step / (steps - 1) + rng.gauss(0, noise) for step in range(steps)]


# Families of runs


@pytest.mark.parametrize("family", HEALTHY)
def test_healthy_families_raise_no_alarm_while_they_are_watched(family: str) -> None:
    raised = [
        (reward, seed, found)
        for reward in REWARDS
        for seed in RUNS
        for run in [generate(family, reward, 67, seed)]
        if (found := {code for step in (*range(3, 67, 8), 67) for code in codes(judge(run.until(step)))})
    ]
    assert len(raised) <= 2, raised  # of 36


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str) -> None:
    code, _, _ = FAULTS[fault]
    missed = [
        (reward, seed)
        for reward in REWARDS
        for seed in RUNS
        if code not in codes(judge(generate(fault, reward, 67, seed)))
    ]
    assert len(missed) <= 2, missed  # of 36


@pytest.mark.parametrize("steps", [20, 67, 300])
@pytest.mark.parametrize("fault", ["late collapse", "fall from the start"])
def test_a_reward_that_falls_is_never_ok(fault: str, steps: int) -> None:
    for reward in REWARDS:
        for seed in RUNS:
            found = judge(generate(fault, reward, steps, seed))
            assert "reward" not in {finding.code for finding in found.findings if finding.level == "ok"}, (reward, seed)


def test_20_noisy_steps_are_too_few_and_the_finding_says_so() -> None:
    found = [judge(generate("flat", "binary", 20, seed)) for seed in SEEDS]
    doubts = [finding for each in found for finding in each.unknown if finding.code == "reward_trend"]
    assert doubts
    assert all("single steps vary by" in doubt.reason for doubt in doubts)
    assert not any(finding.code == "reward" for each in found for finding in each.findings)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healthy_run_raises_no_alarm_at_any_time(seed: int) -> None:
    run = metrics(healthy(seed))
    for reached in range(3, len(run) + 1, 4):
        assert codes(run[:reached].health()) == set()


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_a_healthy_run_is_healthy_in_the_end(seed: int) -> None:
    found = metrics(healthy(seed)).health()
    assert [finding.code for finding in found.findings] == ["reward", "entropy", "gradient", "length", "advantages"]
    assert found.verdict == "ok"
    assert "Rewards differ within groups, so there is a training signal" in found.findings[-1].summary


@pytest.mark.parametrize("disease", DISEASES)
def test_each_fault_is_found_and_no_other(disease: str) -> None:
    for seed in SEEDS:
        assert alarms(ill(disease, seed)) == {disease}, seed


@pytest.mark.parametrize("disease", DISEASES)
def test_an_alarm_has_numbers_a_reason_and_a_remedy(disease: str) -> None:
    (finding,) = [each for each in metrics(ill(disease)).health().findings if each.code == disease]
    assert any(character.isdigit() for character in finding.summary)
    assert finding.reason
    assert finding.remedy


def test_findings_name_their_steps_in_80_columns() -> None:
    text = str(metrics(ill("gradient_spikes"), job("ftjob-1\x1b[2J")).health())
    assert "at step 20" in text
    assert "at step 60" in text
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "20 steps in a row, 21 to 40" in str(metrics(ill("advantages_zero")).health())
    assert "nan at step 7" in str(metrics([{"step": 7, "actor_entropy": math.nan}]).health())


# The reward


def test_a_late_collapse_has_its_own_finding_with_the_best_steps() -> None:
    finding = reward_finding(rewards(*line(0.4, 0.9, 40), *line(0.9, 0.2, 5), *line(0.2, 0.2, 15)))
    assert (finding.level, finding.code) == ("warning", "reward_falls")
    assert finding.summary.startswith("The reward falls: 0.78 in steps 21 to 40, 0.29 in the last 20 of 60 steps")
    assert "checkpoint" in finding.remedy


def test_a_reward_that_rises_and_falls_back_does_not_rise_even_if_the_fall_is_uncertain() -> None:
    found = [
        reward_finding(
            rewards(*line(0.4, 0.75, 10, 0.12, seed), *line(0.75, 0.35, 8, 0.12, seed + 50)), reward_range=(-1, 2)
        )
        for seed in SEEDS
    ]
    assert "ok" not in {finding.level for finding in found}
    found = [
        reward_finding(rewards(*line(0.35, 0.8, 10, 0.08, seed), *line(0.8, 0.3, 8, 0.08, seed + 50))) for seed in SEEDS
    ]
    assert {finding.code for finding in found} == {"reward_falls", "reward_trend"}
    doubts = [finding for finding in found if finding.level == "unknown"]
    assert {doubt.reason for doubt in doubts} == {"it may be falling, but noise could explain that"}
    assert all("at best" in doubt.summary for doubt in doubts)


@pytest.mark.parametrize("steps", [20, 67, 300])
def test_a_reward_that_collapses_in_the_last_step_does_not_rise(steps: int) -> None:
    rising = [min(1.0, max(0.0, value)) for value in line(0.3, 0.85, steps, 0.03)]
    assert reward_finding(rewards(*rising)).level == "ok"
    finding = reward_finding(rewards(*rising[:-1], 0.05))
    assert (finding.level, finding.reason) == ("unknown", "it may be falling, but noise could explain that")


def test_a_reward_that_loses_half_of_its_gain_in_strong_noise_does_not_rise() -> None:
    found = [
        reward_finding(rewards(*(min(1.0, max(0.0, value)) for value in (*rising, *lower))))
        for seed in range(60)
        for rising, lower in [(line(0.3, 0.8, 47, 0.15, seed), line(0.5, 0.5, 20, 0.15, seed + 1000))]
    ]
    assert sum(finding.level == "ok" for finding in found) <= 1


def test_a_plateau_after_quick_learning_is_not_flat() -> None:
    finding = reward_finding(rewards(0.2, 0.3, 0.4, 0.5, 0.6, *line(0.65, 0.65, 295, 0.05)))
    assert (finding.level, finding.summary[:16]) == ("ok", "The reward rises")


@pytest.mark.parametrize("reward", REWARDS)
def test_a_level_that_a_quick_learner_may_have_reached_is_unknown(reward: str) -> None:
    found = [judge(generate("quick, low plateau", reward, 67, seed)) for seed in range(40)]
    assert sum("reward_flat" in codes(each) for each in found) <= 4
    reasons = [finding.reason for each in found for finding in each.unknown if finding.code == "reward_trend"]
    hidden = sum("may hide a rise in the first few steps" in reason for reason in reasons)
    assert (hidden >= 5) == (reward != "quiet")


def test_a_steady_level_is_flat_unless_the_first_steps_are_lower_or_too_noisy() -> None:
    assert reward_finding(rewards(*line(0.6, 0.6, 67, 0.05))).code == "reward_flat"
    assert reward_finding(rewards(0.3, 0.45, *line(0.6, 0.6, 65, 0.05))).level != "warning"
    assert reward_finding(rewards(0.45, *line(0.6, 0.6, 66, 0.12))).reason.endswith("a rise in the first few steps")
    assert reward_finding(rewards(0.1, 0.2, *line(0.4, 0.4, 65, 0.1))).code == "reward_flat"


def test_a_slow_start_is_unknown_until_three_quarters_of_the_job_are_over() -> None:
    stuck = rewards(*line(0.04, 0.04, 67, 0.01), total_steps=67)
    assert {reward_finding(stuck[:step]).code for step in range(15, 51)} == {"reward_trend"}
    assert "60% of the job is over, so a rise may still come" in str(reward_finding(stuck[:40]))
    assert reward_finding(stuck[:51]).code == "reward_low"


def test_the_end_of_a_job_of_unknown_length_decides() -> None:
    flat = rewards(*line(0.5, 0.5, 67, 0.01))
    running = reward_finding(flat, job(status="running"))
    assert (running.code, running.reason) == (
        "reward_trend",
        "an unknown share of the job is over, so a rise may still come",
    )
    assert reward_finding(flat, job(status="succeeded")).code == "reward_flat"
    assert reward_finding(flat).code == "reward_flat"


def test_a_constant_reward_is_flat_at_once_unless_it_is_the_minimum() -> None:
    assert reward_finding(rewards(*[0.5] * 15, total_steps=300)).code == "reward_flat"
    assert reward_finding(rewards(*[0.0] * 15, total_steps=300)).code == "reward_trend"
    assert reward_finding(rewards(*[0.0] * 15)).code == "reward_low"
    assert reward_finding(rewards(*[1.0] * 15, total_steps=300)).code == "reward_saturated"


def test_a_low_reward_that_clearly_rises_is_not_stuck() -> None:
    assert alarms([{"step": n, REWARD: n / 500} for n in range(1, 60)]) == set()


def test_a_rise_that_strong_noise_hides_is_not_flat() -> None:
    found = [
        reward_finding(rewards(*(min(1, max(0, value)) for value in line(0.3, 0.65, 25, 0.25, seed)))) for seed in SEEDS
    ]
    assert sum(finding.level == "warning" for finding in found) <= 1
    assert any("which hides changes smaller than 0.3" in finding.reason for finding in found)


def test_the_scale_comes_from_reward_range() -> None:
    low = line(0.5, 0.5, 60, 0.02)
    assert alarms(rewards(*low)) == {"reward_flat"}
    assert alarms(rewards(*low), reward_range=(0, 10)) == {"reward_low"}
    assert alarms(rewards(*low), reward_range=(-20, 0.6)) == {"reward_saturated"}
    assert alarms(rewards(*(20 * value - 10 for value in low)), reward_range=(-10, 10)) == {"reward_flat"}


def test_without_a_scale_the_reward_is_compared_with_its_noise_only() -> None:
    for values in (line(0.0, 0.0, 60, 0.01), line(0.5, 0.5, 60, 0.01), line(40, 40, 60, 0.01)):
        finding = reward_finding(rewards(*values), reward_range=None)
        assert (finding.level, finding.code) == ("unknown", "reward_trend")
        assert finding.reason == "without reward_range there is no scale to judge it by"
    assert reward_finding(rewards(*line(40, 55, 60, 1)), reward_range=None).level == "ok"
    assert reward_finding(rewards(*line(40, 25, 60, 1)), reward_range=None).code == "reward_falls"


@pytest.mark.parametrize("values", [line(-2, 0, 60, 0.1, 3), line(40, 55, 60, 1, 3)])
def test_rewards_outside_the_range_are_judged_without_a_scale(values: list[float]) -> None:
    finding = reward_finding(rewards(*values))
    assert finding.level == "ok"
    assert "lie outside reward_range=(0, 1)" in finding.reason


@pytest.mark.parametrize("wrong", [(1, 0), (0, 0), (0, math.inf), (0, math.nan), (1,), (0, 1, 2), ("0", "1"), ()])
def test_a_range_must_be_two_numbers(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="reward_range is"):
        metrics(healthy()).health(reward_range=wrong)


# Data as they come


def test_few_steps_get_no_verdict() -> None:
    found = metrics(ill("reward_low")[:14]).health()
    assert [finding.code for finding in found.findings] == ["too_few_steps"]
    assert found.findings[0].level == "unknown"
    assert metrics([]).health().ok
    assert reward_finding(rewards(0.5)).code == "too_few_steps"


def test_rewards_logged_every_tenth_step_are_judged() -> None:
    assert "reward_falls" in codes(judge(generate("late collapse", "partial", 300, 1, every=10)))
    good = judge(generate("steady learner", "partial", 300, 1, every=10))
    assert codes(good) == set()
    assert " in the first 10 steps, " in next(one.summary for one in good.findings if one.code == "reward")
    assert "over 30 steps" in next(finding.summary for finding in good.findings if finding.code == "reward")
    few = judge(generate("steady learner", "partial", 67, 1, every=10))
    assert [(each.code, each.summary) for each in few.unknown] == [("reward_trend", "There are rewards of 6 steps")]


def test_steps_without_a_value_and_values_that_are_not_finite_are_left_out() -> None:
    steps = healthy()
    for step in steps[::3]:
        step[REWARD] = None
        step["actor_entropy"] = None
    steps[10][REWARD] = math.nan
    steps[11]["invented_metric"] = math.inf
    found = metrics(steps).health()
    assert codes(found) == {"not_finite"}
    assert {each.summary for each in found.errors} == {
        "reward is not a finite number: nan at step 11",
        "invented_metric is not a finite number: inf at step 12",
    }
    assert {"reward", "entropy"} <= {each.code for each in found.findings if each.level == "ok"}


def test_without_a_reward_it_says_so() -> None:
    found = metrics([{"step": n, "actor_entropy": 0.6} for n in range(1, 30)]).health()
    assert [finding.code for finding in found.unknown] == ["reward_missing"]


def test_unknown_metrics_are_ignored() -> None:
    found = metrics([{"step": n, "invented": 5.0} for n in range(1, 30)]).health()
    assert [finding.code for finding in found.findings] == ["too_few_steps"]


# Other metrics


def level(name: str, values: list[float]) -> Finding:
    code = {"actor_entropy": "entropy", "actor_grad_norm": "gradient", "response_length_mean": "length"}[name]
    found = metrics([{"step": step, name: value} for step, value in enumerate(values, 1)]).health().findings
    (finding,) = [each for each in found if each.code.startswith(code)]
    return finding


@pytest.mark.parametrize(
    ("name", "end", "code", "severity"),
    [
        ("actor_entropy", 1 / 8, "entropy_collapse", "warning"),
        ("actor_entropy", 1 / 3, "entropy", "unknown"),
        ("actor_entropy", 0.8, "entropy", "ok"),
        ("actor_entropy", 4, "entropy", "unknown"),
        ("actor_grad_norm", 10_000, "gradient_grows", "warning"),
        ("actor_grad_norm", 100, "gradient_grows", "warning"),
        ("actor_grad_norm", 3, "gradient", "ok"),
        ("actor_grad_norm", 1 / 1000, "gradient", "unknown"),
        ("response_length_mean", 8 / 400, "length_collapse", "warning"),
        ("response_length_mean", 0.4, "length", "unknown"),
        ("response_length_mean", 1.3, "length", "ok"),
        ("response_length_mean", 4, "length_runaway", "warning"),
    ],
)
def test_levels_that_change_are_not_ok(name: str, end: float, code: str, severity: str) -> None:
    for steps in (20, 67, 300):
        slow = [400 * end ** (step / (steps - 1)) for step in range(steps)]
        late = [400.0] * (steps * 2 // 3) + [400 * end] * (steps - steps * 2 // 3)
        for values in (slow, late) if steps > 20 else (late,):  # in 20 steps, a slow change is half over in the windows
            finding = level(name, values)
            assert (finding.code, finding.level) == (code, severity)


def test_a_gradient_that_warms_up_does_not_spike() -> None:
    steps = [{"step": n, "actor_grad_norm": 1e-6 if n < 3 else 1e-3 + n * 1e-6} for n in range(1, 40)]
    assert alarms(steps) == set()


def test_steps_without_a_gradient_do_not_make_spikes() -> None:
    steps = [{"step": n, "actor_grad_norm": 0.3 if n % 5 == 0 else 0.0} for n in range(1, 100)]
    assert alarms(steps) == set()
    assert level("actor_grad_norm", [0.0] * 30).level == "unknown"
    assert level("actor_grad_norm", [0.1] * 30 + [0.0] * 20).level == "unknown"


def test_a_single_spike_is_named_in_the_ok() -> None:
    finding = level("actor_grad_norm", [0.1] * 20 + [50.0] + [0.1] * 20)
    assert finding.level == "ok"
    assert "except for 50 at step 21" in finding.summary


def test_a_zero_line_of_advantages_shows_no_signal() -> None:
    steps = [step | {"critic_advantages_mean": 0.0} for step in healthy()]
    (finding,) = [each for each in metrics(steps).health().findings if each.code == "advantages"]
    assert finding.level == "unknown"
    assert finding.summary == "The mean advantage is 0 in 67 of 67 steps"
    without = [step | {"actor_pg_loss": 0.0, "actor_grad_norm": 0.0} for step in steps]
    assert "advantages_zero" in alarms(without)


def test_zero_advantages_at_the_top_of_the_reward_are_not_an_alarm() -> None:
    done = {REWARD: 1.0, "critic_advantages_mean": 0.0, "actor_pg_loss": 0.0, "actor_grad_norm": 0.0}
    steps = healthy()
    for step in steps[40:]:
        step.update(done)
    assert alarms(steps) == set()
    assert "fewer epochs" in str(metrics(steps).health())
    assert alarms(steps, reward_range=(0, 10)) >= {"advantages_zero"}


def test_thresholds_can_be_set() -> None:
    assert alarms(ill("reward_flat"), Thresholds(reward_low=0.7)) == {"reward_low"}
    assert alarms(healthy(), Thresholds(entropy_share=0.9)) == {"entropy_collapse"}
    assert alarms(ill("length_runaway"), Thresholds(length_ratio=5)) == set()
    assert alarms(ill("reward_saturated"), Thresholds(reward_high=0.999)) <= {"reward_flat"}
    assert alarms(ill("advantages_zero"), Thresholds(zero_steps=21)) == set()
    assert alarms(ill("gradient_spikes"), Thresholds(spikes=4)) == set()


# No "ok" that its numbers contradict

_PARTS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 40)), min_size=1, max_size=4)


def shape(parts: list[tuple[float, int]], scale: float, seed: int) -> list[float]:
    """Return straight lines between levels, with a little noise."""
    rng = random.Random(seed)  # noqa: S311 - seeded draws, nothing secret
    points = [(parts[0][0], 1), *parts]
    values = [
        before + (after - before) * step / length
        for (before, _), (after, length) in pairwise(points)
        for step in range(1, length + 1)
    ]
    return [scale * min(1.0, max(0.0, value + rng.gauss(0, 0.01))) for value in values]


@given(_PARTS, _PARTS, _PARTS, _PARTS, st.integers(0, 99))
def test_no_ok_contradicts_its_numbers(
    reward: list[tuple[float, int]],
    entropy: list[tuple[float, int]],
    gradient: list[tuple[float, int]],
    length: list[tuple[float, int]],
    seed: int,
) -> None:
    series = {
        REWARD: shape(reward, 1, seed),
        "actor_entropy": shape(entropy, 0.7, seed),
        "actor_grad_norm": [value**4 for value in shape(gradient, 1, seed)],
        "response_length_mean": shape(length, 500, seed),
    }
    found = health(
        GeneratedRun({name: tuple(enumerate(values, 1)) for name, values in series.items()}, None), Thresholds(), (0, 1)
    )
    for finding in found.findings:
        if finding.level != "ok":
            continue
        values = series[
            {"reward": REWARD, "entropy": "actor_entropy", "length": "response_length_mean"}.get(
                finding.code, "actor_grad_norm"
            )
        ]
        size = min(10, len(values) // 3)
        means = rolling_means(values, size)
        first, last, best = means[0], means[-1], max(means)
        if "rises" in finding.summary:
            assert last - first >= max(0.05, (best - first) * 2 / 3) - 1e-9
        elif finding.code == "reward":
            assert "is high" in finding.summary
            assert last >= 0.8
        elif finding.code in {"entropy", "length"}:
            assert first / 2 - 1e-9 <= last <= first * 2 + 1e-9
        else:
            positive = sorted(value for value in values if value > 0)
            assert positive
            assert any(value > 0 for value in values[-size:])


@given(st.lists(st.one_of(st.none(), st.floats(), st.just(0.0)), max_size=60), st.sampled_from([(0.0, 1.0), None]))
def test_any_numbers_have_a_verdict(values: list[float | None], reward_range: tuple[float, float] | None) -> None:
    names = (REWARD, "actor_entropy", "actor_grad_norm", "response_length_mean", "critic_advantages_mean")
    steps = [{"step": step, **dict.fromkeys(names, value)} for step, value in enumerate(values, 1)]
    assert str(metrics(steps).health(reward_range=reward_range))


# Statistics


def test_noise_is_that_of_one_step_around_the_trend() -> None:
    assert noise(line(0, 100, 2000, 2.0)) == pytest.approx(2.0, rel=0.05)
    assert noise([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]) > 0
    assert noise([1.0]) == noise([3.0, 3.0]) == 0.0
    rng = random.Random(1)  # noqa: S311 - seeded draws, nothing secret
    assert deviation([rng.gauss(0, 2.0) for _ in range(2000)]) == pytest.approx(2.0, rel=0.1)


def test_windows_halve_from_a_third_of_the_steps() -> None:
    assert window_sizes(300) == (100, 50, 25, 12, 6)
    assert window_sizes(67) == (22, 11, 5)
    assert window_sizes(20) == (6,)
    assert window_sizes(20, 2) == (6, 3)
    assert window_sizes(1) == (1,)
    assert rolling_means([1, 2, 3, 6], 2) == [1.5, 2.5, 4.5]


@pytest.mark.parametrize("steps", [20, 67, 300])
def test_rises_and_falls_without_a_trend_stay_small(steps: int) -> None:
    rises = sorted(largest_rise(line(0, 0, steps, 1, seed), 0.0) for seed in range(200))
    dropped = sorted(max(find_falls(line(0, 0, steps, 1, seed))).errors for seed in range(200))
    assert rises[197] < 3.5  # 99 %
    assert dropped[189] < 5.0
    assert largest_rise(line(0, 3, steps, 0.5), 0.0) > 3.5
    assert max(find_falls(line(3, 0, steps, 0.5))).errors > 5.0


def test_stretches_are_separated() -> None:
    marks = [(n, n in {2, 5, 6, 7, 9}) for n in range(1, 11)]
    assert find_stretches(marks) == [(3, 5, 7), (1, 2, 2), (1, 9, 9)]
