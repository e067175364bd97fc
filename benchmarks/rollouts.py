"""Read recorded rollouts: the speed beside polars on the same files, and the memory for small and large recordings.

Run `python benchmarks/rollouts.py`. The files are like those of a reward function in Lambda: gzip-compressed JSON
lines, one file for each invocation with 256 rollouts of about one kilobyte. The goal, 60 % of the speed of polars, is
that of the extra `fast`; the output says whether it is installed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bedrock_rft import rollouts
from bedrock_rft.rewards._runtime.rollout import Score
from bedrock_rft.rewards._runtime.rollout_log import Origin, RolloutLog, ScoredEntry

_BATCH = 256
_BEGAN = datetime(2026, 11, 28, tzinfo=timezone.utc)


def write(folder: Path, count: int) -> None:
    """Write rollouts with texts of random words, five seconds between invocations."""
    log = RolloutLog(str(folder), include=("prompt", "answer", "reference", "fields"))
    numbers = random.Random(0)  # noqa: S311 - made-up data
    words = ["".join(numbers.choices("abcdefghijklmnopqrstuvwxyz", k=numbers.randrange(2, 10))) for _ in range(5000)]
    for batch in range(-(-count // _BATCH)):
        origin = Origin("grade", "lambda", f"request-{batch}", _BEGAN + batch * timedelta(seconds=5), "3", "c2hhMjU2=")
        log.write(
            origin, [_entry(numbers, words, batch, place) for place in range(min(_BATCH, count - batch * _BATCH))]
        )


def _entry(numbers: random.Random, words: list[str], batch: int, place: int) -> ScoredEntry:
    prompt, answer = (" ".join(numbers.choices(words, k=count)) for count in (30, 60))
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    fields = {"reference_answer": str(numbers.randrange(1000)), "topic": numbers.choice(words)}
    score = Score(numbers.random(), {"correct": numbers.random(), "format": 1.0}, {"characters": float(len(answer))})
    return ScoredEntry({"id": f"{batch}-{place}", "messages": messages, "metadata": fields}, score, numbers.random())


def read_records(folder: Path) -> int:
    """Return the number of records, each read as a `Record`."""
    count = 0
    for record in rollouts.read(folder):
        count += record.score >= 0
    return count


def read_frame(folder: Path) -> int:
    """Return the number of rows of the frame of all records."""
    return rollouts.read(folder).to_polars().height


def scan(folder: Path) -> int:
    """Return the number of rows that polars reads from the same files."""
    import polars as pl

    scanned: Any = pl.scan_ndjson(f"{folder}/**/*.jsonl.gz")
    return int(scanned.collect().height)


def seconds_of(function: Any, folder: Path, expected: int) -> tuple[float, float]:
    """Return the seconds that one call takes, and those of the processor in all threads."""
    began, busy = time.perf_counter(), time.process_time()
    assert function(folder) == expected  # noqa: S101 - a benchmark that reads less is wrong
    return time.perf_counter() - began, time.process_time() - busy


def memory_of(folder: Path) -> float:
    """Return the highest memory, in megabytes, of a process that iterates over all records."""
    done = subprocess.run([sys.executable, __file__, "--read", folder], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print the speed beside polars, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read_records(given.read)
        status = Path("/proc/self/status").read_text(encoding="utf-8")  # Linux; getrusage counts the parent process too
        print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return
    with TemporaryDirectory() as name:
        large, small = Path(name, "large"), Path(name, "small")
        write(large, given.count)
        write(small, 10_000)
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(given.rounds):
            for function in (scan, read_records, read_frame):  # in turn, so that other load concerns all
                times.setdefault(function.__name__, []).append(seconds_of(function, large, given.count))
        print(f"extra fast: {'installed' if find_spec('isal') and find_spec('msgspec') else 'not installed'}")
        base, base_busy = (median(values) for values in zip(*times["scan"], strict=True))
        for label, key in (
            ("polars.scan_ndjson", "scan"),
            ("for record in read()", "read_records"),
            ("to_polars()", "read_frame"),
        ):
            taken, busy = (median(values) for values in zip(*times[key], strict=True))
            speed = f"{given.count / taken:>10,.0f} rollouts/s, {base / taken:>4.0%} of the speed of polars"
            print(f"{label:<22}{speed}; {base_busy / busy:>4.0%} by processor time")
        print(f"memory: {memory_of(small):,.0f} MB for 10,000 rollouts, {memory_of(large):,.0f} MB for {given.count:,}")


if __name__ == "__main__":
    main()
