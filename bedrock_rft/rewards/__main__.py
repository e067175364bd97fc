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


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or package a reward. 0 where all is well, 1 where a check finds an error, 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m bedrock_rft.rewards", description="Rewards, checked and packaged.")
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="try a reward on records of your own")
    checking.add_argument("reward", help="path/to/file.py:name, a Lambda's zip, or the ARN of a deployed function")
    checking.add_argument("dataset", help="a JSONL file")
    checking.add_argument("--size", type=int, default=20, help="records to try it on (20)")
    checking.add_argument("--timeout", type=float, help="seconds that an invocation may take (300)")
    packaging = commands.add_parser("package", help="make a Lambda's zip of a reward")
    packaging.add_argument("reward", help="path/to/file.py:name")
    packaging.add_argument("--out", required=True, help="where the zip goes")
    packaging.add_argument("--include", action="append", default=[], metavar="FILE", help="a further file")
    packaging.add_argument("--requirement", action="append", default=[], metavar="NAME==VERSION", help="a release")
    packaging.add_argument("--runtime", choices=sorted(RUNTIMES), default=RUNTIMES[0], help=f"({RUNTIMES[0]})")
    packaging.add_argument("--architecture", choices=[*ARCHITECTURES], default="x86_64", help="(x86_64)")
    options = parser.parse_args(arguments)
    try:
        return _check(options) if options.command == "check" else _package(options)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2


def _check(options: argparse.Namespace) -> int:
    report = check(options.reward, options.dataset, size=options.size, timeout=options.timeout)
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
