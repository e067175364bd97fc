"""Write a training file from records, and split it: python examples/datasets_write.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bedrock_rft import datasets
from bedrock_rft.datasets import TrainingRecord


def records() -> Iterator[TrainingRecord]:
    """What a program knows, as typed records; `level` goes to the grader."""
    for a in range(20):
        for b in range(10):
            yield TrainingRecord.of(f"What is {a} times {b}?", reference_answer=str(a * b), level=b)


def main() -> None:
    """Write 200 records, and put a tenth of the prompts aside for validation."""
    path = Path(sys.argv[1], "all.jsonl")
    print(datasets.write(path, records()))
    pair = datasets.split(path, share=0.1, seed=1)
    print(f"{pair.train_report.records} to train in {pair.train.name}")
    print(f"{pair.validation_report.records} to validate in {pair.validation.name}")


if __name__ == "__main__":
    main()
