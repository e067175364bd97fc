"""Sample the base model on each prompt, and keep the prompts that are neither too hard nor too easy for it.

    python examples/select_prompts.py --local                                                    on this machine
    python examples/select_prompts.py --data train.jsonl --reward reward.py:lambda_handler

A prompt that is always or never solved gives no signal and costs as much as any other. Each answer is one request,
billed by the token. Answers are stored in answers.jsonl as they arrive; after a crash, a second run requests only the
missing ones. The difficulty of each prompt is written to difficulty.json, the kept records to selected.jsonl, and the
dropped ones with their reasons to selected.selection.json.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import BedrockRFTError, Client, datasets
from bedrock_rft.local import LocalService

REWARD = f"{Path(__file__).with_name('reward.py')}:lambda_handler"


def main() -> int:
    """Select prompts. Return 1 if that failed."""
    parser = argparse.ArgumentParser(description="Keep the prompts of a suitable difficulty.")
    parser.add_argument("--data", type=Path, help="the training file; generated word problems with --local")
    parser.add_argument("--reward", default=REWARD, help="file.py:name, a Lambda's zip, or an ARN (reward.py)")
    parser.add_argument("--model", default="openai.gpt-oss-20b", help="the base model (openai.gpt-oss-20b)")
    parser.add_argument("--samples", type=int, default=4, help="answers to each prompt (4)")
    parser.add_argument("--low", type=float, default=0.1, help="lowest pass rate to keep (0.1)")
    parser.add_argument("--high", type=float, default=0.9, help="highest pass rate to keep (0.9)")
    parser.add_argument("--out", type=Path, default=Path("selected.jsonl"), help="the file to write (selected.jsonl)")
    parser.add_argument("--local", action="store_true", help="sample the model of the local service")
    options = parser.parse_args()
    if not options.data and not options.local:
        parser.error("--data is needed, or --local")
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service, settings come from the environment
            if options.local:
                settings = stack.enter_context(LocalService(reward=REWARD)).client_options()
            client, data = stack.enter_context(Client(**settings)), options.data
            if data is None:
                data = Path(stack.enter_context(tempfile.TemporaryDirectory()), "word_problems.jsonl")
                word_problems.write(data, count=150)
            if options.local:
                client.files.upload(data)  # the local service answers only prompts that it has seen
            base = client.evaluate(
                data, models=[options.model], reward=options.reward, samples=options.samples, resume="answers.jsonl"
            )
            difficulty = base.difficulty()
            difficulty.to_json("difficulty.json")
            print(difficulty, end="\n\n")
            print(datasets.select(data, difficulty, low=options.low, high=options.high, out=options.out))
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
