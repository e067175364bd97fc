"""`python -m bedrock_rft watch JOB_ID`: come back to a job from a shell, with the identity of the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from bedrock_rft._client.client import Client
from bedrock_rft._core.output import print_error
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.metrics._live import Style

_INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch a job until it ends; 0 where it succeeded."""
    options = _parser().parse_args(arguments)
    try:
        with Client(region=options.region) as client:
            client.jobs.watch(
                options.job,
                style=options.style,
                poll_interval=options.poll_interval,
                reward_range=tuple(options.reward_range),
            )
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bedrock_rft")
    commands = parser.add_subparsers(required=True, metavar="command")
    watch = commands.add_parser("watch", help="show how a job goes until it ends; Ctrl-C leaves it running")
    watch.add_argument("job", metavar="JOB_ID")
    watch.add_argument("--style", choices=get_args(Style), default="auto", help="how to show it")
    watch.add_argument("--region", help="the AWS region, unless the environment says")
    watch.add_argument("--poll-interval", type=float, default=5.0, help="seconds between two looks, at first")
    watch.add_argument(
        "--reward-range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="lowest and highest value of the reward; by default 0 and 1",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
