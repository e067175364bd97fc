"""Convert the datasets of other trainers to a training file: python examples/datasets_convert.py FOLDER."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bedrock_rft import datasets
from bedrock_rft.datasets import Limits


def user(text: str) -> dict[str, Any]:
    """Return a user message."""
    return {"role": "user", "content": text}


ROWS: dict[str, dict[str, Any]] = {
    "OpenAI RFT item": {"messages": [user("Which colour is the sky?")], "reference_colour": "blue"},
    "SFT chat": {"messages": [user("2 + 2?"), {"role": "assistant", "content": "4"}]},
    "prompt and completion": {"prompt": "3 + 3?", "completion": "6"},
    "Nova RFT row": {"id": "n-1", "messages": [user("2x = 6")], "reference_answer": {"x": 3}, "tools": []},
    "SageMaker RFT row": {"prompt": [user("5 + 5?")], "reward_model": {"style": "rule", "ground_truth": "10"}},
}


def run(folder: Path) -> None:
    """Convert records in several formats. Each format is detected from the fields; `format=` sets one for all."""
    for name, row in ROWS.items():
        [record] = datasets.convert([row])
        print(f"{name}: {record}")
    few = Limits(min_records=1)
    print(datasets.write(Path(folder, "train.jsonl"), datasets.convert(ROWS.values()), limits=few))


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
