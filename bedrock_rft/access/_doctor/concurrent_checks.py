"""Looks that do not depend on each other, all at once, and none of them for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line

__all__ = ["failed", "late", "together"]

Look = Callable[[], Iterable[Finding]]


def together(looks: Mapping[str, Look], seconds: float) -> list[Finding]:
    """What the looks found, in their order; a look that fails, or is not done in time, is a finding itself.

    Each has a thread that keeps no program from ending.
    """
    found: dict[str, list[Finding]] = {}

    def run(name: str, look: Look) -> None:
        try:
            found[name] = list(look())
        except Exception as error:  # noqa: BLE001 - a report is to come of whatever it finds
            found[name] = [failed(name, error)]

    threads = [threading.Thread(target=run, args=item, daemon=True, name="doctor") for item in looks.items()]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    done = dict(found)
    return [finding for name in looks for finding in done.get(name, [late(name, seconds)])]


def failed(name: str, error: Exception) -> Finding:
    """What is said of a look that failed."""
    why = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
    return Finding("unknown", name, f"The look at the {name} failed", why)


def late(name: str, seconds: float) -> Finding:
    """What is said of a look that was not done in time."""
    return Finding(
        "unknown", name, f"The look at the {name} was not done after {seconds:g} s", "", "Allow it more seconds."
    )
