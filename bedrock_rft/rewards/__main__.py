"""`python -m bedrock_rft.rewards check reward.py:lambda_handler train.jsonl`, and `package`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bedrock_rft._core.output import print_error, print_line
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.rewards._checking.check import check
from bedrock_rft.rewards._packaging.package import RUNTIMES, package
from bedrock_rft.rewards._packaging.requirements import ARCHITECTURES
from bedrock_rft.rewards._targets.resolve import load_gold


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or package a reward. Return 0 if it succeeds, 1 if a check finds errors, 2 if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bedrock_rft.rewards", description="Check and package rewards.")
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="try a reward on your own records")
    checking.add_argument("reward", help="path/to/file.py:name, the zip of a Lambda function, or its ARN")
    checking.add_argument("dataset", help="a JSONL file")
    checking.add_argument("--gold", metavar="FILE:NAME", help="a function that returns the right answer to a record")
    checking.add_argument("--size", type=int, default=20, help="number of records to try (default 20)")
    checking.add_argument("--timeout", type=float, help="seconds that an invocation may take (default 300)")
    packaging = commands.add_parser("package", help="make the zip of a Lambda function from a reward")
    packaging.add_argument("reward", help="path/to/file.py:name")
    packaging.add_argument("--out", required=True, help="path of the zip")
    packaging.add_argument("--include", action="append", default=[], metavar="FILE", help="a further file")
    packaging.add_argument("--requirement", action="append", default=[], metavar="NAME==VERSION", help="a dependency")
    packaging.add_argument("--runtime", choices=sorted(RUNTIMES), default=RUNTIMES[0], help=f"(default {RUNTIMES[0]})")
    packaging.add_argument("--architecture", choices=[*ARCHITECTURES], default="x86_64", help="(default x86_64)")
    options = parser.parse_args(arguments)
    try:
        return _check(options) if options.command == "check" else _package(options)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2


def _check(options: argparse.Namespace) -> int:
    gold = load_gold(options.gold) if options.gold else None
    report = check(options.reward, options.dataset, size=options.size, timeout=options.timeout, gold=gold)
    print_line(str(report))
    return 0 if report.ok else 1


def _package(options: argparse.Namespace) -> int:
    made = package(
        options.reward,
        include=options.include,
        requirements=options.requirement,
        runtime=options.runtime,
        architecture=options.architecture,
    )
    made.write(options.out)
    print_line(str(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
