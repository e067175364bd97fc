"""Compare the base model with the tuned model, using the reward of the training job.

    python examples/evaluate.py --local                                                    on this machine
    python examples/evaluate.py --data test.jsonl --reward reward.py:lambda_handler
    python examples/evaluate.py --data test.jsonl --reward reward.py:lambda_handler --job ftjob-…

Use prompts that the model was not trained on. Each answer is one request, billed by the token. Answers are stored in
evaluation.jsonl as they arrive; after a crash, a second run requests only the missing ones. The report is printed and
written to evaluation.html with examples side by side.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import BedrockRFTError, Client, Job, datasets
from bedrock_rft.local import LocalService

MODEL = "openai.gpt-oss-20b"
FUNCTION = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # the local service calls reward.py instead
REWARD = f"{Path(__file__).with_name('reward.py')}:lambda_handler"


def main() -> int:
    """Run the evaluation. Return 1 if it failed."""
    parser = argparse.ArgumentParser(description="Compare a tuned model with its base.")
    parser.add_argument("--data", type=Path, help="prompts to ask; generated word problems with --local")
    parser.add_argument("--reward", default=REWARD, help="file.py:name, a Lambda's zip, or an ARN (reward.py)")
    parser.add_argument("--model", default=MODEL, help=f"the base model ({MODEL})")
    parser.add_argument("--job", help="a job whose tuned model and checkpoints to compare")
    parser.add_argument("--samples", type=int, default=4, help="answers to each prompt (4)")
    parser.add_argument("--local", action="store_true", help="train and sample on the local service")
    options = parser.parse_args()
    if not options.data and not options.local:
        parser.error("--data is needed, or --local")
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service, settings come from the environment
            if options.local:
                settings = stack.enter_context(LocalService(reward=REWARD)).client_options()
            client = stack.enter_context(Client(**settings))
            print(client.identity)
            data, job = options.data, client.jobs.retrieve(options.job) if options.job else None
            if options.local:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                data, job = train(client, folder, data, options.model)
            models = [options.model, *([job, *client.jobs.checkpoints(job)] if job else [])]
            report = client.evaluate(
                data, models=models, reward=options.reward, samples=options.samples, resume="evaluation.jsonl"
            )
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report)
    report.to_html("evaluation.html")
    return 0


def train(client: Client, folder: Path, data: Path | None, model: str) -> tuple[Path, Job]:
    """Tune a model on most of the dataset, and return it with the records held back for the evaluation."""
    if data is None:
        data = folder / "word_problems.jsonl"
        word_problems.write(data, count=120)
    parts = datasets.split(data, train=folder / "train.jsonl", validation=folder / "validation.jsonl")
    job = client.jobs.create(
        model,
        training_file=client.files.upload(parts.train),
        validation_file=client.files.upload(parts.validation, validate=datasets.Limits(min_records=1)),
        reward=FUNCTION,
        hyperparameters={"n_epochs": 1, "batch_size": 8},
    )
    return parts.validation, client.jobs.wait(job, poll_interval=0.1)


if __name__ == "__main__":
    sys.exit(main())
