"""Time and money of a job: arithmetic by hand, missing events, clocks that differ, and limits while it is watched."""

from __future__ import annotations

import io
import json
import time
import warnings
from typing import Any

import pytest
from support.live_runs import ARN, QUICK, records

from bedrock_rft import Client
from bedrock_rft._core.errors import BedrockRFTWarning
from bedrock_rft.costs import Cost, Prices, Range
from bedrock_rft.costs._limits import CostLimits
from bedrock_rft.costs._ranges import format_hours
from bedrock_rft.errors import ConfigurationError, JobCancelledError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Metrics, Thresholds, compare
from bedrock_rft.metrics._live.lines import Json, Plain
from bedrock_rft.metrics._live.notebook import panel
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._live.terminal import Terminal
from bedrock_rft.types import Event, Job

MODEL = "openai.gpt-oss-20b"
BEGUN = 1_771_440_000
HOUR = 3600


def job(status: str = "running", **fields: Any) -> Job:
    return Job.model_validate({"id": "ftjob-1", "model": MODEL, "status": status, "created_at": BEGUN} | fields)


def steps(*pairs: tuple[int, float | None], total: int | None = 20) -> list[Event]:
    """Return an event for each pair of a step and hours since the creation of the job."""
    return [
        Event.model_validate(
            {
                "id": f"e{step}-{hours}",
                "type": "metrics",
                "created_at": None if hours is None else BEGUN + int(hours * HOUR),
                "data": {"step": step, "total_steps": total, "critic_rewards_mean": step / 20},
            }
        )
        for step, hours in pairs
    ]


def cost(events: list[Event], which: Job, *, hours: float = 0.0) -> Cost:
    return Metrics.of(events, which).cost(now=BEGUN + hours * HOUR, prices=Prices.load())


def close(found: Range | None, low: float, high: float) -> bool:
    return found is not None and (found.low, found.high) == pytest.approx((low, high))


# Arithmetic


def test_a_running_job() -> None:
    # Steps 1 and 5 are 1 h apart, so 15 minutes a step and 15 steps left: 3.75 h. Half a pace, 7.5 min, has passed.
    found = cost(steps((1, 0.5), (5, 1.5)), job(), hours=1.625)
    assert found.elapsed == pytest.approx(1.625)
    assert close(found.training, 1.0, 1.625)
    assert close(found.remaining, 3.75 - 0.125, 3.75)
    assert close(found.so_far, 80.0, 160.0)  # 1 h exactly, or 2 whole hours
    assert close(found.at_end, (1.0 + 3.625) * 80, 6 * 80)  # 1.625 + 3.75 = 5.375 h, so 6 whole hours
    assert found.metered == pytest.approx(1.625 * 80)


def test_a_job_whose_pace_changes_has_a_range_of_remaining_time() -> None:
    # 40 steps of 6 minutes, then 20 of 3 minutes; the latest 20 steps have 19 pauses of 3 minutes.
    events = steps(*((step, 0.1 * step) for step in range(1, 41)), total=80)
    events += steps(*((40 + step, 4.0 + 0.05 * step) for step in range(1, 21)), total=80)
    found = cost(events, job(), hours=5.0)
    overall = (5.0 - 0.1) / 59
    assert close(found.remaining, 20 * 0.05, 20 * overall)


def test_a_finished_job() -> None:
    found = cost(steps((1, 0.5), (20, 2.4)), job("succeeded", finished_at=BEGUN + int(2.5 * HOUR)), hours=99)
    assert close(found.training, 1.9, 2.5)
    assert close(found.so_far, 1.9 * 80, 240.0)
    assert found.at_end == found.so_far
    assert found.remaining == Range(0, 0)
    assert found.summary == "USD 152 to 240"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_ended_job_without_success_may_be_free(status: str) -> None:
    found = cost(steps((1, 0.5), (10, 1.5)), job(status, finished_at=BEGUN + 2 * HOUR))
    assert close(found.so_far, 0.0, 160.0)
    assert f"a {status} job may not be billed" in found.basis


# Missing events and clocks


def test_a_queued_job_has_no_estimate_of_its_end() -> None:
    found = cost([], job("queued"), hours=0.25)
    assert close(found.so_far, 0.0, 80.0)
    assert (found.at_end, found.remaining) == (None, None)
    assert "no step has a time yet" in found.basis[-1]


def test_events_without_times_or_totals() -> None:
    untimed = cost(steps((1, None), (2, None)), job(), hours=1.0)
    assert (untimed.training, untimed.remaining) == (Range(0, 1.0), None)
    unknown_total = cost(steps((1, 0.1), (2, 0.2), total=None), job(), hours=0.3)
    assert (unknown_total.remaining, unknown_total.at_end) == (None, None)
    one = cost(steps((1, 0.1)), job(), hours=0.3)
    assert one.remaining is None


def test_missing_steps_do_not_change_the_pace() -> None:
    # Steps 2 to 9 were never seen: 9 steps in 0.9 h, so 11 left take 1.0 to 1.1 h.
    found = cost(steps((1, 0.1), (10, 1.0), total=20), job(), hours=1.2)
    assert close(found.remaining, 10 * 0.1 - 0.1, 10 * 0.1)


def test_a_job_without_any_time_has_no_cost() -> None:
    found = cost([], job(created_at=None))
    assert (found.elapsed, found.so_far, found.metered) == (None, None, None)
    assert "neither the job nor its events have a time" in found.basis
    assert "cost unknown" in str(found)


def test_a_job_without_a_creation_counts_from_its_first_step() -> None:
    found = cost(steps((1, 1.0), (2, 2.0)), job(created_at=None), hours=3.0)
    assert found.elapsed == pytest.approx(2.0)


def test_a_clock_that_is_behind_the_service_gives_no_negative_time() -> None:
    found = cost(steps((1, 1.0), (2, 2.0)), job(), hours=-5.0)
    assert found.elapsed == pytest.approx(2.0)
    assert close(found.remaining, 18.0, 18.0)
    assert any("clock of this machine is behind" in each for each in found.basis)


def test_an_end_before_the_last_step_and_a_creation_after_the_first() -> None:
    late = cost(steps((1, -0.5), (20, 2.0)), job("succeeded", finished_at=BEGUN + HOUR))
    assert late.elapsed == pytest.approx(2.5)
    assert close(late.training, 2.5, 2.5)
    without = cost(steps((1, 0.5), (20, 2.0)), job("succeeded", finished_at=None))
    assert close(without.training, 1.5, 2.0)
    assert any("no end time" in each for each in without.basis)


def test_events_in_the_wrong_order_and_twice_count_once() -> None:
    right = cost(steps((1, 0.5), (2, 0.6), (3, 0.7)), job(), hours=1.0)
    mixed = cost(steps((3, 0.7), (1, 0.5), (2, 0.6), (1, 0.9), (3, 0.8)), job(), hours=1.0)
    assert (mixed.remaining, mixed.so_far) == (right.remaining, right.so_far)


def test_a_model_without_a_price_has_times_only() -> None:
    found = cost(steps((1, 0.5), (5, 1.5)), job(model="meta.llama"), hours=2.0)
    assert (found.so_far, found.at_end, found.metered) == (None, None, None)
    assert found.elapsed == pytest.approx(2.0)
    assert "no price for meta.llama is known" in found.basis


def test_metrics_without_a_job_have_no_cost() -> None:
    with pytest.raises(ConfigurationError, match="no job"):
        Metrics.of(steps((1, 0.5))).cost()


def test_the_text_fits_and_names_the_unknown_and_json_is_complete() -> None:
    found = cost(steps((1, 0.5), (5, 1.5)), job(), hours=1.5)
    assert all(len(line) <= 80 for line in str(found).splitlines())
    for unknown in found.unknown:
        assert unknown[:20] in " ".join(str(found).split())
    assert json.loads(found.to_json())["so_far"] == {"low": 80.0, "high": 160.0}


# Comparison


def test_cost_per_point_of_reward() -> None:
    finished = job("succeeded", finished_at=BEGUN + 2 * HOUR)
    run = Metrics.of(steps(*((step, step / 10) for step in range(1, 21))), finished)
    other = Metrics.of(steps((1, 0.1)), finished)
    found = compare(run, other, labels=["good", "short"]).costs(prices=Prices.load())
    good, short = found.rows
    # The last ten steps have a mean reward of 0.775, the first ten 0.275: 50 points for 1.9 x 80 to 2 x 80.
    assert good.reward == pytest.approx(0.5)
    assert close(good.per_point, 152 / 50, 160 / 50)
    assert (short.reward, short.per_point) == (None, None)
    assert "USD 3.04 to 3.20" in str(found)
    assert "too few rewards; none" in str(found)
    assert json.loads(found.to_json())["rows"][0]["label"] == "good"


def test_the_gain_of_a_short_run_compares_its_halves() -> None:
    run = Metrics.of(steps(*((step, None) for step in range(1, 6))), job("succeeded", finished_at=BEGUN + HOUR))
    (row,) = compare(run).costs(prices=Prices.load()).rows
    assert row.reward == pytest.approx((4 + 5 - 1 - 2) / 2 / 20)


def test_a_job_of_the_local_service_costs_nothing() -> None:
    which = job("succeeded", id="local-ftjob-1", finished_at=BEGUN + int(2.5 * HOUR))
    events = steps((1, 0.5), (20, 2.4))
    found = cost(events, which)
    assert found.summary == "nothing is billed; a real job of this length: USD 152 to 240"
    assert "note: a rehearsal on the local service: no model was trained and nothing is billed" in " ".join(
        str(found).split()
    )
    assert "may be billed" not in str(found)
    assert json.loads(found.to_json())["note"] == found.note
    for text in (shown(Plain(io.StringIO()), events, which), shown(Terminal(io.StringIO()), events, which)):
        assert "rehearsal on the local service: nothing is billed; a real job of" in " ".join(text.split())
    run = Metrics.of(events, which)
    real = Metrics.of(events, job())
    assert "a rehearsal on the local service" in " ".join(str(run).split())
    assert str(run.health()).startswith("Health of local-ftjob-1, a rehearsal on the local service: ")
    assert str(compare(run, run)).startswith("2 runs (all on the local service): ")
    assert str(compare(run, real)).startswith("2 runs (1 on the local service): ")
    assert "local service" not in f"{real}{real.health()}{compare(real, real)}{cost(events, job())}"


# Views


def shown(view: Any, events: list[Event], which: Job, **settings: Any) -> str:
    state, change = State(prices=Prices.load()).with_poll(which, events, [], Thresholds())
    view.show(state, change, **settings)
    return str(view._stream.getvalue())


def test_every_view_shows_the_money_as_a_range() -> None:
    which = job("succeeded", finished_at=BEGUN + int(2.5 * HOUR))
    events = steps((1, 0.5), (20, 2.4))
    text = shown(Plain(io.StringIO()), events, which)
    assert "cost USD 152 to 240 (at the published price; AWS does not say how it rounds hours)" in " ".join(
        text.split()
    )
    assert all(len(line) <= 80 for line in text.splitlines())
    rows = [json.loads(line) for line in shown(Json(io.StringIO()), events, which).splitlines()]
    assert [row["at_end"] for row in rows if row["kind"] == "cost"] == [{"low": pytest.approx(152.0), "high": 240.0}]
    state, _ = State(prices=Prices.load()).with_poll(which, events, [], Thresholds())
    assert "USD 152 to 240" in panel(state, time.time())


def test_a_further_hour_gets_a_line_and_other_polls_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    view = Plain(io.StringIO())
    state, change = State(prices=Prices.load()).with_poll(job(), steps((1, 0.1), (2, 0.2)), [], Thresholds())
    for hours in (0.3, 0.5, 1.2, 1.3):
        monkeypatch.setattr(time, "time", lambda hours=hours: BEGUN + hours * HOUR)
        view.show(state, change)
        change = Change(change.job)
    assert view._stream is not None
    assert view._stream.getvalue().count("so far,") == 2  # type: ignore[attr-defined] # a StringIO


# Limits


def limited(value: float, **limits: Any) -> list[str]:
    """Return the codes of the findings for a job that was created `value` hours ago."""
    settings: dict[str, Any] = {"max_cost": None, "max_hours": None, "on_limit": "warn"} | limits
    return [finding.code for finding in CostLimits(**settings).check(cost([], job(), hours=value))]


def test_a_limit_of_a_local_job_says_that_nothing_is_billed() -> None:
    for which, wanted in ((job(), False), (job(id="local-ftjob-1"), True)):
        cost_finding, hours_finding = CostLimits(80, 1, "warn").check(cost([], which, hours=1.0))
        assert ("nothing is billed" in str(cost_finding)) == wanted
        assert "nothing is billed" not in str(hours_finding)


def test_limits_are_reported_at_80_percent_and_when_reached() -> None:
    assert limited(0.79, max_hours=1) == []
    assert limited(0.8, max_hours=1) == ["hours_near_limit"]
    assert limited(1.0, max_hours=1) == ["hours_limit"]
    assert limited(1.0, max_cost=101) == []
    assert limited(1.0, max_cost=100) == ["cost_near_limit"]
    assert limited(1.0, max_cost=80, max_hours=1.2) == ["cost_limit", "hours_near_limit"]
    limits = CostLimits(None, 1, "warn")
    assert [len(limits.check(cost([], job(), hours=hours))) for hours in (0.5, 0.9, 0.95, 1.1, 1.2)] == [0, 1, 0, 1, 0]


def test_a_limit_is_written_exactly() -> None:
    [finding] = CostLimits(None, 1234567.25, "warn").check(cost([], job(), hours=1234568))
    assert "1,234,567.25 hours is reached" in finding.summary


@pytest.mark.parametrize(
    ("hours", "limit", "used"),
    [(0.000256, 0.0001, "0.000256 of 0.0001 hours"), (0.99999, 1, "0.999 of 1 hours"), (2.5, 2, "2.50 of 2 hours")],
)
def test_a_used_amount_is_not_rounded_to_zero_or_to_the_limit(hours: float, limit: float, used: str) -> None:
    [finding] = CostLimits(None, limit, "warn").check(cost([], job(), hours=hours))
    assert finding.reason.startswith(used)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.4, 5.6, "0.4 to 5.6 hours"), (0.02, 0.05, "1 to 3 min"), (0.002, 0.005, "7 to 18 s"), (0, 0, "0 s")],
)
def test_short_times_are_not_zero_hours(low: float, high: float, text: str) -> None:
    assert format_hours(Range(low, high)) == text


def test_a_limit_without_a_price_is_reported() -> None:
    found = CostLimits(50, None, "warn").check(cost([], job(model="meta.llama"), hours=9))
    assert [finding.code for finding in found] == ["cost_unknown"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_cost": -1}, "max_cost"),
        ({"max_hours": float("nan")}, "max_hours"),
        ({"on_limit": "stop", "max_hours": 1}, "on_limit"),
        ({"on_limit": "cancel"}, "needs a limit"),
    ],
)
def test_invalid_limits_are_refused_before_anything_is_sent(limits: dict[str, Any], message: str) -> None:
    with (
        Service(**QUICK) as service,
        Client(transport=LocalTransport(service)) as client,
        pytest.raises(ConfigurationError, match=message),
    ):
        client.jobs.watch("ftjob-none", style="none", **limits)


def watched(on_limit: Any, **limits: float) -> tuple[Job, str, list[str]]:
    """Watch a job whose limit is reached at once, and return it, the output and the warnings."""
    out = io.StringIO()
    with Service(**QUICK, pace=0.05) as service, Client(transport=LocalTransport(service)) as client:
        file = client.files.upload(records())
        which = client.jobs.create(MODEL, training_file=file, reward=ARN, hyperparameters={"batch_size": 10})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BedrockRFTWarning)
            ended = client.jobs.watch(
                which,
                style="plain",
                file=out,
                poll_interval=0.05,
                raise_on_failure=False,
                on_limit=on_limit,
                **limits,  # type: ignore[arg-type] # max_cost or max_hours
            )
    return ended, out.getvalue(), [str(one.message) for one in caught]


def test_a_limit_warns_and_leaves_the_job_running() -> None:
    ended, text, found = watched("warn", max_hours=1e-9, max_cost=1e6)
    assert ended.status == "succeeded"
    assert len(found) == 1
    assert "The limit of 1e-09 hours is reached" in found[0]
    assert "cannot be resumed" in " ".join(text.split())


def test_a_limit_cancels_only_if_asked_to() -> None:
    ended, text, found = watched("cancel", max_cost=1e-9)
    assert ended.status == "cancelled"
    assert "The job is being cancelled" in " ".join(text.split())
    assert len(found) == 1


def test_a_job_that_was_cancelled_at_a_limit_raises() -> None:
    with Service(**QUICK, pace=0.05) as service, Client(transport=LocalTransport(service)) as client:
        which = client.jobs.create(MODEL, training_file=client.files.upload(records()), reward=ARN)
        with pytest.warns(BedrockRFTWarning, match="reached"), pytest.raises(JobCancelledError):
            client.jobs.watch(which, style="none", poll_interval=0.05, max_hours=1e-9, on_limit="cancel")
