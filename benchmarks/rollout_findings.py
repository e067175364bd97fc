"""Hit and false-alarm rates of the findings on recorded rollouts, on generated runs with known behaviour.

`python benchmarks/rollout_findings.py` prints two tables for 50 runs of each family, in about ten minutes on an idle
processor; `--runs 4` takes one. `tests/support/rollout_families.py` describes the families: 20 steps with 96 rollouts
each.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bedrock_rft.rollouts._report import rollout_report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.rollout_families import BEHAVIOURS, HEALTHY, Case, generate


def alarms(make: Callable[[Case], None], seed: int) -> set[str]:
    """Return the codes of the errors and warnings of one run."""
    report = rollout_report(generate(make, seed=seed), "a generated run")
    return {finding.code for finding in (*report.errors, *report.warnings)}


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=50)
    runs = range(arguments.parse_args().runs)
    print(f"| behaviour, {len(runs)} runs each | finding | found | other findings |\n|---|---|---|---|")
    for name, (code, make) in BEHAVIOURS.items():
        found = [alarms(make, seed) for seed in runs]
        others = Counter(other for codes in found for other in codes if other != code)
        listed = ", ".join(f"`{other}` {count / len(runs):.0%}" for other, count in others.most_common())
        print(f"| {name} | `{code}` | {sum(code in codes for codes in found) / len(runs):.0%} | {listed} |", flush=True)
    print("\n| healthy | runs with a false alarm | which |\n|---|---|---|")
    for name, make in HEALTHY.items():
        found = [alarms(make, seed) for seed in runs]
        which = ", ".join(f"`{code}`" for code in sorted({code for codes in found for code in codes}))
        print(f"| {name} | {sum(map(bool, found)) / len(runs):.0%} | {which} |", flush=True)


if __name__ == "__main__":
    main()
