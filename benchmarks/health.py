"""Hit and false-alarm rates of the health checks, on generated runs with known health.

`python benchmarks/health.py`, or `python benchmarks/health.py --runs 20` for a quick look.

- A hit: the alarm of the fault is raised, at the end of the job or at any time while it is watched.
- A false alarm: any alarm is raised for a healthy run, at the end or at any time.
- "Cannot tell": runs without an alarm whose finding on that metric is `unknown` at the end.

Watched runs are judged after every step, from the first one on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from bedrock_rft._core.findings import Findings
from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._health import health

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.run_families import FAULTS, HEALTHY, REWARDS, GeneratedRun, generate

STEPS = (20, 67, 300)
UNKNOWN = {
    "reward_flat": "reward_trend",
    "reward_low": "reward_trend",
    "reward_saturated": "reward_trend",
    "reward_falls": "reward_trend",
    "entropy_collapse": "entropy",
    "gradient_grows": "gradient",
    "gradient_spikes": "gradient",
    "length_runaway": "length",
    "length_collapse": "length",
    "advantages_zero": "advantages",
}
"""Codes of the findings that say that a check cannot tell, by alarm."""


def judge(run: GeneratedRun) -> Findings:
    """Return the health of a run whose rewards lie between 0 and 1."""
    return health(run, Thresholds(), (0.0, 1.0))


def alarms(found: Findings) -> set[str]:
    """Return the codes of errors and warnings."""
    return {finding.code for finding in (*found.errors, *found.warnings)}


def watched(run: GeneratedRun, steps: int, every: int) -> set[str]:
    """Return the codes of all alarms raised while the run grows."""
    return {code for step in range(every, steps, every) for code in alarms(judge(run.until(step)))}


class Rates:
    """Counts over runs of one family."""

    def __init__(self) -> None:
        self.runs = 0
        self.ended: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    def add(self, run: GeneratedRun, steps: int, every: int) -> None:
        """Count the findings on one run."""
        found = judge(run)
        ended = alarms(found)
        self.runs += 1
        self.ended.update(ended)
        self.ended["any"] += bool(ended)
        seen = ended | watched(run, steps, every)
        self.seen.update(seen)
        self.seen["any"] += bool(seen)
        self.unknown.update(finding.code for finding in found.unknown)
        self.said.update(
            " ".join(finding.summary.split(":")[0].split()[:4]) for finding in found.findings if finding.level == "ok"
        )


def measure(family: str, reward: str, steps: int, runs: int, every: int) -> Rates:
    """Judge generated runs of one family."""
    rates = Rates()
    for seed in range(runs):
        rates.add(generate(family, reward, steps, seed), steps, every)
    return rates


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="*", default=STEPS)
    options = parser.parse_args()
    for steps in options.steps:
        for reward in REWARDS:
            for family in HEALTHY:
                rates = measure(family, reward, steps, options.runs, options.every)
                print(
                    steps,
                    reward,
                    family,
                    dict(rates.ended),
                    "| seen",
                    dict(rates.seen),
                    "| unk",
                    dict(rates.unknown),
                    "|",
                    dict(rates.said),
                    flush=True,
                )
            for family, (code, _, _) in FAULTS.items():
                rates = measure(family, reward, steps, options.runs, options.every)
                print(
                    steps,
                    reward,
                    family,
                    code,
                    rates.ended[code],
                    rates.seen[code],
                    "| other",
                    {k: v for k, v in rates.seen.items() if k not in {code, "any"}},
                    "| unk",
                    rates.unknown[UNKNOWN.get(code, "")],
                    flush=True,
                )


if __name__ == "__main__":
    main()
