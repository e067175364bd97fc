"""Prices are data, and estimates are ranges whose arithmetic is checked by hand."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.live_runs import ARN, QUICK, id_of_the_service, records

from bedrock_rft import Client
from bedrock_rft.costs import Estimate, Item, Pace, Prices, Range
from bedrock_rft.costs._estimate import JudgeLoad, Workload, estimate
from bedrock_rft.costs._pace import JobTimes
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.rehearsal import rehearse
from bedrock_rft.rewards import Exact, Judge, Rollout, reward
from bedrock_rft.types import Job

MODEL = "openai.gpt-oss-20b"
ROOT = Path(__file__).parents[2]


def load(**changes: Any) -> Workload:
    settings: dict[str, Any] = {
        "records": 300,
        "prompt_chars": 600.0,
        "n_epochs": 1,
        "batch_size": 4,
        "assumed": (),
        "answer_tokens": Range(200, 1000),
        "answer_basis": "given",
        "rollout_seconds": Range(0.01, 0.02),
        "rollout_basis": "given",
    }
    return Workload(**(settings | changes))


def pace(low: float, high: float, **changes: Any) -> Pace:
    settings: dict[str, Any] = {"step": Range(low, high), "batch_size": 4, "around": None, "basis": "given"}
    return Pace(**(settings | changes))


def item(found: Estimate, name: str) -> Item:
    return next(each for each in found.items if each.name == name)


def price_file(path: Path, **changes: Any) -> Path:
    row = {
        "item": "training",
        "subject": MODEL,
        "unit": "hour",
        "amount": 50,
        "currency": "EUR",
        "region": "eu-west-1",
        "date": "2027-01",
        "source": "contract",
    }
    path.write_text(json.dumps({"prices": [row | changes]}), "utf-8")
    return path


# Prices


@pytest.mark.parametrize(
    ("item_name", "subject", "amount"),
    [
        ("training", MODEL, 80.0),
        ("training", "qwen.qwen3-32b-v1:0", 80.0),
        ("tuned_input", MODEL, 0.09),
        ("tuned_output", MODEL, 0.39),
        ("tuned_input", "qwen.qwen3-32b", 0.20),
        ("tuned_output", "qwen.qwen3-32b", 0.78),
        ("storage", MODEL, 1.95),
        ("lambda_requests", "lambda", 0.20),
        ("input", "us.amazon.nova-lite-v1:0", 0.06),
        ("input", "arn:aws:bedrock:us-west-2::foundation-model/openai.gpt-oss-20b-1:0", 0.07),
    ],
)
def test_the_packaged_prices_have_a_date_and_a_source(item_name: str, subject: str, amount: float) -> None:
    found = Prices.load().find(item_name, subject)
    assert found is not None
    assert (found.amount, found.currency, found.region) == (amount, "USD", "us-west-2")
    assert "2026" in found.date
    assert "third-party" in found.source
    assert "out of date" in Prices.load().notice


def test_unknown_prices_are_none() -> None:
    assert Prices.load().find("training", "meta.llama") is None


def test_a_file_replaces_all_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = price_file(tmp_path / "prices.json")
    monkeypatch.setenv("BEDROCK_RFT_PRICES", str(path))
    for prices in (Prices.load(path), Prices.load()):
        assert [(price.amount, price.currency) for price in prices.prices] == [(50, "EUR")]
        assert prices.origin == str(path)
        assert prices.find("storage", MODEL) is None
    written = tmp_path / "again.json"
    Prices.load(path).to_json(written)
    assert Prices.load(written).prices == Prices.load(path).prices


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": -1}, "'amount' of price 1"),
        ({"amount": float("inf")}, "'amount' of price 1"),
        ({"amount": True}, "'amount' of price 1"),
        ({"source": ""}, "'source' of price 1"),
        ({"unit": None}, "'unit' of price 1"),
    ],
)
def test_an_invalid_price_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Prices.load(price_file(tmp_path / "prices.json", **changes))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"prices": []}', '{"prices": [7]}'])
def test_a_file_without_prices_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError):
        Prices.load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Prices.load(tmp_path / "missing.json")


def test_prices_of_several_currencies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    one = Prices.load().to_dict()
    one["prices"][0]["currency"] = "EUR"
    path.write_text(json.dumps(one), "utf-8")
    with pytest.raises(ConfigurationError, match="several currencies"):
        Prices.load(path)


def test_the_wheel_has_the_prices(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    built = next(wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        assert "bedrock_rft/costs/prices.json" in archive.namelist()


# Arithmetic, by hand


def test_steps_rollouts_and_invocations() -> None:
    # 300 / 4 = 75 steps; the published run of this size had 67. 67 x 4 = 268 prompts, 4 to 16 answers each.
    published = load()
    assert (published.steps, published.rollouts) == (Range(67, 75), Range(1072, 4800))
    assert published.invocations == Range(67, 4800)
    # 2 x ceil(101 / 8) = 26 steps; 26 x 67 // 75 = 23. The low end is 23 x 8 = 184 of 202 prompts.
    other = load(records=101, batch_size=8, n_epochs=2)
    assert (other.steps, other.rollouts) == (Range(23, 26), Range(184 * 4, 202 * 16))
    assert load(records=1, batch_size=64).steps == Range(1, 1)


def test_training_costs_exact_hours_to_whole_hours() -> None:
    # 67 steps of 36 s are 0.67 hours, 75 of 120 s are 2.5 hours: 0.67 x 80 = 53.60, and three whole hours are 240.
    found = estimate("data", load(), MODEL, Prices.load(), pace(36, 120))
    training = item(found, "training")
    assert (found.hours.low, found.hours.high) == pytest.approx((0.67, 2.5))
    assert training.money is not None
    assert (training.money.low, training.money.high) == pytest.approx((53.6, 240.0))
    assert "80.00 per hour" in training.basis
    assert any("rounded" in each for each in found.unknown)


def test_measured_time_around_the_steps_is_added_to_the_high_end() -> None:
    found = estimate("data", load(), MODEL, Prices.load(), pace(36, 120, around=Range(60, 1800)))
    assert (found.hours.low, found.hours.high) == pytest.approx((0.67, 3.0))


def test_lambda_compute_and_requests() -> None:
    # 1,072 rollouts x 0.01 s x 0.5 GB = 5.36; (4,800 x 0.02 s + 4,800 x 1 ms of rounding) x 0.5 GB = 50.4 GB-seconds.
    found = estimate("data", load(), MODEL, Prices.load(), pace(36, 120))
    compute, requests = item(found, "Lambda compute"), item(found, "Lambda requests")
    assert compute.quantity is not None
    assert compute.money is not None
    assert requests.money is not None
    assert (compute.quantity.low, compute.quantity.high) == pytest.approx((5.36, 50.4))
    assert compute.money.high == pytest.approx(50.4 * 0.0000166667)
    assert requests.money.high == pytest.approx(4800 * 0.20 / 1e6)


def test_judge_and_evaluation_tokens() -> None:
    judge = JudgeLoad("us.amazon.nova-lite-v1:0", 900, 300)
    found = estimate("data", load(judges=(judge,), evaluation=50, samples=2), MODEL, Prices.load(), pace(36, 120))
    # A call reads 180 + 120 + 200 = 500 to 300 + 200 + 1,000 = 1,500 tokens and writes 10 to 300.
    judged = item(found, "judge amazon.nova-lite")
    assert judged.quantity == Range(1072 * 510, 4800 * 1800)
    assert judged.money is not None
    low, high = 1072 * (500 * 0.06 + 10 * 0.24) / 1e6, 4800 * (1500 * 0.06 + 300 * 0.24) / 1e6
    assert (judged.money.low, judged.money.high) == pytest.approx((low, high))
    # 100 answers of the tuned model, each with 120 to 200 tokens in and 200 to 1,000 out.
    tuned = item(found, "evaluation, tuned model")
    assert tuned.money is not None
    assert tuned.money.low == pytest.approx(100 * (120 * 0.09 + 200 * 0.39) / 1e6)
    assert tuned.money.high == pytest.approx(100 * (200 * 0.09 + 1000 * 0.39) / 1e6)
    assert found.monthly == Range(1.95, 1.95)
    known = [each.money for each in found.items if each.money is not None and not each.monthly]
    assert found.total.high == pytest.approx(sum(each.high for each in known))


def test_a_model_without_prices_has_quantities_and_no_money() -> None:
    found = estimate("data", load(), "meta.llama", Prices.load(), pace(36, 120))
    assert {"training", "storage of the tuned model"} <= set(found.missing)
    assert "without training" in str(found)
    assert "cost unknown" in str(found)


def test_prices_of_another_region_are_named() -> None:
    found = estimate("data", load(), MODEL, Prices.load(), pace(36, 120), region="eu-north-1")
    assert any("us-west-2" in each and "eu-north-1" in each for each in found.assumptions)


def test_the_pace_of_finished_jobs_covers_every_job() -> None:
    small = {"type": "reinforcement", "reinforcement": {"hyperparameters": {"batch_size": 4}}}
    first = Job.model_validate({"id": "a", "created_at": 1000, "finished_at": 1300, "method": small})
    second = Job(id="b", created_at=1000, finished_at=None)
    found = Pace.measured(
        [
            JobTimes.of(first, [(1, 1100.0), (2, 1110.0), (11, 1200.0)]),  # 10 s a step of 4, and 100 + 100 s around
            JobTimes.of(second, [(1, 1000.0), (3, 1060.0)]),  # 30 s a step; its batch size is unknown
            JobTimes.of(second, [(5, 1000.0)]),  # no duration
        ],
        8,
    )
    assert found is not None
    assert (found.step, found.around, found.jobs) == (Range(10, 30), Range(200, 200), ("a", "b"))
    assert found.step_seconds(8) == Range(10, 30)
    assert found.step_seconds(16) == Range(10, 60)
    assert found.step_seconds(4) == Range(5, 30)
    assert Pace.measured([], 4) is None


def test_times_that_run_backwards_do_not_become_negative() -> None:
    times = JobTimes.of(
        Job(id="a", created_at=2000, finished_at=900), [(2, 1000.0), (1, 1010.0), (3, 1020.0), (1, 990.0)]
    )
    assert times.steps == ((1, 990.0), (2, 1000.0), (3, 1020.0))
    assert times.seconds_around == 0
    assert JobTimes.of(Job(id="a"), [(1, 50.0), (2, 20.0)]).seconds_per_step == 0


# client.estimate


@reward
def right(rollout: Rollout) -> bool:
    return str(rollout.reference) in rollout.answer


def test_an_estimate_reads_the_data_times_the_reward_and_sends_nothing_but_lists() -> None:
    with Service(reward=right) as service, Client(transport=LocalTransport(service)) as client:
        found = client.estimate(records(), reward=right, hyperparameters={"batch_size": 10})
        assert not [*client.files.list(), *client.jobs.list()]
    assert found.steps == Range(8, 10)
    assert any(each.startswith("n_epochs 1, as in the documented example") for each in found.assumptions)
    compute = item(found, "Lambda compute")
    assert compute.money is not None
    assert "measured on this machine with 16 rollouts" in compute.basis
    assert "an assumption, because AWS has published no training times" in item(found, "training").basis
    assert json.loads(found.to_json())["items"][0]["name"] == "training"
    assert all(len(line) <= 80 for line in str(found).splitlines())


def test_the_pace_comes_from_finished_jobs_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    # Jobs of the local service give no pace, so these have ids like those of the service.
    monkeypatch.setattr("bedrock_rft.local._service.routes.new_id", id_of_the_service)
    settings = {"batch_size": 25}
    with Service(**QUICK, pace=0.6) as service, Client(transport=LocalTransport(service)) as client:
        file = client.files.upload(records())
        job = client.jobs.create(MODEL, training_file=file, reward=ARN, hyperparameters=settings)
        client.jobs.wait(job, poll_interval=0.1)
        times = [event.created_at or 0 for event in client.jobs.events(job) if event.metrics]
        found = client.estimate(records(), reward_seconds=(0.1, 0.2), hyperparameters=settings)
        other = client.estimate(records(), reward_seconds=0.1, hyperparameters=settings, history=False)
    # Four steps, so three pauses between the first and the last.
    assert found.hours.low == pytest.approx(3 * (max(times) - min(times)) / 3 / 3600)
    assert "measured from the events of a finished job of this account" in item(found, "training").basis
    assert "an assumption" in item(other, "training").basis


def test_jobs_of_the_local_service_do_not_give_the_pace() -> None:
    settings = {"batch_size": 25}
    with Service(**QUICK, pace=0.6) as service, Client(transport=LocalTransport(service)) as client:
        before = client.estimate(records(), reward_seconds=0.1)
        file = client.files.upload(records())
        job = client.jobs.create(MODEL, training_file=file, reward=ARN, hyperparameters=settings)
        client.jobs.wait(job, poll_interval=0.1)
        after = client.estimate(records(), reward_seconds=0.1)
    assert after == before
    assert "an assumption" in item(after, "training").basis


def test_rewards_that_cost_money_are_not_invoked() -> None:
    judge = Judge("amazon.nova-lite-v1:0", "Is it right?", max_tokens=50)
    with Service(reward=right) as service, Client(transport=LocalTransport(service)) as client:
        judged = client.estimate(records(), reward=0.5 * judge + right, history=False)
        deployed = client.estimate(records(), reward=ARN, history=False)
        none = client.estimate(records(), history=False, evaluation=0)
    assert item(judged, "Lambda compute").money is None
    assert item(judged, "judge amazon.nova-lite").money is not None
    assert "not invoked" in item(deployed, "Lambda compute").basis
    assert {each.name for each in none.items} == {
        "training",
        "Lambda compute",
        "Lambda requests",
        "storage of the tuned model",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"evaluation": -1}, "evaluation"),
        ({"samples": True}, "samples"),
        ({"reward_seconds": (2.0, 1.0)}, "reward_seconds"),
        ({"answer_tokens": -5}, "answer_tokens"),
        ({"hyperparameters": {"epochs": 1}}, "n_epochs"),
    ],
)
def test_invalid_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with Service(reward=right) as service, Client(transport=LocalTransport(service)) as client:
        with pytest.raises(ConfigurationError, match=message):
            client.estimate(records(), history=False, **arguments)
        with pytest.raises(DatasetError, match="no records"):
            client.estimate([])


def test_a_rehearsal_has_an_estimate() -> None:
    found = rehearse(records(), Exact(), hyperparameters={"batch_size": 10}, limit=20)
    assert found.estimate is not None
    assert found.estimate.steps == Range(8, 10)
    assert "money" in dict(found.facts())
    assert found.to_dict()["estimate"]["currency"] == "USD"
