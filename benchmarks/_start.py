"""Measure the time of importing the package, and of a fresh process up to its first response."""

from __future__ import annotations

import _process
from _row import Row
from _sides import JOB, REGION

_OURS = f"""
import sys
from bedrock_rft import Client
client = Client({REGION!r}, base_url=sys.argv[1])
client.jobs.retrieve({JOB!r})
print(flush=True)
"""
_THEIRS = f"""
import sys
from openai import BedrockOpenAI
client = BedrockOpenAI(aws_region={REGION!r}, base_url=sys.argv[1])
client.fine_tuning.jobs.retrieve({JOB!r})
print(flush=True)
"""
_HELP = "import sys; sys.argv[1:] = ['--help']; from bedrock_rft._cli import main; main()"
_TWICE = 2  # a process that lives for 20 ms needs more rounds than one that lives for a second


def importing(_url: str, rounds: int) -> list[Row]:
    """Measure `import bedrock_rft`, compared with an empty program."""
    _process.lifetime("import bedrock_rft")
    ours, bare = list[float](), list[float]()
    for _ in range(_TWICE * rounds):
        ours.append(_process.lifetime("import bedrock_rft"))
        bare.append(_process.lifetime("pass"))
    return [Row("import", "ms", ours, bare, "over", 10)]


def cold(url: str, rounds: int) -> list[Row]:
    """Measure a fresh process up to its first retrieved job, with AWS credentials."""
    has_peer = _process.answer("_peer.py")["bedrock"]
    _process.time_to_line(_OURS, url)
    ours, theirs = list[float](), list[float]()
    for _ in range(rounds):
        ours.append(_process.time_to_line(_OURS, url))
        if has_peer:
            theirs.append(_process.time_to_line(_THEIRS, url))
    return [Row("cold, aws", "ms", ours, theirs or None, "ratio", 0.40)]


def command(_url: str, rounds: int) -> list[Row]:
    """Measure `bedrock-rft --help`, compared with importing click."""
    _process.lifetime(_HELP)
    ours, click = list[float](), list[float]()
    for _ in range(_TWICE * rounds):
        ours.append(_process.lifetime(_HELP))
        click.append(_process.lifetime("import click"))
    return [Row("command --help", "ms", ours, click, "ratio", 1.5)]
