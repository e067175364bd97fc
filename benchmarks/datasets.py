"""What checking a data set costs, beside others reading the same file: MB/s and the memory it takes.

`python benchmarks/datasets.py`, or with `--megabytes 500 --rounds 7 --json`; about four minutes on a quiet machine.
together, orjson and msgspec are left out where they are not installed: `pip install together orjson msgspec`.

How the figures are made:

- Every side reads the same generated files, records of 1 KB and of 25 KB, each in a fresh process: it imports what it
  needs, reads a first small file, and then the clock starts. Sides take turns, and speeds are medians over the rounds.
  How many times faster `ours` is, is the median over the rounds too, each compared with itself, since a machine that is
  busy slows both.
- Memory is how far the peak of the process rises while the file is read, over what it was after the small file, in the
  worst round. What further processes take, all in all, stands below the table; it is seen on Linux only.
- `ours` is `datasets.validate` as it comes: every check, the statistics and the SHA-256, and further processes from 128
  MiB of short lines on. `sha256` is `hashlib` alone. `together` is its `check_file`. The others only parse each line,
  or, pydantic, validate it as a model: none of them hashes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

SIDES = ("ours", "sha256", "together", "json", "orjson", "msgspec", "pydantic")
TARGETS = {"1 KB": 1_000, "25 KB": 25_000}
_AT_LEAST = 3.0  # times together's speed
_SPEED, _HASHING = 250.0, 1100.0  # MB/s on 1 KB records, where hashlib alone has this
_GROWTH = 10.0  # MB
_LOOK = 0.1  # seconds between two looks at the memory of further processes


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
        for megabytes, (name, record) in product(asked.megabytes, TARGETS.items()):
            file = Path(place, f"{record}.jsonl")
            _generate(file, record, megabytes * 1_000_000)
            rows += _table(name, file, warm, asked.rounds, quiet=asked.json)
            file.unlink()
    if asked.json:
        print(json.dumps(rows, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure datasets.validate beside others.")
    parser.add_argument(
        "--megabytes", type=int, nargs="+", default=[200, 1000], help="sizes of the files (200 and 1000)"
    )
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
    missing: dict[str, str] = {}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            if side in missing:
                continue
            one = _process(side, file, warm)
            if "missing" in one:
                missing[side] = one["missing"]
            else:
                one["mb_per_s"] = size / one["seconds"]
            found[side].append(one)
    rows: list[dict[str, Any]] = []
    for side, all_ in found.items():
        if side in missing:
            rows.append({"records": name, "megabytes": round(size), "side": side, "missing": missing[side]})
            continue
        ratios = [ours["mb_per_s"] / one["mb_per_s"] for ours, one in zip(found["ours"], all_, strict=True)]
        rows.append(
            {
                "records": name,
                "megabytes": round(size),
                "side": side,
                "mb_per_s": statistics.median(one["mb_per_s"] for one in all_),
                "least_mb_per_s": min(one["mb_per_s"] for one in all_),
                "most_mb_per_s": max(one["mb_per_s"] for one in all_),
                "grown_mb": max(one["grown"] for one in all_),
                "processes": max(one["processes"] for one in all_),
                "processes_mb": max(one["processes_mb"] for one in all_),
                "ours_is": statistics.median(ratios),
            }
        )
    if not quiet:
        _show(name, size, rows)
    return rows


def _show(name: str, size: float, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name} records, {size:.0f} MB\n{'':10}{'MB/s':>7}{'from':>8}{'to':>7}{'growth':>11}{'ours is':>11}")
    at: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "missing" in row:
            print(f"{row['side']:10}{'-':>7}  {row['missing']} is not installed")
            continue
        at[row["side"]] = row
        print(
            f"{row['side']:10}{row['mb_per_s']:7.0f}{row['least_mb_per_s']:8.0f}{row['most_mb_per_s']:7.0f}"
            f"{row['grown_mb']:8.1f} MB{row['ours_is']:10.2f}x"
        )
    ours = at["ours"]
    if "together" in at:
        _verdict("times as fast as together's check_file", at["together"]["ours_is"], _AT_LEAST)
    if name == "1 KB":
        # A machine that hashes faster or slower is faster or slower at the rest too.
        _verdict(f"MB/s where hashlib does {_HASHING:.0f} MB/s", at["sha256"]["ours_is"] * _HASHING, _SPEED)
    _verdict("MB of growth", -ours["grown_mb"], -_GROWTH)
    if ours["processes"]:
        print(f"  {ours['processes_mb']:6.1f} MB are taken by {ours['processes']} further processes")


def _verdict(what: str, found: float, bound: float) -> None:
    wanted = f"at least {bound:.0f}" if bound > 0 else f"less than {-bound:.0f}"
    print(f"  {abs(found):6.1f} {what}, target {wanted}: {'met' if found >= bound else 'NOT MET'}")


def _process(side: str, file: Path, warm: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--file", str(file), "--warm", str(warm)]
    peaks: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            peaks.update(_children(process.pid))
            time.sleep(_LOOK)
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(process.returncode)
    found: dict[str, Any] = json.loads(said)
    return {**found, "processes": len(peaks), "processes_mb": sum(peaks.values())}


def _children(parent: int) -> dict[str, float]:
    """MB of memory that each process which another started has had at most, where the system tells."""
    found: dict[str, float] = {}
    for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in tasks.read_text().split():
                peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{child}/status").read_text())
                if peak:
                    found[child] = int(peak.group(1)) * 1024 / 1e6
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
