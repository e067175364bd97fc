"""Statistics of an evaluation against exact enumeration and simulation."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft._core import statistics
from bedrock_rft._core.statistics import (
    cluster_units,
    holm,
    mean,
    mean_interval,
    share_interval,
    sign_flip_test,
)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=9))
def test_the_permutation_test_is_exact_for_few_prompts(gains: list[float]) -> None:
    totals = [
        abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True)))
        for signs in product((-1, 1), repeat=len(gains))
    ]
    expected = sum(total >= abs(sum(gains)) - 1e-9 for total in totals) / len(totals)
    assert sign_flip_test(gains, 0).p == pytest.approx(expected)


def test_random_flips_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)  # noqa: S311 - a simulation
    gains = [rng.choice([-1.0, 0.0, 1.0, 1.0]) for _ in range(40)]
    exact = sign_flip_test(gains, 0)
    monkeypatch.setattr(statistics, "_MAX_SUMS", 1)
    drawn = sign_flip_test(gains, 0)
    assert drawn.p == pytest.approx(exact.p, abs=0.01)
    assert drawn == sign_flip_test(gains, 0), "the same seed gives the same p"
    assert drawn.p >= drawn.smallest == pytest.approx(1e-4)


@pytest.mark.parametrize("count", [3, 5, 6, 8, 12, 30])
def test_equal_models_are_seldom_called_different(count: int) -> None:
    rng = random.Random(count)  # noqa: S311 - a simulation
    runs = 600
    false = sum(
        sign_flip_test([rng.choice([-1.0, 0.0, 0.0, 1.0]) for _ in range(count)], 0).p < 0.05 for _ in range(runs)
    )
    assert false / runs <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / runs)


def test_differences_without_equal_sums_are_tested_by_random_flips() -> None:
    rng = random.Random(2)  # noqa: S311 - a simulation
    gains = [rng.gauss(0, 1) for _ in range(16)]
    assert sign_flip_test(gains, 0).smallest == 2 / 2**16
    assert sign_flip_test([*gains, 0.5], 0).smallest == pytest.approx(1e-4)


def test_real_differences_are_found() -> None:
    rng = random.Random(1)  # noqa: S311 - a simulation
    hits = sum(sign_flip_test([rng.gauss(0.3, 0.5) for _ in range(40)], 0).p < 0.05 for _ in range(25))
    assert hits >= 22


def test_holm_is_the_step_down_method() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.9]) == [1.0, 1.0]


@given(st.integers(1, 60), st.data())
def test_a_share_has_the_agresti_coull_interval(count: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, count))
    found = share_interval([1.0] * passed + [0.0] * (count - passed), count)
    z, share = 1.959964, passed / count
    centre = (passed + z * z / 2) / (count + z * z)
    half = z * math.sqrt(centre * (1 - centre) / (count + z * z))
    assert (found.low, found.high) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-6)
    wilson = z * math.sqrt(share * (1 - share) / count + z * z / 4 / count**2) / (1 + z * z / count)
    assert found.low <= max(0.0, centre - wilson) + 1e-6, "it contains Wilson's interval"
    assert found.high >= min(1.0, centre + wilson) - 1e-6
    assert found.low < found.high


@pytest.mark.parametrize(("count", "lowest"), [(10, 0.93), (30, 0.934), (100, 0.94)])
def test_the_interval_of_a_share_covers_at_least_93_percent_at_every_true_share(count: int, lowest: float) -> None:
    intervals = [share_interval([1.0] * k + [0.0] * (count - k), count) for k in range(count + 1)]
    exact = {
        truth / 100: sum(
            math.comb(count, k) * (truth / 100) ** k * (1 - truth / 100) ** (count - k)
            for k, interval in enumerate(intervals)
            if interval.low <= truth / 100 <= interval.high
        )
        for truth in range(5, 96)
    }
    assert min(exact.values()) >= lowest - 0.001
    assert sum(exact.values()) / len(exact) == pytest.approx(0.95, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 3))
def test_an_interval_has_a_width_and_stays_in_bounds(values: list[float], seed: int) -> None:
    found = mean_interval(values, (0.0, 1.0), seed)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0
    assert found == mean_interval(values, (0.0, 1.0), seed)


def test_equal_scores_follow_the_rule_of_three() -> None:
    found = mean_interval([1.0] * 30, (0.0, 1.0), 0)
    assert (found.low, found.value, found.high) == pytest.approx((0.9, 1.0, 1.0))
    gain = mean_interval([0.0] * 100, (-1.0, 1.0), 0)
    assert (gain.low, gain.high) == pytest.approx((-0.03, 0.03))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_intervals_of_several_samples_cover_the_truth(share: float) -> None:
    rng = random.Random(3)  # noqa: S311 - a simulation
    runs, covered = 500, 0
    for _ in range(runs):
        # Prompts differ in difficulty around the share, with four answers each.
        units: list[float] = []
        for _ in range(30):
            difficulty = rng.betavariate(2 * share, 2 * (1 - share))
            units.append(sum(rng.random() < difficulty for _ in range(4)) / 4)
        found = share_interval(units, 120)
        covered += found.low <= share <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.035)


def test_means_of_graded_scores_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_RESAMPLES", 400)  # as for very many prompts
    rng = random.Random(4)  # noqa: S311 - a simulation
    runs = 300
    covered = 0
    for run in range(runs):
        found = mean_interval([rng.betavariate(2, 3) for _ in range(30)], (0.0, 1.0), run)
        covered += found.low <= 0.4 <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.035)


def test_copies_of_a_prompt_are_one_unit() -> None:
    values = [1.0, 1.0, 1.0, 0.0, 0.5]
    units = cluster_units(values, ["a", "a", "a", "b", "c"])
    assert len(units) == 3
    assert mean(units) == pytest.approx(mean(values))
    assert cluster_units(values, list("abcde")) == values
    alone = mean_interval([0.2, 0.7, 0.4, 0.9] * 25, (0, 1), 0)
    copies = mean_interval(cluster_units([0.2, 0.7, 0.4, 0.9] * 25, list("abcd") * 25), (0, 1), 0)
    assert copies.high - copies.low > 3 * (alone.high - alone.low)
