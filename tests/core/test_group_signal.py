"""The signal of groups, estimated from samples of prompts whose true pass rates are known."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_rft._core.group_signal import group_signal, mean_signal, signal_chances

SIZE = 8
RATES: dict[str, Callable[[random.Random], float]] = {
    "one mode": lambda rng: rng.betavariate(4, 4),
    "U": lambda rng: rng.betavariate(0.4, 0.6),
    "spikes": lambda rng: rng.choice([0.0, 0.0, 0.0, 1.0, 1.0, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)]),
    "two points": lambda rng: rng.choice([0.04, 0.96]),
}


def draw(rate: Callable[[random.Random], float], samples: int, seed: int) -> tuple[list[float], list[list[float]]]:
    """Return the true chance of each prompt that its rewards differ in a group of 8, and samples of its rewards."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    rates = [rate(rng) for _ in range(400)]
    groups = [[float(rng.random() < each) for _ in range(samples)] for each in rates]
    return [1 - each**SIZE - (1 - each) ** SIZE for each in rates], groups


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("samples", [4, 8, 12])
def test_the_share_and_the_chances_agree_with_the_truth(name: str, samples: int) -> None:
    true, groups = draw(RATES[name], samples, 1)
    signal = group_signal(groups, SIZE)
    assert signal.low < fmean(true) < signal.high
    assert (signal.prompts, signal.samples, signal.group_size, signal.is_lower_bound) == (400, samples, SIZE, False)
    assert fmean(signal_chances(groups, SIZE)) == pytest.approx(fmean(true), abs=0.06)


@pytest.mark.parametrize("name", RATES)
def test_the_selection_of_prompts_does_not_bias_the_chances(name: str) -> None:
    """Rewards of every selected prompt differ in its own samples, so their share would be 1 for any prompts."""
    errors: list[float] = []
    for seed in range(4):
        true, groups = draw(RATES[name], SIZE, seed)
        kept = [index for index, group in enumerate(groups) if 0 < sum(group) < SIZE]
        assert group_signal([groups[index] for index in kept], SIZE).share == 1.0
        chances = signal_chances(groups, SIZE)
        errors.append(fmean(chances[index] - true[index] for index in kept))
        signal = mean_signal([chances[index] for index in kept], SIZE, SIZE, selected=True)
        assert signal.low < fmean(true[index] for index in kept) < signal.high
    assert fmean(errors) == pytest.approx(0, abs=0.06)


def test_rewards_with_many_values_differ_unless_a_prompt_has_a_common_one() -> None:
    rng = random.Random(3)  # noqa: S311 - a simulation
    graded = [[rng.random() for _ in range(4)] for _ in range(50)]
    constant = [[0.0] * 4 for _ in range(50)]
    chances = signal_chances(graded + constant, SIZE)
    assert min(chances[:50]) > 0.95
    assert max(chances[50:]) < 0.3
    signal = group_signal(graded + constant, SIZE)
    assert (signal.share, signal.is_lower_bound, str(signal)) == (0.5, True, "at least 50% [40%, 60%]")
    assert signal.no_signal == 0.5


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.1 + 0.2, 0.3, 1.0]), min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(2, 16),
)
def test_chances_are_probabilities_and_do_not_depend_on_order(groups: list[list[float]], size: int) -> None:
    chances = signal_chances(groups, size)
    assert all(0 <= chance <= 1 for chance in chances)
    assert signal_chances(groups[::-1], size)[::-1] == pytest.approx(chances, abs=1e-9)
    signal = group_signal(groups, size)
    assert 0 <= signal.low <= signal.share + 1e-12
    assert signal.share - 1e-12 <= signal.high <= 1


def test_many_samples_of_a_prompt_do_not_vanish() -> None:
    [never, always, mixed] = signal_chances([[0.0] * 5000, [1.0] * 5000, [0.0, 1.0] * 2500], SIZE)
    assert max(never, always) < 0.01
    assert mixed > 0.99
