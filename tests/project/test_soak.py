"""A short version of `make soak`."""

from __future__ import annotations

import pytest
from soak import run

from bedrock_rft._resources import create_job as _create
from bedrock_rft._transport import retry as _retry


@pytest.mark.row("T08", quiet=True)
@pytest.mark.parametrize("auth", ["aws", "api_key"])
@pytest.mark.parametrize(("calls", "workers", "tasks", "faulty"), [(200, 100, False, 0.1), (150, 150, True, 0.1)])
def test_no_call_is_lost_and_no_job_is_duplicated(
    auth: str, calls: int, workers: int, tasks: bool, faulty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_create, "_SEARCH_DELAYS", (0.0, 0.05, 0.1))  # shorter waits for jobs that do not exist
    monkeypatch.setattr(_retry, "_FIRST", 0.05)
    outcome = run(calls=calls, workers=workers, tasks=tasks, auth=auth, seed=3, faulty=faulty)
    assert outcome.passed, outcome
    assert outcome.calls == calls
    assert outcome.faults >= 10
    assert outcome.made >= len(outcome.asked) - outcome.unsure > 0
