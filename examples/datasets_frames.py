"""Write training files from pandas, polars and Hugging Face data: python examples/datasets_frames.py FOLDER.

Whichever of them is installed is shown; the package itself imports none of them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from bedrock_rft import datasets

TABLE = {
    "question": [f"What is {n} squared?" for n in range(100)],
    "answer": [str(n * n) for n in range(100)],
    "level": [n % 3 for n in range(100)],
}


def frame(library: str) -> Any:
    """The table as a frame of this library."""
    module = importlib.import_module(library)
    return module.Dataset.from_dict(TABLE) if library == "datasets" else module.DataFrame(TABLE)


def main() -> None:
    """Columns are named; `level` is passed on to the grader."""
    for library in ("pandas", "polars", "datasets"):
        try:
            data = frame(library)
        except ImportError:
            print(f"{library} is not installed")
            continue
        report = datasets.write(
            Path(sys.argv[1], f"{library}.jsonl"),
            data,
            prompt="question",
            system=lambda _: "Answer with a number.",
            reference_answer="answer",
        )
        print(f"{library}: {report.raise_for_errors().records} records")


if __name__ == "__main__":
    main()
