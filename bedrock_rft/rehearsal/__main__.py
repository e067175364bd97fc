"""The command `python -m bedrock_rft.rehearsal train.jsonl --reward reward.py:lambda_handler`."""

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
from bedrock_rft.rewards._targets.resolve import load_gold


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse a run; return 0 without errors, 1 with errors, 2 if it cannot be rehearsed."""
    options = _parser().parse_args(arguments)
    names = ("n_epochs", "batch_size", "learning_rate_multiplier")
    hyperparameters = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        with Client() if options.samples else contextlib.nullcontext() as client:
            report = rehearse(
                options.dataset,
                options.reward,
                hyperparameters=hyperparameters,
                client=client,
                limit=options.limit,
                model=options.model,
                samples=options.samples,
                prompts=options.prompts,
                seed=options.seed,
                gold=load_gold(options.gold) if options.gold else None,
                payload=options.payload,
                wrap_text=options.wrap_text,
                reward_range=tuple(options.reward_range),
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
        prog="python -m bedrock_rft.rehearsal", description="Rehearse a run on this machine before it is billed."
    )
    parser.add_argument("dataset", help="a JSONL file to train on")
    parser.add_argument("--reward", required=True, help="path/to/file.py:name, the zip of a Lambda function, or an ARN")
    parser.add_argument("--n-epochs", type=int, help="passes over the records in the planned job")
    parser.add_argument("--batch-size", type=int, help="prompts per step in the planned job")
    parser.add_argument("--learning-rate-multiplier", type=float, help="scales the learning rate in the planned job")
    parser.add_argument("--limit", type=int, help="maximum number of records to rehearse on (at least 400 by default)")
    parser.add_argument(
        "--samples", type=int, default=0, help="answers of the base model to each prompt; tokens are billed"
    )
    parser.add_argument("--prompts", type=int, default=32, help="number of prompts for the base model (32)")
    parser.add_argument("--model", default=MODEL, help=f"the base model ({MODEL})")
    parser.add_argument("--seed", type=int, default=0, help="random seed for sampling records and for training")
    parser.add_argument("--gold", metavar="FILE:NAME", help="a function that returns the right answer to a record")
    parser.add_argument(
        "--payload",
        choices=("metadata", "top_level"),
        default="metadata",
        help="position of the reference answer in a rollout",
    )
    parser.add_argument("--wrap-text", action="store_true", help='send a text reference as {"text": …}')
    parser.add_argument(
        "--reward-range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="lowest and highest score of the reward (0 1)",
    )
    parser.add_argument("--html", help="also write the report as an HTML page")
    parser.add_argument("--json", help="also write the report as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
