"""Measure the processor time of requests in a warm process.

Processor time and not wall time, because over loopback most of the wall time is waiting. Each side has its own process,
so that it does not pay for the garbage collection of the other one; the two take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import _process
from _row import Row
from _sides import JOB, Auth, ours, ours_async, theirs, theirs_async

_RETRIEVES = 128
_EVENTS = 10_000
_PAGE = 100

Work = Callable[[], object]


def retrieve(url: str, rounds: int) -> list[Row]:
    """Retrieve one job, with AWS credentials."""
    return [_row("retrieve, aws", 0.42, "retrieve", "aws", url, rounds)]


def events(url: str, rounds: int) -> list[Row]:
    """List 10,000 events in pages of 100."""
    return [_row(f"events, {auth}", 0.25, "events", auth, url, rounds) for auth in ("aws", "api_key")]


def concurrent(url: str, rounds: int) -> list[Row]:
    """Retrieve a job in an async client, 16 and 64 times at once."""
    # Requests with an API key go through the OpenAI SDK itself, so they can cost little less.
    targets: dict[Auth, float] = {"aws": 0.60, "api_key": 1.00}
    return [
        _row(f"{count} async, {auth}", target, f"async {count}", auth, url, rounds)
        for auth, target in targets.items()
        for count in (16, 64)
    ]


def _row(name: str, target: float, what: str, auth: Auth, url: str, rounds: int) -> Row:
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(_process.turns("_calls.py", side, what, auth, url)) for side in ("ours", "theirs")]
        # The first turn warms up and shows if the side exists. Turns last about a tenth of a second, because each one
        # starts with the processor's caches filled by the other side.
        present = [turn for turn in sides if turn() is not None]
        found = [[turn() for turn in present] for _ in range(rounds)]
    mine, *peer = (list(side) for side in zip(*found, strict=True))
    return Row(name, "ms", mine, peer[0] if peer else None, "ratio", target)


def main(side: str, what: str, auth: Auth, url: str) -> None:
    """Run one turn for every line on standard input; print its milliseconds for one request or all events."""
    divisor = 1 if what == "events" else _RETRIEVES
    make = {
        ("ours", "retrieve"): _retrieve_ours,
        ("ours", "events"): _events_ours,
        ("theirs", "retrieve"): _retrieve_theirs,
        ("theirs", "events"): _events_theirs,
    }
    if what.startswith("async"):
        work = _retrieve_concurrently(side, int(what.removeprefix("async ")), auth, url)
    else:
        work = make[side, what](auth, url)
    for _ in sys.stdin:
        started = time.process_time()
        if work:
            work()
        print(json.dumps((time.process_time() - started) * 1000 / divisor if work else None), flush=True)


def _retrieve_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: [client.jobs.retrieve(JOB) for _ in range(_RETRIEVES)]


def _retrieve_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: [client.fine_tuning.jobs.retrieve(JOB) for _ in range(_RETRIEVES)]) if client else None


def _retrieve_concurrently(side: str, count: int, auth: Auth, url: str) -> Work | None:
    """Return a function that sends `_RETRIEVES` requests, `count` at once, in one event loop."""
    loop = asyncio.new_event_loop()
    retrieve: Callable[[str], Awaitable[object]]
    if side == "ours":
        retrieve = ours_async(auth, url).jobs.retrieve
    else:
        client = theirs_async(auth, url)
        if client is None:
            return None
        retrieve = client.fine_tuning.jobs.retrieve

    async def send_all() -> None:
        remaining = iter(range(_RETRIEVES))

        async def worker() -> None:
            for _ in remaining:
                await retrieve(JOB)

        await asyncio.gather(*(worker() for _ in range(count)))

    return lambda: loop.run_until_complete(send_all())


def _events_ours(auth: Auth, url: str) -> Work:
    client = ours(auth, url)
    return lambda: _all(client.jobs.events(JOB, limit=_PAGE))


def _events_theirs(auth: Auth, url: str) -> Work | None:
    client = theirs(auth, url)
    return (lambda: _all(client.fine_tuning.jobs.list_events(JOB, limit=_PAGE))) if client else None


def _all(events: Iterable[object]) -> None:
    count = sum(1 for _ in events)
    if count != _EVENTS:
        raise RuntimeError(f"Got {count} events instead of {_EVENTS}.")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], cast("Auth", sys.argv[3]), sys.argv[4])
