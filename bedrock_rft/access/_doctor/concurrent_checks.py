"""Run independent checks concurrently, within a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line

__all__ = ["failure_finding", "run_checks", "timeout_finding"]

Check = Callable[[], Iterable[Finding]]


def run_checks(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Return the findings of all checks in order; a check that raises or exceeds the time limit is a finding itself.

    Each check runs in a daemon thread, which does not keep the program alive.
    """
    findings: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        try:
            findings[name] = list(check())
        except Exception as error:  # noqa: BLE001 - one failed check must not prevent the report
            findings[name] = [failure_finding(name, error)]

    threads = [threading.Thread(target=run, args=item, daemon=True, name="doctor") for item in checks.items()]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    finished = dict(findings)
    return [finding for name in checks for finding in finished.get(name, [timeout_finding(name, seconds)])]


def failure_finding(name: str, error: Exception) -> Finding:
    """Return the finding for a check that raised."""
    reason = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
    return Finding("unknown", name.replace(" ", "_"), f"The check of the {name} failed", reason)


def timeout_finding(name: str, seconds: float) -> Finding:
    """Return the finding for a check that exceeded the time limit."""
    return Finding(
        "unknown",
        name.replace(" ", "_"),
        f"The check of the {name} did not finish within {seconds:g} s",
        "",
        "Allow more time with seconds=.",
    )
