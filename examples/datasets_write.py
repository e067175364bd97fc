"""Write a training file from records, and split it: python examples/datasets_write.py FOLDER."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bedrock_rft import datasets
from bedrock_rft.datasets import TrainingRecord


def records() -> Iterator[TrainingRecord]:
    """Yield typed records. The service passes `level` to the grader."""
    for a in range(20):
        for b in range(10):
            yield TrainingRecord.of(f"What is {a} times {b}?", reference_answer=str(a * b), level=b)


def run(folder: Path) -> None:
    """Write 200 records, then split off a tenth of the prompts for validation."""
    path = Path(folder, "all.jsonl")
    print(datasets.write(path, records()))
    pair = datasets.split(path, share=0.1, seed=1)
    print(f"{pair.train_report.records} to train in {pair.train.name}")
    print(f"{pair.validation_report.records} to validate in {pair.validation.name}")


def main() -> None:
    """Write into the given folder, or into a temporary one."""
    parser = argparse.ArgumentParser(description="Write training files.")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="where to write")
    parser.add_argument("--local", action="store_true", help="write into a temporary folder")
    options = parser.parse_args()
    if options.local:
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder))
    elif options.folder:
        run(options.folder)
    else:
        parser.error("give a folder, or --local")


if __name__ == "__main__":
    main()
