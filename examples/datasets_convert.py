"""Turn what other services train on into a training file: python examples/datasets_convert.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bedrock_rft import datasets
from bedrock_rft.datasets import Rules


def user(text: str) -> dict[str, Any]:
    """What a user says."""
    return {"role": "user", "content": text}


ROWS: dict[str, dict[str, Any]] = {
    "OpenAI RFT item": {"messages": [user("Which colour is the sky?")], "reference_colour": "blue"},
    "SFT chat": {"messages": [user("2 + 2?"), {"role": "assistant", "content": "4"}]},
    "prompt and completion": {"prompt": "3 + 3?", "completion": "6"},
    "Nova RFT row": {"id": "n-1", "messages": [user("2x = 6")], "reference_answer": {"x": 3}, "tools": []},
    "SageMaker RFT row": {"prompt": [user("5 + 5?")], "reward_model": {"style": "rule", "ground_truth": "10"}},
}


def main() -> None:
    """The format of each record is told from its fields; format= says it for all."""
    for name, row in ROWS.items():
        [record] = datasets.convert([row])
        print(f"{name}: {record}")
    few = Rules(minimum=1)
    print(datasets.write(Path(sys.argv[1], "train.jsonl"), datasets.convert(ROWS.values()), rules=few))


if __name__ == "__main__":
    main()
