"""Coverage of evaluation intervals and error rates of verdicts, by simulation with known truth.

`python benchmarks/evaluation.py` takes half an hour; `python benchmarks/evaluation.py --runs 50` gives a quick look.

- Coverage: how often the 95 % interval contains the true mean, over true means from 0.05 to 0.95, and at how many of
  them the coverage is within 2 points of 95 %.
    - `one answer` to each prompt, right or wrong. This is the exact coverage, without simulation.
    - `four answers` to each prompt, right or wrong. Prompts differ in difficulty.
    - `graded` scores between 0 and 1.
    - `two parts`: half of the score is all or nothing, such as the format; the other half is graded.
- Limit: for one answer, the true means at which no interval without random numbers can be within 2 points. An interval
  covers a true mean for a set of outcomes, and sets of consecutive outcomes are tried.
- Verdicts: how often a comparison calls at least one model better or worse, if all models are equal (false verdicts)
  and if each is better by 0.2 (found). With fewer than 6 prompts there is no verdict.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Callable, Sequence

from bedrock_rft._core.statistics import Interval, mean_interval, share_interval
from bedrock_rft.evaluation._comparison import ScoreScale, compare_with_base
from bedrock_rft.evaluation._results import ModelResult

PROMPTS = (10, 30, 100)
TRUTHS = tuple(share / 100 for share in range(5, 96, 5))
SAMPLES = 4
TOLERANCE = 0.02
BASE_SHARE = 0.4
_NO_INTERVAL = Interval(math.nan, math.nan, math.nan)


def exact_coverage(count: int, truth: float) -> float:
    """Return the exact coverage of the interval of a share with one answer to each prompt."""
    covered = 0.0
    for passed in range(count + 1):
        interval = share_interval([1.0] * passed + [0.0] * (count - passed), count)
        if interval.low <= truth <= interval.high:
            covered += math.comb(count, passed) * truth**passed * (1 - truth) ** (count - passed)
    return covered


def unattainable(count: int) -> list[float]:
    """Return the true means at which no set of consecutive outcomes has a probability within 2 points of 95 %."""
    found: list[float] = []
    for truth in TRUTHS:
        chances = [math.comb(count, k) * truth**k * (1 - truth) ** (count - k) for k in range(count + 1)]
        sums = [0.0, *itertools.accumulate(chances)]
        pairs = itertools.combinations(sums, 2)
        if all(abs(after - before - 0.95) > TOLERANCE for before, after in pairs):
            found.append(truth)
    return found


def simulated_coverage(draw: Callable[[random.Random], Interval], truth: float, runs: int) -> float:
    """Return the share of simulated intervals that contain the true mean."""
    rng = random.Random(f"{truth}")  # noqa: S311 - a simulation
    covered = 0
    for _ in range(runs):
        interval = draw(rng)
        covered += interval.low <= truth <= interval.high
    return covered / runs


def several_answers(count: int, truth: float) -> Callable[[random.Random], Interval]:
    """Draw prompts whose difficulty varies around the true mean, with four answers each."""

    def draw(rng: random.Random) -> Interval:
        units: list[float] = []
        for _ in range(count):
            chance = rng.betavariate(2 * truth, 2 * (1 - truth))
            units.append(sum(rng.random() < chance for _ in range(SAMPLES)) / SAMPLES)
        return share_interval(units, count * SAMPLES)

    return draw


def graded(count: int, truth: float, passed: float = 0.0) -> Callable[[random.Random], Interval]:
    """Draw one score between 0 and 1 for each prompt, with the true mean.

    Args:
        count: number of prompts.
        truth: the true mean of both parts of the score.
        passed: weight of the part that is 0 or 1; the rest has a beta distribution.
    """

    def draw(rng: random.Random) -> Interval:
        scores = [
            passed * (rng.random() < truth) + (1 - passed) * rng.betavariate(4 * truth, 4 * (1 - truth))
            for _ in range(count)
        ]
        return mean_interval(scores, (0.0, 1.0), rng.randrange(2**32))

    return draw


def model(name: str, scores: Sequence[float]) -> ModelResult:
    """Return the result of a model with one answer to each prompt."""
    return ModelResult(
        model=name,
        label=name,
        answers=len(scores),
        failed=0,
        score=_NO_INTERVAL,
        score_with_missing=_NO_INTERVAL,
        pass_at={},
        parts={},
        prompt_tokens=0,
        completion_tokens=0,
        cut_off=0.0,
        scores={index: (score,) for index, score in enumerate(scores)},
    )


def verdict_rate(prompts: int, models: int, gain: float, runs: int) -> float:
    """Return the share of evaluations in which at least one model gets a verdict."""
    rng = random.Random(f"{prompts} {models} {gain}")  # noqa: S311 - a simulation
    scale = ScoreScale(0.0, 1.0, 1, 0)
    clusters = {index: str(index) for index in range(prompts)}
    decided = 0
    for _ in range(runs):
        base = model("base", [float(rng.random() < BASE_SHARE) for _ in range(prompts)])
        others = [
            model(f"m{number}", [float(rng.random() < BASE_SHARE + gain) for _ in range(prompts)])
            for number in range(models)
        ]
        comparisons = compare_with_base([base, *others], clusters, scale)
        decided += any(comparison.verdict != "undecided" for comparison in comparisons)
    return decided / runs


def print_coverage(runs: int) -> None:
    """Print mean, lowest and highest coverage over the true means."""
    error = math.sqrt(0.05 * 0.95 / runs)
    print(f"Standard error of a simulated coverage: {error:.1%}\n")
    print("| scores | prompts | mean coverage | lowest | highest | true means within 2 points |")
    print("|---|---|---|---|---|---|")
    kinds: dict[str, Callable[[int, float], float]] = {
        "one answer": exact_coverage,
        "four answers": lambda count, truth: simulated_coverage(several_answers(count, truth), truth, runs),
        "graded": lambda count, truth: simulated_coverage(graded(count, truth), truth, runs),
        "two parts": lambda count, truth: simulated_coverage(graded(count, truth, 0.5), truth, runs),
    }
    for name, coverage in kinds.items():
        for count in PROMPTS:
            # The methods treat high and low scores alike, so true means above 0.5 mirror those below.
            rates = [coverage(count, truth) for truth in TRUTHS[: len(TRUTHS) // 2 + 1]]
            rates += rates[-2::-1]
            average, near = sum(rates) / len(rates), sum(abs(rate - 0.95) <= TOLERANCE for rate in rates)
            figures = f"{average:.1%} | {min(rates):.1%} | {max(rates):.1%} | {near} of {len(rates)}"
            print(f"| {name} | {count} | {figures} |", flush=True)


def print_limit() -> None:
    """Print the true means at which no interval of a share of one answer to each prompt can be within 2 points."""
    for count in PROMPTS:
        means = ", ".join(f"{truth:.2f}" for truth in unattainable(count)) or "none"
        print(f"One answer, {count} prompts: true means that no interval covers within 2 points: {means}")


def print_verdicts(runs: int) -> None:
    """Print the rates of false and of true verdicts."""
    print("\n| prompts | models compared | false verdicts | gain of 0.2 found |\n|---|---|---|---|")
    for prompts in (3, 6, 12, 30, 100):
        for models in (1, 5):
            false, found = (verdict_rate(prompts, models, gain, max(200, runs // 4)) for gain in (0.0, 0.2))
            print(f"| {prompts} | {models} | {false:.1%} | {found:.1%} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Coverage of intervals and error rates of verdicts.")
    parser.add_argument("--runs", type=int, default=800, help="simulations for each setting (800)")
    runs: int = parser.parse_args().runs
    print_coverage(runs)
    print_limit()
    print_verdicts(runs)


if __name__ == "__main__":
    main()
