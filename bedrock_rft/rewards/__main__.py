"""`python -m bedrock_rft.rewards check reward.py:lambda_handler train.jsonl`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.rewards._check import check


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a reward. 0 where there is no error, 1 where there is, 2 where it cannot be checked."""
    parser = argparse.ArgumentParser(prog="python -m bedrock_rft.rewards", description="Rewards, checked before a run.")
    commands = parser.add_subparsers(required=True)
    checking = commands.add_parser("check", help="try a reward on records of your own")
    checking.add_argument("reward", help="path/to/file.py:name, a Lambda's zip, or the ARN of a deployed function")
    checking.add_argument("dataset", help="a JSONL file")
    checking.add_argument("--size", type=int, default=20, help="records to try it on (20)")
    checking.add_argument("--timeout", type=float, help="seconds that an invocation may take (300)")
    options = parser.parse_args(arguments)
    try:
        report = check(options.reward, options.dataset, size=options.size, timeout=options.timeout)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is a command
        return 2
    print(report)  # noqa: T201 - as above
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
