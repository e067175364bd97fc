"""Speed and memory of the check of a dataset, compared with other readers of the same file.

`python benchmarks/datasets.py`, perhaps with `--rounds 7 --json`; about one minute on a quiet machine. together, orjson
and msgspec are skipped if they are not installed: `pip install together orjson msgspec`.

Method:

- Every side reads the same generated files, the largest that the service accepts: 20,000 records of 1 KB and 4,000
  records of 25 KB. A larger one (`--megabytes`) shows that memory does not grow. Each side runs in a new process: it
  imports its libraries, reads a small file, and then the clock starts. Sides take turns. Speeds are medians over the
  rounds, and so are the ratios, each within one round, because a busy machine slows both.
- Memory is the growth of the peak of the process while it reads the file, in the worst round.
- `ours` is `datasets.validate`: all checks, the statistics and the SHA-256. `sha256` is `hashlib` alone. `together` is
  its `check_file`. The others only parse each line, or, for pydantic, validate it as a model; none of them hashes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

SIDES = ("ours", "sha256", "together", "json", "orjson", "msgspec", "pydantic")
FILES = {"20,000 of 1 KB": (1_000, 20_000), "4,000 of 25 KB": (25_000, 4_000)}
_MIN_RATIO = 1.0  # times the speed of together
_MAX_GROWTH = 10.0  # MB more than together


def main() -> None:
    """Generate the files, let every side read them, and print a table."""
    options = _arguments()
    if options.side:
        print(json.dumps(_measure(options.side, options.warm, options.file)))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder, "warm.jsonl")
        _generate(warm, 1_000, 200)
        files = dict(FILES)
        if options.megabytes:
            files[f"{options.megabytes} MB of 1 KB"] = (1_000, options.megabytes * 1_000)
        for name, (record, count) in files.items():
            file = Path(folder, "data.jsonl")
            _generate(file, record, count)
            rows += _compare(name, file, warm, options.rounds, quiet=options.json)
    if options.json:
        print(json.dumps(rows, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare datasets.validate with other readers.")
    parser.add_argument("--megabytes", type=int, default=500, help="size of a further file, 0 for none (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="number of times that each side reads it (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    for inner in ("--side", "--file", "--warm"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    return parser.parse_args()


def _generate(file: Path, record: int, count: int) -> None:
    """Return chat records with words, quotes and line breaks, as in real prompts."""
    dice = random.Random(0)  # noqa: S311 - the same file every time
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(3000)]
    text = " ".join(dice.choice(words) if dice.random() > 0.03 else '"so"\n' for _ in range(40_000))  # noqa: PLR2004
    with file.open("wb") as out:
        for number in range(count):
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
            out.write(json.dumps(row).encode() + b"\n")


def _compare(name: str, file: Path, warm: Path, rounds: int, *, quiet: bool) -> list[dict[str, Any]]:
    size = file.stat().st_size / 1e6
    missing: dict[str, str] = {}
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            if side in missing:
                continue
            result = _run_process(side, file, warm)
            if "missing" in result:
                missing[side] = result["missing"]
            else:
                result["mb_per_s"] = size / result["seconds"]
                results[side].append(result)
    rows: list[dict[str, Any]] = []
    for side, measured in results.items():
        if side in missing:
            rows.append({"file": name, "side": side, "missing": missing[side]})
            continue
        ratios = [ours["mb_per_s"] / other["mb_per_s"] for ours, other in zip(results["ours"], measured, strict=True)]
        rows.append(
            {
                "file": name,
                "side": side,
                "mb_per_s": statistics.median(result["mb_per_s"] for result in measured),
                "min_mb_per_s": min(result["mb_per_s"] for result in measured),
                "max_mb_per_s": max(result["mb_per_s"] for result in measured),
                "growth_mb": max(result["growth_mb"] for result in measured),
                "ours_ratio": statistics.median(ratios),
            }
        )
    if not quiet:
        _show(f"{name}, {size:.0f} MB", rows)
    return rows


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'':10}{'MB/s':>7}{'min':>8}{'max':>7}{'growth':>11}{'ours is':>11}")
    by_side: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "missing" in row:
            print(f"{row['side']:10}{'-':>7}  {row['missing']} is not installed")
            continue
        by_side[row["side"]] = row
        print(
            f"{row['side']:10}{row['mb_per_s']:7.0f}{row['min_mb_per_s']:8.0f}{row['max_mb_per_s']:7.0f}"
            f"{row['growth_mb']:8.1f} MB{row['ours_ratio']:10.2f}x"
        )
    if "together" in by_side:
        ratio = by_side["together"]["ours_ratio"]
        growth = by_side["ours"]["growth_mb"] - by_side["together"]["growth_mb"]
        met = "met" if ratio >= _MIN_RATIO else "NOT MET"
        print(f"  {ratio:.2f} times the speed of together's check_file, target at least {_MIN_RATIO:.1f}: {met}")
        met = "met" if growth <= _MAX_GROWTH else "NOT MET"
        print(f"  {growth:.1f} MB more memory than together, target at most {_MAX_GROWTH:.0f}: {met}")


def _run_process(side: str, file: Path, warm: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--file", str(file), "--warm", str(warm)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _measure(side: str, warm: str, file: str) -> dict[str, Any]:
    try:
        read = _READERS[side]()
    except ImportError as error:
        return {"missing": error.name or side}
    read(warm)
    before, start = _peak(), time.perf_counter()
    read(file)
    return {"seconds": time.perf_counter() - start, "growth_mb": _peak() - before}


def _peak() -> float:
    """Return the peak memory of this process in MB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _ours() -> Callable[[str], object]:
    from bedrock_rft.datasets import Limits, validate

    limits = Limits(min_records=1, max_records=10**9, warn_records=10**9)
    return lambda path: validate(path, limits=limits).raise_for_errors()


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
