"""`rewards.score` on processes: throughput with one and two, and exactness of 100,000 answers after a crash.

`python benchmarks/scoring.py` takes about two minutes on two idle processors.

- Throughput: a reward that computes for about a millisecond for each answer, on a pool of one process and of two. They
  alternate, and the ratio of each pair is printed, with the median. On a loaded machine, two processes also get twice
  the share of one. The processor time of workers and of the calling process does not depend on the load; the ratio that
  it allows on two idle processors is printed too.
- Exactness: the worker ends within one batch, the call raises, and a second call resumes from the file. The indices,
  scores and errors of all answers are compared with the true ones.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bedrock_rft import rewards
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards import Rollout, reward

ANSWERS, COMPUTED, PAIRS = 100_000, 4_000, 5
WORK = 20_000
"""Additions for each answer."""


@reward
def computed(rollout: Rollout) -> float:
    """Compute for about a millisecond."""
    return float(sum(n * n % 7 for n in range(WORK)) > 0 and rollout.answer == rollout.reference)


@reward
def fragile(rollout: Rollout) -> float:
    """Compare; raise for some answers, and end the process once if the record names a file that does not exist."""
    flag = rollout.extra.get("flag")
    if flag and not Path(str(flag)).exists():
        Path(str(flag)).touch()
        os._exit(7)
    if rollout.answer == "raise":
        raise ValueError(rollout.answer)
    return float(rollout.answer == rollout.reference)


def raises(number: int) -> bool:
    """Return whether `fragile` raises for an answer."""
    return number % 1_000 == 1


def rows(count: int, flag: str = "") -> Iterator[dict[str, Any]]:
    """Yield records with an answer; the one at three fifths ends the worker if there is a flag."""
    for number in range(count):
        answer = "raise" if raises(number) else str(number % 5)
        record = {"messages": [{"role": "user", "content": f"Question {number}"}], "reference_answer": str(number % 7)}
        yield {**record, "answer": answer, "flag": flag if number == count * 3 // 5 else ""}


def pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that start alike on every system."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def rate(executor: ProcessPoolExecutor, count: int) -> float:
    """Return answers per second."""
    started = time.perf_counter()
    scored = sum(1 for _ in rewards.score(computed, rows(count), executor=executor))
    return scored / (time.perf_counter() - started)


def throughput(count: int) -> None:
    """Print answers per second of one process and of two, and their ratio."""
    ratios: list[float] = []
    own, workers = time.process_time(), _worker_seconds()
    with pool(1) as one, pool(2) as two:
        for executor in (one, two):
            rate(executor, 256)  # starts the workers
        for _ in range(PAIRS):
            single, double = rate(one, count), rate(two, count)
            ratios.append(double / single)
            print(f"one process {single:6.0f} answers/s   two {double:6.0f} answers/s   ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}; load of the machine {os.getloadavg()[0]:.1f}")
    own, workers = time.process_time() - own, _worker_seconds() - workers
    most = 2 * workers / (workers + own)
    print(f"processor time: workers {workers:.1f} s, caller {own:.1f} s; ratio of at most {most:.2f}\n")


def _worker_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def exactness(count: int) -> None:
    """Print the number of wrong results after a worker ended and a second call resumed."""
    with tempfile.TemporaryDirectory() as folder:
        flag, stored = str(Path(folder, "flag")), Path(folder, "scores.jsonl")
        started = time.perf_counter()
        first = 0
        try:
            with pool(2) as executor:
                for _ in rewards.score(fragile, rows(count, flag), executor=executor, resume=stored):
                    first += 1
        except RewardError as error:
            print(f"after {first:,} results: {error.message[:60]}…")
        with pool(2) as executor:
            found = list(rewards.score(fragile, rows(count, flag), executor=executor, resume=stored))
        seconds = time.perf_counter() - started
    wrong = sum(
        one.index != number
        or one.score != (0.0 if raises(number) else float(number % 5 == number % 7))
        or one.parts["reward_error"] != float(raises(number))
        for number, one in enumerate(found)
    )
    print(f"{len(found):,} of {count:,} results in {seconds:.0f} s, {wrong} wrong or out of order")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=ANSWERS, help="number of answers for exactness")
    parser.add_argument("--computed", type=int, default=COMPUTED, help="number of answers for throughput")
    given = parser.parse_args()
    throughput(given.computed)
    exactness(given.answers)
