"""Write training files from pandas, polars and Hugging Face data: python examples/datasets_frames.py FOLDER.

Each library is used only if it is installed; the package itself imports none of them.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

from bedrock_rft import datasets

TABLE = {
    "question": [f"What is {n} squared?" for n in range(100)],
    "answer": [str(n * n) for n in range(100)],
    "level": [n % 3 for n in range(100)],
}


def frame(library: str) -> Any:
    """Return the table as a frame of one library."""
    module = importlib.import_module(library)
    return module.Dataset.from_dict(TABLE) if library == "datasets" else module.DataFrame(TABLE)


def run(folder: Path) -> None:
    """Write one file for each library. The `level` column is passed to the grader."""
    for library in ("pandas", "polars", "datasets"):
        try:
            data = frame(library)
        except ImportError:
            print(f"{library} is not installed")
            continue
        report = datasets.write(
            Path(folder, f"{library}.jsonl"),
            data,
            prompt="question",
            system=lambda _: "Answer with a number.",
            reference_answer="answer",
        )
        print(f"{library}: {report.raise_for_errors().records} records")


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
