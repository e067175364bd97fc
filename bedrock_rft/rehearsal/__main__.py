"""`python -m bedrock_rft.rehearsal train.jsonl --reward reward.py:lambda_handler`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from bedrock_rft import Client
from bedrock_rft._core.output import print_error, print_line
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.rehearsal._rehearse import MODEL, rehearse


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse a run. 0 where there is no error, 1 where there is, 2 where it cannot be rehearsed."""
    options = _parser().parse_args(arguments)
    given = {name: getattr(options, name) for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        with Client() if options.samples else contextlib.nullcontext() as client:
            report = rehearse(
                options.dataset,
                options.reward,
                hyperparameters=settings,
                client=client,
                limit=options.limit,
                model=options.model,
                samples=options.samples,
                prompts=options.prompts,
                seed=options.seed,
            )
        for path, write in ((options.html, report.to_html), (options.json, report.to_json)):
            if path is not None:
                write(path)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2
    except OSError as error:
        print_error(f"error: {sanitize_line(str(error))}")
        return 2
    print_line(str(report))
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bedrock_rft.rehearsal", description="A run, rehearsed on this machine before it is paid for."
    )
    parser.add_argument("dataset", help="a JSONL file to train on")
    parser.add_argument(
        "--reward", required=True, help="path/to/file.py:name, a Lambda's zip, or the ARN of a function"
    )
    parser.add_argument("--n-epochs", type=int, help="of the job to come")
    parser.add_argument("--batch-size", type=int, help="prompts per step")
    parser.add_argument("--learning-rate-multiplier", type=float, help="scales the learning rate")
    parser.add_argument("--limit", type=int, help="records that the job is rehearsed on, at most (400 or more)")
    parser.add_argument("--samples", type=int, default=0, help="answers of the base model to each prompt; costs tokens")
    parser.add_argument("--prompts", type=int, default=32, help="prompts that the base model is asked (32)")
    parser.add_argument("--model", default=MODEL, help=f"the base model ({MODEL})")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of records and of the training")
    parser.add_argument("--html", help="write the report as a page as well")
    parser.add_argument("--json", help="write the report as JSON as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
