"""What a call costs once all is warm: processor time of one process, in which the sides take turns.

Processor time, not wall time: over loopback most of the wall is waiting, which is the network's and nobody's merit.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import cast

import _process
from _row import Row
from _sides import JOB, Auth, ours, theirs

_TURNS = 20
_RETRIEVES = 10
_EVENTS = 10_000
_PAGE = 100

Work = Callable[[], object]


def retrieve(url: str, rounds: int) -> list[Row]:
    """One job retrieved, with AWS credentials."""
    return [_row("retrieve, aws", 0.45, "retrieve", "aws", url, rounds)]


def events(url: str, rounds: int) -> list[Row]:
    """10,000 events listed, 100 at once."""
    return [_row(f"events, {auth}", 0.25, "events", auth, url, rounds) for auth in ("aws", "api_key")]


def _row(name: str, target: float, what: str, auth: Auth, url: str, rounds: int) -> Row:
    mine, peer = _process.answer("_calls.py", what, auth, url, str(rounds))
    return Row(name, "ms", mine, peer or None, "ratio", target)


def main(what: str, auth: Auth, url: str, rounds: int) -> None:
    """Print the rounds of both sides as JSON: milliseconds of processor time for one piece of work."""
    turns, times = (_TURNS, _RETRIEVES) if what == "retrieve" else (1, 1)
    make = (_retrieve_ours, _retrieve_theirs) if what == "retrieve" else (_events_ours, _events_theirs)
    sides = [made for made in (one(auth, url) for one in make) if made is not None]
    for work in sides:
        work()
    found: list[list[float]] = [[], []]
    for number in range(rounds):
        for side, spent in enumerate(_round(sides, turns, times, first=number % len(sides))):
            found[side].append(spent)
    print(json.dumps(found))


def _round(sides: list[Work], turns: int, times: int, *, first: int) -> list[float]:
    """Milliseconds for one piece of each side's work, in short turns: what slows the machine slows both."""
    gc.collect()
    spent = [0.0] * len(sides)
    for turn in range(turns * len(sides)):
        side = (turn + first) % len(sides)
        began = time.process_time()
        for _ in range(times):
            sides[side]()
        spent[side] += time.process_time() - began
    return [seconds * 1000 / (turns * times) for seconds in spent]


def _retrieve_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: client.jobs.retrieve(JOB)


def _retrieve_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: client.fine_tuning.jobs.retrieve(JOB)) if client else None


def _events_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: _all(sum(1 for _ in client.jobs.events(JOB, limit=_PAGE)))


def _events_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: _all(sum(1 for _ in client.fine_tuning.jobs.list_events(JOB, limit=_PAGE)))) if client else None


def _all(count: int) -> None:
    if count != _EVENTS:
        raise RuntimeError(f"{count} events came instead of {_EVENTS}.")


if __name__ == "__main__":
    main(sys.argv[1], cast("Auth", sys.argv[2]), sys.argv[3], int(sys.argv[4]))
