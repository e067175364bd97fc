"""Families of generated runs with known health, for tests and `benchmarks/health.py`.

A step has 4 prompts with 8 answers each, as in the published job. The true mean reward of a family changes from step to
step, prompts differ in difficulty, and answers are drawn, so noise, steps without a signal, and their dependence on the
mean come from the draws and not from a setting.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from bedrock_rft.types import Checkpoint, Job

__all__ = [
    "ANSWERS",
    "FAULTS",
    "HEALTHY",
    "PROMPTS",
    "REWARDS",
    "GeneratedRun",
    "generate",
    "generate_correlated",
]

PROMPTS, ANSWERS = 4, 8

Groups = list[list[float]]
Path = Callable[[float], float]


@dataclass(frozen=True)
class GeneratedRun:
    """Series of a run by metric name. A slice is the run as it was seen after that many steps."""

    values: dict[str, tuple[tuple[float, float], ...]]
    total_steps: int | None
    job: Job | None = None
    name: str = "a generated run"
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    def series(self, name: str) -> tuple[tuple[float, float], ...]:
        return self.values.get(name, ())

    def until(self, step: int) -> GeneratedRun:
        return GeneratedRun(
            {name: tuple(point for point in points[:step] if point[0] <= step) for name, points in self.values.items()},
            self.total_steps,
        )


# Rewards: how the answers to one prompt are scored, given the true mean of the step.


def _binary(rng: random.Random, mean: float) -> list[float]:
    """Draw rewards 0 and 1; prompts are mostly easy or hard, which makes single steps very noisy."""
    chance = rng.betavariate(2 * mean, 2 * (1 - mean)) if 0 < mean < 1 else mean
    return [float(rng.random() < chance) for _ in range(ANSWERS)]


def _partial(rng: random.Random, mean: float) -> list[float]:
    """Draw rewards in fifths, for partial success."""
    chance = rng.betavariate(6 * mean, 6 * (1 - mean)) if 0 < mean < 1 else mean
    draw = rng.random
    return [
        ((draw() < chance) + (draw() < chance) + (draw() < chance) + (draw() < chance) + (draw() < chance)) / 5
        for _ in range(ANSWERS)
    ]


def _quiet(rng: random.Random, mean: float) -> list[float]:
    """Draw fine-grained rewards that hardly vary."""
    return [min(1.0, max(0.0, rng.gauss(mean, 0.04))) for _ in range(ANSWERS)]


REWARDS: dict[str, Callable[[random.Random, float], list[float]]] = {
    "binary": _binary,
    "partial": _partial,
    "quiet": _quiet,
}


# Healthy runs: the true mean reward by share of the job that is over.


def _steady(rng: random.Random) -> Path:
    """Rise through the whole job."""
    start, end, speed = rng.uniform(0.3, 0.6), rng.uniform(0.8, 0.95), rng.uniform(1.5, 5)
    return lambda share: start + (end - start) * (1 - math.exp(-speed * share)) / (1 - math.exp(-speed))


def _quick(rng: random.Random) -> Path:
    """Learn in the first tenth, then stay."""
    start, end, speed = rng.uniform(0.2, 0.5), rng.uniform(0.75, 0.95), rng.uniform(30, 80)
    return lambda share: end - (end - start) * math.exp(-speed * share)


def _quick_low(rng: random.Random) -> Path:
    """Learn in the first tenth, then stay at a level that leaves room."""
    start, end, speed = rng.uniform(0.1, 0.3), rng.uniform(0.55, 0.75), rng.uniform(20, 50)
    return lambda share: end - (end - start) * math.exp(-speed * share)


def _slow(rng: random.Random) -> Path:
    """Earn hardly anything for a third to a half of the job, then learn."""
    start, end = rng.uniform(0.02, 0.08), rng.uniform(0.6, 0.9)
    middle, width = rng.uniform(0.35, 0.5), rng.uniform(0.03, 0.06)
    return lambda share: start + (end - start) / (1 + math.exp(-(share - middle) / width))


def _good(rng: random.Random) -> Path:
    """Begin well and gain little."""
    start, gain = rng.uniform(0.82, 0.92), rng.uniform(0.0, 0.04)
    return lambda share: start + gain * share


HEALTHY: dict[str, Callable[[random.Random], Path]] = {
    "steady learner": _steady,
    "quick learner": _quick,
    "quick, low plateau": _quick_low,
    "slow start": _slow,
    "already good": _good,
}


# Faults of the reward.


def _flat(rng: random.Random) -> Path:
    level = rng.uniform(0.2, 0.65)
    return lambda _share: level


def _low(rng: random.Random) -> Path:
    level = rng.uniform(0.0, 0.08)
    return lambda _share: level


def _high(rng: random.Random) -> Path:
    level = rng.uniform(0.98, 1.0)
    return lambda _share: level


def _late_collapse(rng: random.Random) -> Path:
    rise, begin, length = _steady(rng), rng.uniform(0.6, 0.8), rng.uniform(0.01, 0.15)
    end = rng.uniform(0.05, 0.3)

    def mean(share: float) -> float:
        if share <= begin:
            return rise(share)
        return end + (rise(begin) - end) * max(0.0, 1 - (share - begin) / length)

    return mean


def _fall(rng: random.Random) -> Path:
    start, end = rng.uniform(0.6, 0.8), rng.uniform(0.1, 0.25)
    return lambda share: start + (end - start) * share


# Faults of other metrics change one step of a healthy run.

Row = dict[str, float]
Change = Callable[[Row, float], None]


def _scale(name: str, factor: Path) -> Change:
    def change(row: Row, share: float) -> None:
        row[name] *= factor(share)

    return change


def _late_or_gradual(rng: random.Random, end: float) -> Path:
    """Change to a factor exponentially through the job, or within a tenth of it."""
    begin, length = rng.choice([(0.0, 1.0), (rng.uniform(0.4, 0.7), 0.1)])
    return lambda share: end ** min(1.0, max(0.0, (share - begin) / length))


def _entropy_collapse(rng: random.Random) -> Change:
    return _scale("actor_entropy", _late_or_gradual(rng, rng.uniform(0.01, 0.1)))


def _length_collapse(rng: random.Random) -> Change:
    return _scale("response_length_mean", _late_or_gradual(rng, rng.uniform(0.02, 0.15)))


def _length_runaway(rng: random.Random) -> Change:
    return _scale("response_length_mean", _late_or_gradual(rng, rng.uniform(3, 6)))


def _gradient_blow_up(rng: random.Random) -> Change:
    return _scale("actor_grad_norm", _late_or_gradual(rng, 10 ** rng.uniform(2.5, 5)))


def _gradient_spikes(rng: random.Random) -> Change:
    places = [rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0)]

    def change(row: Row, share: float) -> None:
        width = 1 / row["total_steps"]
        if any(place <= share < place + width for place in places) or share == 1.0:
            row["actor_grad_norm"] = rng.uniform(30, 300) * max(row["actor_grad_norm"], 5e-4)

    return change


def _no_advantages(rng: random.Random) -> Change:
    """Make all answers to a prompt earn the same, for a part of the job."""
    begin, length = rng.uniform(0.1, 0.4), rng.uniform(0.4, 0.6)

    def change(row: Row, share: float) -> None:
        if begin <= share <= begin + length:
            row["critic_rewards_mean"] = rng.choice([0.25, 0.5, 0.5, 0.75])
            row |= {"critic_advantages_mean": 0.0, "actor_pg_loss": 0.0, "actor_grad_norm": 0.0}

    return change


def _not_finite(rng: random.Random) -> Change:
    place = rng.uniform(0.1, 0.9)

    def change(row: Row, share: float) -> None:
        if share >= place:
            row["actor_grad_norm"] = math.nan

    return change


FAULTS: dict[str, tuple[str, Callable[[random.Random], Path] | None, Callable[[random.Random], Change] | None]] = {
    "flat": ("reward_flat", _flat, None),
    "low": ("reward_low", _low, None),
    "high from the start": ("reward_saturated", _high, None),
    "late collapse": ("reward_falls", _late_collapse, None),
    "fall from the start": ("reward_falls", _fall, None),
    "entropy collapse": ("entropy_collapse", None, _entropy_collapse),
    "gradient blow-up": ("gradient_grows", None, _gradient_blow_up),
    "gradient spikes": ("gradient_spikes", None, _gradient_spikes),
    "length runaway": ("length_runaway", None, _length_runaway),
    "length collapse": ("length_collapse", None, _length_collapse),
    "no advantages": ("advantages_zero", None, _no_advantages),
    "not finite": ("not_finite", None, _not_finite),
}
"""Faults by name: the code of the finding, and the change of the reward or of another metric."""


@cache
def generate(family: str, reward: str, steps: int, seed: int, *, every: int = 1) -> GeneratedRun:
    """Generate a run.

    Args:
        family: a name from `HEALTHY` or `FAULTS`.
        reward: a name from `REWARDS`.
        steps: steps of the whole job.
        seed: the same seed gives the same run.
        every: log the reward at every so many steps only.
    """
    rng = random.Random(f"{family} {reward} {steps} {seed}")  # noqa: S311 - seeded draws, nothing secret
    path, change = HEALTHY.get(family), None
    if path is None:
        _, path, changing = FAULTS[family]
        path = path or rng.choice([*HEALTHY.values()])
        change = changing(rng) if changing else None
    mean, drift = path(rng), rng.uniform(-0.1, 0.2)
    cooling, scatter = rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.4)
    rows: list[Row] = []
    for step in range(1, steps + 1):
        share = step / steps
        groups = [REWARDS[reward](rng, mean(share)) for _ in range(PROMPTS)]
        rows.append(_row(rng, groups, step, steps))
        rows[-1]["actor_entropy"] = 0.62 * (1 - cooling * share) * math.exp(rng.gauss(0, 0.04))
        rows[-1]["response_length_mean"] = 519 * (1 + drift * share) * math.exp(rng.gauss(0, 0.05))
        rows[-1]["actor_grad_norm"] *= math.exp(rng.gauss(0, scatter))
        if change is not None:
            change(rows[-1], share)
    return GeneratedRun(
        {
            name: tuple(
                (row["step"], row[name]) for row in rows if name != "critic_rewards_mean" or row["step"] % every == 0
            )
            for name in rows[0]
            if name not in {"step", "total_steps"}
        },
        steps,
    )


_NOISE = {"binary": 0.16, "partial": 0.1, "quiet": 0.01}
"""Standard deviation of single steps by kind of reward."""


def generate_correlated(family: str, reward: str, steps: int, seed: int, correlation: float) -> GeneratedRun:
    """Generate the rewards of a run whose noise is an autoregressive process of order 1."""
    rng = random.Random(f"{family} {reward} {steps} {seed} {correlation}")  # noqa: S311 - seeded draws, nothing secret
    path = HEALTHY[family](rng)
    noise = rng.gauss(0, _NOISE[reward])
    points: list[tuple[float, float]] = []
    for step in range(1, steps + 1):
        points.append((step, min(1.0, max(0.0, path(step / steps) + noise))))
        noise = correlation * noise + math.sqrt(1 - correlation**2) * rng.gauss(0, _NOISE[reward])
    return GeneratedRun({"critic_rewards_mean": tuple(points)}, steps)


def _row(rng: random.Random, groups: Sequence[Sequence[float]], step: int, steps: int) -> Row:
    """Return the metrics of a step. Groups whose answers all earn the same give no advantage, loss or gradient."""
    rewards = [reward for group in groups for reward in group]
    signal = sum(len(set(group)) > 1 for group in groups) / len(groups)
    return {
        "step": step,
        "total_steps": steps,
        "critic_rewards_mean": math.fsum(rewards) / len(rewards),
        "critic_advantages_mean": signal * rng.gauss(0, 0.015),  # a mean over tokens, so not exactly 0
        "actor_pg_loss": signal * rng.gauss(0, 0.05),
        "actor_grad_norm": 9e-4 * math.sqrt(signal),
    }
