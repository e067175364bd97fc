"""What checking a data set costs, beside others reading the same file: MB/s and the memory it takes.

`python benchmarks/datasets.py`, or with `--megabytes 500 --rounds 5 --json`. together, orjson, msgspec and pydantic are
left out where they are not installed.

How the figures are made:

- Every side reads the same generated files, records of 1 KB and of 25 KB, each in a fresh process: it imports what it
  needs, reads a first small file, and then the clock starts. Sides take turns; speeds are of the fastest round, since a
  machine that is busy only ever slows one down.
- Memory is how far the peak of the process rises while the file is read, over what it was after the small file.
- `ours` is `datasets.validate`: every check, the statistics and the SHA-256. `sha256` is `hashlib` alone. `together` is
  its `check_file`. The others only parse each line, or, pydantic, validate it as a model: none of them hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

SIDES = ("ours", "sha256", "together", "json", "orjson", "msgspec", "pydantic")
TARGETS = {"1 KB": 1_000, "25 KB": 25_000}
_AT_LEAST = 3.0  # times together's speed
_SPEED, _HASHING = 250.0, 1100.0  # MB/s on 1 KB records, where hashlib alone has this
_GROWTH = 10.0  # MB


def main() -> None:
    """Generate the files, let every side read them, print the table."""
    asked = _arguments()
    if asked.side:
        print(json.dumps(_measured(asked.side, asked.warm, asked.file)))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        warm = Path(place, "warm.jsonl")
        _generate(warm, 1_000, 200_000)
        for name, record in TARGETS.items():
            file = Path(place, f"{record}.jsonl")
            _generate(file, record, asked.megabytes * 1_000_000)
            rows += _table(name, file, warm, asked.rounds, quiet=asked.json)
            file.unlink()
    if asked.json:
        print(json.dumps(rows, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure datasets.validate beside others.")
    parser.add_argument("--megabytes", type=int, default=200, help="size of each file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side reads it (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print every figure, for a program to read")
    for inner in ("--side", "--file", "--warm"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    return parser.parse_args()


def _generate(file: Path, record: int, size: int) -> None:
    """Chat records with words, quotes and line breaks, as prompts have them."""
    dice = random.Random(0)  # noqa: S311 - the same file every time
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(3000)]
    text = " ".join(dice.choice(words) if dice.random() > 0.03 else '"so"\n' for _ in range(40_000))  # noqa: PLR2004
    number = written = 0
    with file.open("wb") as out:
        while written < size:
            begin = dice.randrange(len(text) - record)
            row = {
                "messages": [
                    {"role": "system", "content": "You are a careful tutor. Think step by step."},
                    {"role": "user", "content": f"{number}: {text[begin : begin + record - 240]}"},
                ],
                "reference_answer": f"#### {number * 7}",
                "difficulty": number % 5,
                "source": "generated",
            }
            written += out.write(json.dumps(row).encode() + b"\n")
            number += 1


def _table(name: str, file: Path, warm: Path, rounds: int, *, quiet: bool) -> list[dict[str, Any]]:
    size = file.stat().st_size / 1e6
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for side in SIDES:
            if side in best and "missing" in best[side]:
                continue
            found = _process(side, file, warm)
            if side not in best or found.get("seconds", 0) < best[side]["seconds"]:
                best[side] = found
    rows = [
        {"records": name, "side": side, **found, "mb_per_s": size / found["seconds"] if "seconds" in found else None}
        for side, found in best.items()
    ]
    if not quiet:
        _show(name, size, rows)
    return rows


def _show(name: str, size: float, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name} records, {size:.0f} MB\n{'':10}{'MB/s':>8}{'growth':>10}{'ours is':>10}")
    speed = {row["side"]: row["mb_per_s"] for row in rows if row["mb_per_s"]}
    for row in rows:
        if row["mb_per_s"] is None:
            print(f"{row['side']:10}{'-':>8}  {row['missing']} is not installed")
            continue
        ratio = speed["ours"] / row["mb_per_s"]
        print(f"{row['side']:10}{row['mb_per_s']:8.0f}{row['grown']:7.1f} MB{ratio:9.2f}x")
    ours = next(row for row in rows if row["side"] == "ours")
    if "together" in speed:
        _verdict(f"at least {_AT_LEAST:.0f} x together", speed["ours"] / speed["together"], _AT_LEAST)
    if name == "1 KB":
        # A machine that hashes faster or slower is faster or slower at the rest too.
        scaled = speed["ours"] * _HASHING / speed["sha256"]
        _verdict(f"at least {_SPEED:.0f} MB/s where hashlib does {_HASHING:.0f}", scaled, _SPEED)
    _verdict(f"grows by less than {_GROWTH:.0f} MB", -ours["grown"], -_GROWTH)


def _verdict(what: str, found: float, least: float) -> None:
    print(f"  {what}: {abs(found):.1f}  {'met' if found >= least else 'NOT MET'}")


def _process(side: str, file: Path, warm: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--file", str(file), "--warm", str(warm)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _measured(side: str, warm: str, file: str) -> dict[str, Any]:
    try:
        read = _READERS[side]()
    except ImportError as error:
        return {"missing": error.name or side}
    read(warm)
    before, began = _peak(), time.perf_counter()
    read(file)
    return {"seconds": time.perf_counter() - began, "grown": _peak() - before}


def _peak() -> float:
    """MB of memory that this process has had at most."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _ours() -> Callable[[str], object]:
    from bedrock_rft.datasets import Rules, validate

    rules = Rules(minimum=1, maximum=10**9, disputed=10**9)
    return lambda path: validate(path, rules=rules).raise_for_errors()


def _sha256() -> Callable[[str], object]:
    def read(path: str) -> None:
        digest = hashlib.sha256()
        with Path(path).open("rb", buffering=0) as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)

    return read


def _together() -> Callable[[str], object]:
    check_file: Any = import_module("together.lib.utils.files").check_file

    def read(path: str) -> None:
        report: dict[str, Any] = check_file(path)
        if not report["is_check_passed"]:
            raise SystemExit(report["message"])

    return read


def _line_by_line(parse: Callable[[bytes], object]) -> Callable[[str], object]:
    def read(path: str) -> None:
        with Path(path).open("rb", buffering=1 << 20) as opened:
            for line in opened:
                parse(line)

    return read


def _json() -> Callable[[str], object]:
    return _line_by_line(json.loads)


def _orjson() -> Callable[[str], object]:
    return _line_by_line(import_module("orjson").loads)


def _msgspec() -> Callable[[str], object]:
    return _line_by_line(import_module("msgspec.json").Decoder().decode)


def _pydantic() -> Callable[[str], object]:
    from bedrock_rft.datasets import TrainingRecord

    return _line_by_line(TrainingRecord.model_validate_json)


_READERS: dict[str, Callable[[], Callable[[str], object]]] = {
    "ours": _ours,
    "sha256": _sha256,
    "together": _together,
    "json": _json,
    "orjson": _orjson,
    "msgspec": _msgspec,
    "pydantic": _pydantic,
}

if __name__ == "__main__":
    main()
