"""Compare the cost of bedrock_rft with that of the OpenAI SDK, against a server with fixed responses on this machine.

`make bench`, or `make bench ARGS="retrieve events --rounds 25"`.

How the figures are made:

- Everything is measured in fresh processes, against a server in another process, so neither side pays for it. Both
  sides get the same responses, the same static credentials and no settings of the shell.
- The two sides take turns within one run, and a figure is the median over the rounds, with the least and the greatest.
  A ratio is made round by round, of two values measured next to each other: a machine that is busy for a while slows
  both. Absolute times differ from machine to machine; the ratios hardly do.
- `import` is wall time over `python -c pass`. `cold` is wall time from starting Python to the first retrieved job.
- `command` is wall time of `bedrock-rft --help` over that of importing click.
- `retrieve` and `events` are processor time of a warm process a side, its threads included: of one job, and of 10,000
  events in pages of 100.
- `concurrent` is processor time of one request in an async client with 16 or 64 requests at once.
- `upload` is how far 512 MiB, given as a path and checked as for any user, raise the peak memory of a process whose
  client has sent nothing yet.
- `second` is wall time of making a second client in one process, nothing sent.

The peer of AWS credentials is `openai.BedrockOpenAI`, that of an API key `openai.OpenAI`. Older versions of the OpenAI
SDK have no `BedrockOpenAI`: those ratios are left out. A target that is missed is no failure: this measures, and the
reader judges.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable

import _process
from _calls import concurrent, events, retrieve
from _row import HEAD, Row
from _second import second
from _start import cold, command, importing
from _upload import upload

Benchmark = Callable[[str, int], list[Row]]

BENCHMARKS: dict[str, Benchmark] = {
    "import": importing,
    "cold": cold,
    "command": command,
    "retrieve": retrieve,
    "upload": upload,
    "events": events,
    "concurrent": concurrent,
    "second": second,
}


def main() -> None:
    """Run the benchmarks, and print each row when it is complete."""
    asked = _arguments()
    about = _process.answer("_peer.py") | {"cores": os.cpu_count(), "rounds": asked.rounds}
    rows: list[Row] = []
    if not asked.json:
        print(f"Python {about['python']}, openai {about['openai']}, {about['cores']} cores, {asked.rounds} rounds\n")
        print(HEAD, flush=True)
    with _process.serving() as url:
        for name in asked.names or BENCHMARKS:
            found = BENCHMARKS[name](url, asked.rounds)
            rows += found
            if not asked.json:
                print(*found, sep="\n", flush=True)
    if asked.json:
        print(json.dumps(about | {"rows": [row.as_json() for row in rows]}, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure bedrock_rft beside the OpenAI SDK.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all without any")
    parser.add_argument("--rounds", type=int, default=11, help="how often each side is measured (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print every round, for a program to read")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if asked.rounds < 1:
        parser.error("--rounds takes 1 or more")
    return asked


if __name__ == "__main__":
    main()
