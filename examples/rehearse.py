"""Check the dataset and the reward, and rehearse the job, before you pay for it.

    python examples/rehearse.py --local                                                 on generated word problems
    python examples/rehearse.py --data train.jsonl --reward reward.py:lambda_handler
    python examples/rehearse.py --data train.jsonl --reward reward.py:lambda_handler --samples 4

No model is trained. Nothing is requested from Amazon Bedrock unless you pass `--samples`, the number of answers to
sample from the base model for each of 32 prompts; these cost tokens. The report is printed and written to
rehearsal.html. `--local` uses the local service instead of Amazon Bedrock.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import word_problems

from bedrock_rft import BedrockRFTError, Client
from bedrock_rft.rehearsal import rehearse

REWARD = f"{Path(__file__).with_name('reward.py')}:lambda_handler"


def main() -> int:
    """Rehearse. Return 1 if there are errors to fix."""
    parser = argparse.ArgumentParser(description="Rehearse a run on this machine.")
    parser.add_argument("--data", type=Path, help="the training file; generated word problems with --local")
    parser.add_argument("--reward", default=REWARD, help="file.py:name, a Lambda's zip, or an ARN (reward.py)")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the data (1)")
    parser.add_argument("--batch-size", type=int, default=8, help="prompts a step (8)")
    parser.add_argument(
        "--samples", type=int, default=0, help="answers to sample from the base model for each prompt (0)"
    )
    parser.add_argument("--local", action="store_true", help="use the local service instead of Amazon Bedrock")
    options = parser.parse_args()
    if not options.data and not options.local:
        parser.error("--data is needed, or --local")
    settings = {"n_epochs": options.epochs, "batch_size": options.batch_size}
    try:
        with contextlib.ExitStack() as stack:
            data, client = options.data, None
            if data is None:
                data = Path(stack.enter_context(tempfile.TemporaryDirectory()), "word_problems.jsonl")
                word_problems.write(data)
            if options.samples and options.local:
                from bedrock_rft.local import LocalService

                service = stack.enter_context(LocalService())
                client = stack.enter_context(Client(**service.client_options()))
                client.files.upload(data)  # the local service answers only prompts that it has seen
            elif options.samples:
                client = stack.enter_context(Client())
            report = rehearse(data, options.reward, hyperparameters=settings, samples=options.samples, client=client)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    report.to_html("rehearsal.html")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
