"""Measure the time to create a second client, after the first one has loaded modules and certificates."""

from __future__ import annotations

import json
import sys
import time
from typing import cast

import _process
from _row import Row
from _sides import PUBLIC, Auth, ours, theirs


def second(_url: str, rounds: int) -> list[Row]:
    """Measure a second client for the public endpoint, without sending anything."""
    return [_row(auth, rounds) for auth in ("aws", "api_key")]


def _row(auth: Auth, rounds: int) -> Row:
    mine, peer = list[float](), list[float]()
    for _ in range(rounds):
        mine.append(_process.answer("_second.py", "ours", auth))
        took = _process.answer("_second.py", "theirs", auth)
        if took is not None:
            peer.append(took)
    return Row(f"second, {auth}", "ms", mine, peer or None, "ours", 1)


def main(side: str, auth: Auth) -> None:
    """Print the milliseconds as JSON, or null if the side is missing."""
    make = ours if side == "ours" else theirs
    first = make(auth, PUBLIC)
    began = time.perf_counter()
    again = make(auth, PUBLIC)
    took = (time.perf_counter() - began) * 1000
    print(json.dumps(took if first and again else None))


if __name__ == "__main__":
    main(sys.argv[1], cast("Auth", sys.argv[2]))
