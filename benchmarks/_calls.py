"""What a call costs once all is warm: processor time, which the sides spend in turns, each in its own process.

Processor time, not wall time: over loopback most of the wall is waiting, which is the network's and nobody's merit. In
one process, a side would pay for collecting the other's garbage.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import cast

import _process
from _row import Row
from _sides import JOB, Auth, ours, theirs

_RETRIEVES = 200
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
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(_process.turns("_calls.py", side, what, auth, url)) for side in ("ours", "theirs")]
        # The first turn warms, and tells whether there is such a side. Turns are long, about a tenth of a second, since
        # each begins with the processor's caches full of the other side.
        present = [turn for turn in sides if turn() is not None]
        found = [[turn() for turn in present] for _ in range(rounds)]
    mine, *peer = (list(side) for side in zip(*found, strict=True))
    return Row(name, "ms", mine, peer[0] if peer else None, "ratio", target)


def main(side: str, what: str, auth: Auth, url: str) -> None:
    """Work one turn for every line that is read; print its milliseconds, for one job or all events."""
    shown = _RETRIEVES if what == "retrieve" else 1
    make = {
        ("ours", "retrieve"): _retrieve_ours,
        ("ours", "events"): _events_ours,
        ("theirs", "retrieve"): _retrieve_theirs,
        ("theirs", "events"): _events_theirs,
    }
    work = make[side, what](auth, url)
    for _ in sys.stdin:
        began = time.process_time()
        if work:
            work()
        print(json.dumps((time.process_time() - began) * 1000 / shown if work else None), flush=True)


def _retrieve_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: [client.jobs.retrieve(JOB) for _ in range(_RETRIEVES)]


def _retrieve_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: [client.fine_tuning.jobs.retrieve(JOB) for _ in range(_RETRIEVES)]) if client else None


def _events_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: _all(client.jobs.events(JOB, limit=_PAGE))


def _events_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: _all(client.fine_tuning.jobs.list_events(JOB, limit=_PAGE))) if client else None


def _all(events: Iterable[object]) -> None:
    count = sum(1 for _ in events)
    if count != _EVENTS:
        raise RuntimeError(f"{count} events came instead of {_EVENTS}.")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], cast("Auth", sys.argv[3]), sys.argv[4])
