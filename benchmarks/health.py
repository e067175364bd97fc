"""Hit and false-alarm rates of the health checks, on generated runs with known health.

`python benchmarks/health.py` prints four tables for 200 runs of each family, in about half an hour on an idle
processor. `--runs 20 --every 10` takes two minutes.

- Faults, in percent of the runs: `hit at the end / hit at any time · undecided / ok`. A hit is the alarm of this fault;
  at any time includes the time while the run is watched. A check is undecided or ok at the end.
- Healthy runs, in percent: `any false alarm at the end / at any time`.
- The same for healthy runs whose noise is correlated from step to step (an autoregressive process of order 1).
- The limit: the largest share of flat binary runs that any test of the mean rewards can find, by its share of false
  alarms. It is the power of the likelihood ratio test of flat runs against quick learners with a low plateau, which
  knows both families exactly; by Neyman and Pearson's lemma no other test is better, nor is one at any time.

`tests/support/run_families.py` describes the families. A watched run is judged after every step, one of more than 100
steps after every fifth.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bedrock_rft._core.findings import Findings
from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._health import health

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.run_families import (
    ANSWERS,
    FAULTS,
    HEALTHY,
    PROMPTS,
    REWARDS,
    GeneratedRun,
    generate,
    generate_correlated,
)

STEPS = (20, 67, 300)
CORRELATIONS = (0.5, 0.8)
ALARM_SHARES = (0.02, 0.035, 0.05)
GRID, DRAWN_PATHS = 200, 400
MANY, EVERY = 100, 5
"""A watched run of more than 100 steps is judged after every fifth, to save time."""
CHECKS = {
    "reward_flat": ("reward", "reward_trend"),
    "reward_low": ("reward", "reward_trend"),
    "reward_saturated": ("reward", "reward_trend"),
    "reward_falls": ("reward", "reward_trend"),
    "entropy_collapse": ("entropy", "entropy"),
    "gradient_grows": ("gradient", "gradient"),
    "gradient_spikes": ("gradient", "gradient"),
    "length_runaway": ("length", "length"),
    "length_collapse": ("length", "length"),
    "advantages_zero": ("advantages", "advantages"),
    "not_finite": ("", ""),
}
"""Codes of the findings `ok` and `unknown` of the check that raises an alarm."""


def judge(run: GeneratedRun) -> Findings:
    """Return the health of a run whose rewards lie between 0 and 1."""
    return health(run, Thresholds(), (0.0, 1.0))


def alarms(found: Findings) -> set[str]:
    """Return the codes of errors and warnings."""
    return {finding.code for finding in (*found.errors, *found.warnings)}


@dataclass
class Rates:
    """Counts over the runs of one family."""

    runs: int = 0
    ended: Counter[str] = field(default_factory=Counter[str])
    seen: Counter[str] = field(default_factory=Counter[str])
    results: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, run: GeneratedRun, steps: int, every: int) -> None:
        """Judge a run at its end and while it grows."""
        found = judge(run)
        ended = alarms(found)
        seen = ended.union(*(alarms(judge(run.until(step))) for step in range(every, steps, every)))
        self.runs += 1
        self.ended.update(ended)
        self.seen.update(seen)
        self.ended["any"] += bool(ended)
        self.seen["any"] += bool(seen)
        self.results.update({(finding.code, finding.level) for finding in found.findings})

    def percent(self, *counts: int) -> str:
        """Format counts as percentages of the runs."""
        return " / ".join(f"{100 * count / self.runs:.3g}" for count in counts)


def measure(family: str, reward: str, steps: int, runs: int, every: int | None) -> Rates:
    """Judge generated runs of one family."""
    rates = Rates()
    for seed in range(runs):
        rates.add(generate(family, reward, steps, seed), steps, every or (EVERY if steps > MANY else 1))
    return rates


def print_faults(lengths: list[int], runs: int, every: int | None) -> None:
    """Print the rates of hits."""
    print(f"| fault | alarm | steps | {' | '.join(REWARDS)} |\n|---|---|---|{'---|' * len(REWARDS)}")
    for fault, (code, _, _) in FAULTS.items():
        fine, unknown = CHECKS[code]
        for steps in lengths:
            cells: list[str] = []
            for reward in REWARDS:
                rates = measure(fault, reward, steps, runs, every)
                hits = rates.percent(rates.ended[code], rates.seen[code])
                cells.append(f"{hits} · {rates.percent(rates.results[unknown, 'unknown'], rates.results[fine, 'ok'])}")
            print(f"| {fault} | `{code}` | {steps} | {' | '.join(cells)} |", flush=True)


def print_healthy(lengths: list[int], runs: int, every: int | None) -> None:
    """Print the rates of false alarms."""
    print(f"\n| healthy run | steps | {' | '.join(REWARDS)} | alarms |\n|---|---|{'---|' * len(REWARDS)}---|")
    for family in HEALTHY:
        for steps in lengths:
            found = [measure(family, reward, steps, runs, every) for reward in REWARDS]
            cells = " | ".join(rates.percent(rates.ended["any"], rates.seen["any"]) for rates in found)
            codes = sorted({code for rates in found for code in rates.seen if rates.seen[code]} - {"any"})
            print(f"| {family} | {steps} | {cells} | {', '.join(f'`{code}`' for code in codes)} |", flush=True)


def print_correlated(lengths: list[int], runs: int, every: int | None) -> None:
    """Print the rates of false alarms if the noise of consecutive steps is correlated."""
    print(f"\n| healthy run | steps | correlation | {' | '.join(REWARDS)} |\n|---|---|---|{'---|' * len(REWARDS)}")
    for family in HEALTHY:
        for steps in lengths:
            for correlation in CORRELATIONS:
                cells: list[str] = []
                for reward in REWARDS:
                    rates = Rates()
                    for seed in range(runs):
                        run = generate_correlated(family, reward, steps, seed, correlation)
                        rates.add(run, steps, every or (EVERY if steps > MANY else 1))
                    cells.append(rates.percent(rates.ended["any"], rates.seen["any"]))
                print(f"| {family} | {steps} | {correlation} | {' | '.join(cells)} |", flush=True)


def step_probabilities(mean: float) -> list[float]:
    """Return the logarithms of the probabilities of the number of right answers in a step with binary rewards."""
    a, b = 2 * mean, 2 * (1 - mean)
    gamma = math.lgamma
    group = [
        math.comb(ANSWERS, k)
        * math.exp(gamma(k + a) + gamma(ANSWERS - k + b) + gamma(a + b) - gamma(ANSWERS + a + b) - gamma(a) - gamma(b))
        for k in range(ANSWERS + 1)
    ]
    total = [1.0]
    for _ in range(PROMPTS):
        grown = [0.0] * (len(total) + ANSWERS)
        for one, first in enumerate(total):
            for other, second in enumerate(group):
                grown[one + other] += first * second
        total = grown
    return [math.log(probability) for probability in total]


def likelihood(counts: list[int], family: list[list[list[float]]]) -> float:
    """Return the logarithm of the mean likelihood of the counts over the paths of a family."""
    logs = [math.fsum(step[count] for step, count in zip(path, counts, strict=True)) for path in family]
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(one - largest) for one in logs) / len(logs))


def print_limit(lengths: list[int], runs: int) -> None:
    """Print the power of the likelihood ratio test of flat runs against quick learners with a low plateau."""
    print(f"\n| steps | {' | '.join(f'{share:.1%} false alarms' for share in ALARM_SHARES)} |")
    print(f"|---|{'---|' * len(ALARM_SHARES)}")
    table = [step_probabilities(place / GRID) for place in range(1, GRID)]
    for steps in lengths:
        shares = [step / steps for step in range(1, steps + 1)]
        paths: dict[str, list[list[list[float]]]] = {}
        for family, draw in (("flat", FAULTS["flat"][1]), ("quick, low plateau", HEALTHY["quick, low plateau"])):
            rng = random.Random(family)  # noqa: S311 - seeded draws, nothing secret
            means = [draw(rng) for _ in range(DRAWN_PATHS)] if draw is not None else []
            paths[family] = [[table[round(mean(share) * GRID) - 1] for share in shares] for mean in means]
        ratios: dict[str, list[float]] = {}
        for family in paths:
            ratios[family] = []
            for seed in range(runs):
                rewards = generate(family, "binary", steps, seed).series("critic_rewards_mean")
                counts = [round(reward * PROMPTS * ANSWERS) for _, reward in rewards]
                flat, quick = (likelihood(counts, paths[one]) for one in paths)
                ratios[family].append(flat - quick)
        healthy = sorted(ratios["quick, low plateau"], reverse=True)
        cells = [
            f"{sum(ratio > healthy[int(share * runs)] for ratio in ratios['flat']) / runs:.1%}"
            for share in ALARM_SHARES
        ]
        print(f"| {steps} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure hit and false-alarm rates of the health checks.")
    parser.add_argument("--runs", type=int, default=200, help="runs of each family")
    parser.add_argument("--every", type=int, help="steps between two judgements of a watched run (1 or 5)")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="lengths of the jobs")
    parser.add_argument("--only", choices=("faults", "healthy", "correlated", "limit"), help="print one table only")
    options = parser.parse_args()
    lengths, runs, every = options.steps, options.runs, options.every
    if options.only in {None, "faults"}:
        print_faults(lengths, runs, every)
    if options.only in {None, "healthy"}:
        print_healthy(lengths, runs, every)
    if options.only in {None, "correlated"}:
        print_correlated(lengths, runs, every)
    if options.only in {None, "limit"}:
        print_limit(lengths, runs)


if __name__ == "__main__":
    main()
