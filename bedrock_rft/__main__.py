"""The command `python -m bedrock_rft watch JOB_ID`, with the identity of the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from bedrock_rft._client.client import Client
from bedrock_rft._core.output import print_error
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.metrics._live import Style

_INTERRUPTED = 130  # exit status of programs that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch a job until it ends; return 0 if it succeeded."""
    parser = argparse.ArgumentParser(prog="python -m bedrock_rft")
    commands = parser.add_subparsers(required=True, metavar="command")
    watch = commands.add_parser("watch", help="show the progress of a job until it ends; Ctrl-C leaves it running")
    watch.add_argument("job", metavar="JOB_ID")
    watch.add_argument("--style", choices=get_args(Style), default="auto", help="kind of view")
    watch.add_argument("--region", help="AWS region; default: from the environment")
    watch.add_argument("--poll-interval", type=float, default=5.0, help="initial seconds between polls")
    watch.add_argument(
        "--reward-range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="lowest and highest value of the reward; default: 0 and 1",
    )
    options = parser.parse_args(arguments)
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


if __name__ == "__main__":
    sys.exit(main())
