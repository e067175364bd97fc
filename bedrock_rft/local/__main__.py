"""Run the local service from a shell: `python -m bedrock_rft.local --reward reward.py:lambda_handler`."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._http.server import LocalService
from bedrock_rft.rewards._targets.resolve import load_gold

_BANNER = """\
SIMULATION: an emulator of reinforcement fine-tuning on this machine.
No model is trained, nothing is sent to AWS and nothing is billed. Every id begins with local-.

The service listens at {url} until {end}. In another shell, to use AWS credentials:
{aws}
or to use an API key:
{key}
"""

_STDIN = 0


def main(arguments: Sequence[str] | None = None, output: TextIO = sys.stdout) -> int:
    """Serve until a signal arrives; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("bedrock_rft.local.reward").setLevel(logging.INFO)  # output of the reward function
    stop = threading.Event()

    def request_stop(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    end = "Ctrl-C or SIGTERM"
    if options.stop_with_stdin:
        if _stdin_can_end():
            threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
            end = "Ctrl-C, SIGTERM or the end of its standard input"
        else:
            output.write("Standard input is not a pipe or a terminal: its end will not stop the service.\n")
    try:
        gold = load_gold(options.gold) if options.gold else None
        names = ("reward", "port", "pace", "payload", "wrap_text", "seed", "region")
        service = LocalService(options.directory, gold=gold, **{name: getattr(options, name) for name in names})
    except ConfigurationError as error:
        output.write(f"error: {error}\n")
        return 2
    with service:
        aws, key = (_format_exports(service.environment(auth)) for auth in ("aws", "api_key"))
        output.write(_BANNER.format(url=service.base_url, end=end, aws=aws, key=key))
        output.flush()
        stop.wait()
    return 0


def _stdin_can_end() -> bool:
    """Return whether the end of standard input is a signal: under nohup, cron and systemd it is /dev/null."""
    try:
        mode = os.fstat(_STDIN).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(_STDIN)


def _stop_at_end_of_stdin(stop: threading.Event) -> None:
    try:
        while os.read(_STDIN, 65536):
            pass
    finally:
        stop.set()


def _format_exports(variables: dict[str, str]) -> str:
    return "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in variables.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bedrock_rft.local", description="Run the local service on a loopback port."
    )
    parser.add_argument("--reward", metavar="FILE.py:HANDLER", help="the reward's Lambda entry point")
    parser.add_argument(
        "--directory", help="keeps files, jobs and keys for a later run; a temporary directory by default"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, chooses a free one")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between training steps")
    parser.add_argument(
        "--payload",
        choices=("metadata", "top_level"),
        default="metadata",
        help="position of the reference answer in a rollout",
    )
    parser.add_argument("--gold", metavar="FILE:NAME", help="a function that returns the right answer to a record")
    parser.add_argument("--wrap-text", action="store_true", help='send a text reference as {"text": …}')
    parser.add_argument("--seed", type=int, default=0, help="random seed of the training")
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input ends; for a program that starts this one with a pipe and may be killed",
    )
    parser.add_argument("--region", default="us-west-2", help="the region to report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
