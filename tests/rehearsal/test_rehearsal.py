"""Rehearsals: the reward curve, the load on the reward, and the findings."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from support.browser import open_page
from support.flaky_proxy import FlakyProxy
from support.lambda_server import ARN, FakeLambda

from bedrock_rft import AsyncClient, Client, ConfigurationError, DatasetError, datasets, rollouts
from bedrock_rft._cli.app import run as main
from bedrock_rft.local import LocalService, LocalTransport
from bedrock_rft.rehearsal import Curve, Groups, Load, Rehearsal, rehearse
from bedrock_rft.rehearsal._rehearse import Plan, judge_base_model
from bedrock_rft.rewards import Rollout, reward

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCE = """
def lambda_handler(event, context):
    return [{"id": one["id"], "aggregate_reward_score": score(one)} for one in event]

def score(one):
    fields = {**one, **(one.get("metadata") or {})}
    wanted = fields.get("reference_answer")
    wanted = wanted["text"] if isinstance(wanted, dict) else wanted
    answer = one["messages"][-1]["content"] if one["messages"] else ""
    return float(bool(wanted) and answer.strip(" .}").endswith(str(wanted)))
"""


@reward
def right(rollout: Rollout) -> bool:
    return rollout.answer.strip(" .}").endswith(str(rollout.reference))


@reward
def indifferent(rollout: Rollout) -> float:
    del rollout
    return 0.5


def records(count: int = 120) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}], "reference_answer": str(n + n)}
        for n in range(count)
    ]


def codes(report: Rehearsal) -> set[str]:
    return {finding.code for finding in report.findings if finding.level != "ok"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rehearsal") / "train.jsonl"
    datasets.write(path, records())
    return path


@pytest.fixture(scope="module")
def service(data: Path) -> Iterator[LocalService]:
    with LocalService() as running:
        with Client(**running.client_options("api_key")) as client:
            client.files.upload(data)
        yield running


@pytest.fixture(scope="module")
def client(service: LocalService) -> Iterator[Client]:
    """A client without a connection, which costs most of the time of a request."""
    with Client(transport=LocalTransport(service.service)) as opened:
        yield opened


@pytest.fixture(scope="module")
def good(data: Path) -> Rehearsal:
    return rehearse(data, right, hyperparameters={"n_epochs": 2, "batch_size": 8})


def test_a_good_run_has_no_errors(good: Rehearsal) -> None:
    assert good.ok
    assert codes(good) == {"not_asked"}, "the base model was not sampled"
    assert good.first == ()
    assert good.curve is not None
    assert good.curve.last > good.curve.first + 0.3
    assert len(good.curve.rewards) == 2 * 120 / 8
    assert 0.5 < good.curve.signal_share <= 1
    assert {"learns", "data", "sound", "load"} <= {finding.code for finding in good.findings}


def test_the_load_on_the_function_is_computed(good: Rehearsal) -> None:
    load = good.load
    assert load is not None
    assert (load.steps, load.rollouts, load.calls, load.calls_at_once) == (30, 120 * 2 * 8, 120, 4)
    assert 0 < load.call_seconds < load.total_seconds
    assert load.timeout == 300


def test_the_report_fits_80_columns_and_is_json(good: Rehearsal, tmp_path: Path) -> None:
    text = str(good)
    assert "rehearsal: no model was trained" in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "30 steps: 2 epochs, 8 prompts a step" in text
    assert "default" not in text, "both were given"
    written = json.loads(good.to_json(tmp_path / "report.json"))
    assert written == json.loads((tmp_path / "report.json").read_text())
    assert written["ok"] is True
    assert written["load"]["calls"] == 120
    assert written["rewards"] == [*good.curve.rewards] if good.curve else False
    assert "no model was trained" in written["notice"]


def test_a_run_of_large_batches_is_rehearsed_long_enough() -> None:
    """The job runs on a maximum number of records, and has 25 steps even if a limit of 400 would give fewer."""
    assert Plan().max_records == 400
    assert Plan(hyperparameters={"batch_size": 17}).max_records == 25 * 17
    assert Plan(hyperparameters={"batch_size": 17}, limit=16).max_records == 16


def test_the_load_covers_all_records_even_with_a_limit(data: Path) -> None:
    report = rehearse(data, right, limit=16)
    assert report.rehearsed == 16
    assert report.metrics is not None
    assert len(report.metrics) == 4
    assert report.load is not None
    assert report.load.steps == 30
    assert "few_steps" in codes(report)
    assert "on 16 of the records" in " ".join(str(report).split())
    assert "; defaults for n_epochs and batch_size" in " ".join(str(report).split())


@pytest.mark.parametrize("kind", ["handler", "function", "file", "zip", "deployed"])
def test_every_kind_of_reward_is_rehearsed(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    file = tmp_path / "lambda_function.py"
    file.write_text(SOURCE)
    with zipfile.ZipFile(tmp_path / "reward.zip", "w") as archive:
        archive.write(file, "lambda_function.py")
    space: dict[str, Any] = {}
    exec(SOURCE, space)  # noqa: S102 - ours
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    rewards: dict[str, Any] = {
        "handler": right.handler,
        "function": space["lambda_handler"],
        "file": f"{file}:lambda_handler",
        "zip": tmp_path / "reward.zip",
        "deployed": ARN,
    }
    with FakeLambda(space["lambda_handler"]) as function:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", function.url)
        report = rehearse(data, rewards[kind], limit=48)
    assert report.ok, str(report)
    assert "learns" in {finding.code for finding in report.findings}
    assert report.load is not None
    if kind == "deployed":
        assert function.done["answered"] > 48 * 8 / 16
        assert report.load.timeout == 60, "the function's own"
    else:
        assert not function.done


def test_findings_to_fix_are_ordered() -> None:
    report = rehearse(records(40), indifferent, limit=16)
    assert not report.ok
    assert [finding.code for finding in report.errors][-1] == "all_equal"
    assert report.first[0].code not in ("all_equal", "flat"), "the data come first"
    lines = str(report).splitlines()
    assert "Fix first" in lines
    assert any(line.startswith("  1. error: ") for line in lines)
    assert "flat" not in codes(report), "the check has reported it already"
    doubled = rehearse([*records(60), *records(60)], indifferent, limit=16)
    assert [finding.level for finding in doubled.first] == ["error", "warning"]


def test_a_reward_that_raises_fails_the_job(data: Path) -> None:
    def broken(event: Any, context: Any) -> Any:
        del event, context
        raise ValueError("no such field")

    report = rehearse(data, broken)
    assert {"raised", "job_failed"} <= codes(report)
    assert "no such field" in str(next(one for one in report.errors if one.code == "job_failed"))
    assert report.curve is None
    assert "not a function" in str(rehearse(data, lambda: 0)) or "must take" in str(rehearse(data, lambda: 0))


def test_unreadable_data_end_the_rehearsal_early(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"messages": [}\n')
    report = rehearse(path, right)
    assert "not_rehearsed" in codes(report)
    assert "line 1" in str(report)
    with pytest.raises(DatasetError, match="no records"):
        rehearse([], right)
    with pytest.raises(DatasetError, match="cannot be read"):
        rehearse(tmp_path / "none.jsonl", right)


def test_the_base_model_is_sampled_only_on_request(service: LocalService, data: Path) -> None:
    with FlakyProxy(service.base_url, share=0.0) as proxy:
        options: dict[str, Any] = {**service.client_options("api_key"), "base_url": proxy.base_url}
        with Client(**options) as client:
            assert client.rehearse(data, reward=right, limit=16).evaluation is None
            assert client.rehearse(records(40), reward=right, samples=4).evaluation is None, "there are too few records"
            assert client.rehearse(data, reward=indifferent, limit=16, samples=4).evaluation is None, (
                "the reward is constant"
            )
            assert proxy.done["passed"] == 0
            report = client.rehearse(data, reward=right, limit=16, samples=4, prompts=6, progress=False)
            assert proxy.done["passed"] == 24
        assert report.evaluation is not None
        assert report.base is not None
        assert len(report.base.scores) == 6
        assert 0 < report.base.signal_share <= 1
        assert {"signal", "base_score"} <= {finding.code for finding in report.findings}
        assert "not_asked" not in codes(report)
        assert "the base model's answers come from the local service and know the references" in report.notice
        assert "24 answers" in str(report)
        assert report.evaluation.models[0].completion_tokens > 0
        assert all(len(line) <= 80 for line in str(report).splitlines())


def test_an_async_client_rehearses_too(service: LocalService, data: Path) -> None:
    async def run() -> tuple[Rehearsal, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.002)
                ticks += 1

        async with AsyncClient(**service.client_options("aws")) as client:
            ticking = asyncio.ensure_future(tick())
            await client.rehearse(data, reward=right, limit=48)
            ticking.cancel()
            return await client.rehearse(data, reward=right, limit=16, samples=2, prompts=8), ticks

    report, ticks = asyncio.run(run())
    assert report.base is not None
    assert len(report.base.scores) == 8
    assert ticks > 10, "the event loop is not blocked"


def test_a_sync_client_rehearses_inside_a_running_loop(service: LocalService, data: Path) -> None:
    async def cell() -> Rehearsal:
        with Client(**service.client_options("api_key")) as client:
            return client.rehearse(data, reward=right, limit=16, samples=2, prompts=4)

    assert asyncio.run(cell()).base is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"samples": 1}, "at least 2"),
        ({"samples": 2}, "needs a client"),
        ({"prompts": True}, "prompts is True"),
        ({"hyperparameters": {"epochs": 3}}, "did you mean 'n_epochs'"),
        ({"client": object()}, "await client.rehearse"),
        ({"reward_range": (1, 0)}, "reward_range is"),
    ],
)
def test_invalid_arguments_are_refused(data: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rehearse(data, right, **settings)


def test_a_rehearsal_needs_no_identity_no_extra_and_no_socket(data: Path, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(SOURCE)
    code = (
        "import sys, socket\n"
        "for name in ('starlette', 'uvicorn', 'tqdm', 'openai', 'pandas', 'matplotlib'): sys.modules[name] = None\n"
        "socket.socket.connect = None\n"
        "from bedrock_rft.rehearsal import rehearse\n"
        f"print(rehearse({str(data)!r}, {str(tmp_path / 'reward.py')!r} + ':lambda_handler', limit=16).ok)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "True"


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "reward.py"
    file.write_text(SOURCE + "\ndef zero(event, context):\n    return []\n")
    page = tmp_path / "report.html"
    good = ["rehearse", str(data), "--reward", f"{file}:lambda_handler", "--batch-size", "8", "--limit", "24"]
    assert main([*good, "--html", str(page)]) == 0
    assert " 15 steps: 1 epoch, 8 prompts a step; default for --n-epochs" in capsys.readouterr().out
    assert main([*good, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {"batch_size": 8}
    assert main([*good, "--hyperparameter", "n_epochs=2", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {"batch_size": 8, "n_epochs": 2}
    assert main([*good, "--hyperparameter", "n_epochs"]) == 2
    capsys.readouterr()
    assert "<svg" in page.read_text(encoding="utf-8")
    assert main(["rehearse", str(data), "--reward", f"{file}:zero"]) == 3
    capsys.readouterr()
    wrong_file, wrong_page = str(tmp_path / "none.jsonl"), ["--html", str(tmp_path / "none" / "x")]
    for wrong, status in (([good[0], wrong_file, *good[2:]], 2), ([*good, *wrong_page], 1), (good[:2], 2)):
        assert main(wrong) == status
        assert capsys.readouterr().err.startswith("error: ")


def test_the_command_samples_the_base_model(
    service: LocalService, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "rehearse",
        str(data),
        "--reward",
        f"{EXAMPLES / 'reward.py'}:lambda_handler",
        "--limit",
        "16",
        "--samples",
        "8",
    ]
    assert main([*command, "--prompts", "6"]) == 2, "there is no identity"
    assert "error: " in capsys.readouterr().err
    for name, value in service.environment("api_key").items():
        monkeypatch.setenv(name, value)
    assert main([*command, "--prompts", "6"]) == 0
    assert "48 answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rewards", "bounds", "code"),
    [
        ([0.2] * 5 + [0.9] * 25, (0.0, 1.0), "learns"),
        ([0.9] * 5 + [0.2] * 25, (0.0, 1.0), "falls"),
        ([0.3, 0.32] * 15, (0.0, 1.0), "stays"),
        ([0.98] * 30, (0.0, 1.0), "saturated"),
        ([0.5] * 30, (0.5, 0.5), "flat"),
        ([0.2, 0.9], (0.0, 1.0), "few_steps"),
        ([20.0] * 5 + [90.0] * 25, (0.0, 100.0), "learns"),
        ([-0.9] * 5 + [-0.2] * 25, (-1.0, 0.0), "learns"),
    ],
)
def test_the_direction_of_a_curve(rewards: list[float], bounds: tuple[float, float], code: str) -> None:
    assert [finding.code for finding in Curve(rewards, bounds, 0.5).findings()] == [code]


def test_noise_alone_neither_rises_nor_falls() -> None:
    generator = random.Random(3)  # noqa: S311 - a simulation
    codes = [
        Curve([fmean(float(generator.random() < 0.4) for _ in range(32)) for _ in range(12)], (0.0, 1.0), 1.0)
        .findings()[0]
        .code
        for _ in range(400)
    ]
    assert codes.count("falls") / len(codes) < 0.05
    assert codes.count("learns") / len(codes) < 0.05


@pytest.mark.parametrize(
    ("scores", "code"),
    [([[0, 0], [1, 1]], "no_signal"), ([[0, 1]] + [[0, 0]] * 9, "little_signal"), ([[0, 1], [1, 1]], "signal")],
)
def test_the_signal_of_the_base_model(scores: list[list[float]], code: str) -> None:
    assert [finding.code for finding in Groups(scores, 1.0, group_size=2).findings()] == [code]


@pytest.mark.parametrize(("seconds", "code"), [(0.1, "load"), (1.0, "slow"), (2.0, "too_slow")])
def test_a_slow_reward_is_reported(seconds: float, code: str) -> None:
    load = Load(100, 1, 4, 8, 16, seconds, 30.0)
    assert [finding.code for finding in load.findings()] == [code]


def test_calls_count_the_last_batch_of_an_epoch_by_its_own_size() -> None:
    assert Load(10, 1, 4, 8, 16, 0.1, 30.0).calls == 2 + 2 + 1
    assert Load(101, 3, 100, 8, 16, 0.1, 30.0).calls == 3 * (50 + 1)
    assert Load(8, 2, 4, 8, 32, 0.1, 30.0).calls == 4
    assert Load(2, 1, 100, 8, 16, 0.1, 30.0).calls_at_once == 1


def test_the_timeout_is_judged_by_the_slowest_invocation() -> None:
    assert [finding.code for finding in Load(100, 1, 4, 8, 16, 0.01, 30.0, slowest=31.0).findings()] == ["too_slow"]
    load = Load(100, 1, 4, 8, 16, 0.01, 30.0, slowest=2.0)
    assert load.call_seconds == 2.0
    assert load.total_seconds == pytest.approx(8.0), "the mean counts for the sum"


@pytest.mark.parametrize("samples", [2, 4, 8, 16])
def test_the_signal_is_estimated_for_the_planned_group_size(samples: int) -> None:
    generator = random.Random(1)  # noqa: S311 - a simulation
    rates = [generator.betavariate(0.6, 1.2) for _ in range(2000)]
    truth = sum(1 - rate**8 - (1 - rate) ** 8 for rate in rates) / len(rates)
    scores = [[float(generator.random() < rate) for _ in range(samples)] for rate in rates]
    groups = Groups(scores, 1.0, group_size=8)
    assert groups.signal_share == pytest.approx(truth, abs=0.03)
    low, high = groups.signal_interval
    assert low < truth < high or abs(groups.signal_share - truth) < 0.03
    if samples < 8:
        assert groups.observed_share < truth - 0.03, "fewer answers differ less often"


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.1), (1.0, 1.0), (2.0, 0.2)])
def test_the_interval_of_the_signal_covers_the_share_for_larger_groups(alpha: float, beta: float) -> None:
    rng = random.Random(7)  # noqa: S311 - a simulation
    passes = [rng.betavariate(alpha, beta) for _ in range(4000)]
    truth = sum(1 - p**8 - (1 - p) ** 8 for p in passes) / len(passes)
    runs, covered = 50, 0
    for _ in range(runs):
        scores = [
            [float(rng.random() < p) for _ in range(4)] for p in (rng.betavariate(alpha, beta) for _ in range(32))
        ]
        low, high = Groups(scores, 1.0, group_size=8).signal_interval
        covered += low <= truth <= high
    assert covered / runs >= 0.93


def test_few_answers_with_many_scores_give_a_lower_bound() -> None:
    groups = Groups([[0.1, 0.2], [0.3, 0.3], [0.0, 0.0]], 1.0)
    assert groups.is_lower_bound
    assert "at least 33%" in str(groups)


def test_an_interval_never_has_width_0() -> None:
    for scores in ([[0.0] * 8] * 3, [[0.0, 1.0] * 4] * 3):
        low, high = Groups(scores, 1.0).signal_interval
        assert low < high


def test_no_ok_stands_beside_an_error_that_it_contradicts(data: Path) -> None:
    """A reward that pays for wrong answers rises too."""

    def inverted(event: Any, context: Any) -> Any:
        found = right.handler(event, context)
        return [{**one, "aggregate_reward_score": 1 - one["aggregate_reward_score"]} for one in found]

    report = rehearse(data, inverted)
    assert report.errors
    assert "learns" not in {finding.code for finding in report.findings}


def test_no_ok_stands_beside_a_base_model_without_signal(client: Client, data: Path) -> None:
    """A graded reward that gives all answers to a prompt the same score has a good mean and no signal."""

    def by_reference(event: Any, context: Any) -> Any:
        del context
        return [
            {"id": one["id"], "aggregate_reward_score": len(one["metadata"]["reference_answer"]) / 4} for one in event
        ]

    evaluation = client.evaluate(data, models="openai.gpt-oss-20b", reward=by_reference, samples=4, limit=30)
    assert "base_score" in {finding.code for finding in evaluation.findings}
    findings = judge_base_model(evaluation, Groups([*evaluation.models[0].scores.values()], 1.0))
    assert "no_signal" in {finding.code for finding in findings}
    assert not [finding for finding in findings if finding.level == "ok"]
    findings = judge_base_model(evaluation, Groups([[0.0, 0.5, 1.0, 0.5]] * 60, 1.0))
    assert {finding.code for finding in findings} == {"base_score", "signal"}


def test_the_base_model_is_judged_on_the_rewards_own_scale(client: Client, data: Path) -> None:
    def out_of_ten(event: Any, context: Any) -> Any:
        found = right.handler(event, context)
        return [{**one, "aggregate_reward_score": 10 * one["aggregate_reward_score"]} for one in found]

    settings: dict[str, Any] = {"limit": 16, "samples": 4, "prompts": 12, "progress": False}
    unknown = client.rehearse(data, reward=out_of_ten, **settings)
    known = client.rehearse(data, reward=out_of_ten, reward_range=(0, 10), **settings)
    assert "base_scale" in codes(unknown)
    assert {"base_score", "signal"} <= {finding.code for finding in known.findings}
    assert known.base is not None
    assert known.base.best == 10


def test_a_known_difficulty_replaces_samples(data: Path, tmp_path: Path) -> None:
    hashes = [datasets.hash_messages(record["messages"]) for record in datasets.read(data)]
    rewards = {each: [float(place % 3 == 1 and answer < 4) for answer in range(8)] for place, each in enumerate(hashes)}
    table = datasets.Difficulty.from_rewards({**rewards, "another": [1.0, 0.0]}, origin="base on train.jsonl")
    table.to_json(tmp_path / "difficulty.json")
    report = rehearse(data, right, limit=16, difficulty=tmp_path / "difficulty.json")
    assert report.base is not None
    assert report.base.signal_share == pytest.approx(1 / 3, abs=0.01)
    assert "signal" in {finding.code for finding in report.findings}
    assert "not_asked" not in {finding.code for finding in report.findings}
    text = " ".join(str(report).split())
    assert f"base on train.jsonl: {table.signal() and report.difficulty and report.difficulty.pass_rate}" in text
    third = len(hashes) // 3
    assert f"select {third} of {len(hashes)} sampled prompts have a pass rate of 0.1 to 0.9; groups without" in text
    assert "not_asked" not in str(report)
    other = rehearse(data, right, limit=16, difficulty=datasets.Difficulty.from_rewards({"another": [1.0, 0.0]}))
    assert "other_prompts" in {finding.code for finding in other.unknown}
    with pytest.raises(ConfigurationError, match="samples and difficulty"):
        rehearse(data, right, samples=2, difficulty=table)


def test_a_batch_that_exceeds_the_data_has_the_prompts_that_exist(data: Path) -> None:
    report = rehearse(data, right, hyperparameters={"batch_size": 500})
    count = len(list(datasets.read(data)))
    equal = rehearse(data, right, hyperparameters={"batch_size": count})
    text = " ".join(str(report).split())
    assert f"1 step: 1 epoch, {count} prompts a step" in text
    assert "large_batch" in {finding.code for finding in report.warnings}
    assert report.estimate is not None
    assert equal.estimate is not None
    assert report.estimate.hours == equal.estimate.hours
    assert "1 step, " in str(report.estimate)
    assert any(f"a step has {count} prompts" in each for each in report.estimate.assumptions)
    assert "limit=" not in text
    assert "Use a smaller batch_size, more epochs or more records" in text
    assert not {"large_batch", "model"} & {finding.code for finding in equal.findings}


def test_a_model_that_is_not_documented_is_named_and_its_costs_are_not_left_out_silently(data: Path) -> None:
    report = rehearse(data, right, limit=16, model="foo")
    text = " ".join(str(report).split())
    assert "'foo' is not documented as trainable" in text
    assert "without training, evaluation of the base model, evaluation of the tuned model, whose prices are not" in text
    assert "for the rest" not in text


def test_a_low_learning_rate_is_the_reason_for_a_reward_that_stays(data: Path) -> None:
    report = rehearse(data, right, hyperparameters={"learning_rate_multiplier": 0.001, "n_epochs": 2})
    (finding,) = [one for one in report.findings if one.code == "stays"]
    assert finding.reason.startswith("with learning_rate_multiplier 0.001, the local policy changes little")
    assert finding.remedy == "Rehearse without learning_rate_multiplier"


def test_data_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"messages": 1}\n[1]\n{"messages": 2}\nno\n', "utf-8")
    report, checked = rehearse(path, right), datasets.validate(path)
    assert checked.records
    assert dict(report.facts())["data"].startswith(f"{checked.records} records, ")
    assert f"{checked.records} records, " in report.to_html()
    assert report.to_dict()["records"] == checked.records


def test_a_difficulty_of_the_local_service_says_nothing_about_the_base_model(data: Path, tmp_path: Path) -> None:
    rehearse(data, right, limit=16, record=tmp_path / "rollouts")
    table = rollouts.read(tmp_path / "rollouts").difficulty()
    table.to_json(tmp_path / "difficulty.json")
    report = rehearse(data, right, limit=16, difficulty=tmp_path / "difficulty.json")
    assert "signal" not in {finding.code for finding in report.findings}
    assert "not_asked" in {finding.code for finding in report.unknown}
    text = " ".join(str(report).split())
    assert "the difficulty was measured on the local service or in a rehearsal, not on the base model" in text
    assert f"difficulty {table.origin}" in text
    assert "base model rollouts" not in text
    assert "answers of the local service or a rehearsal, which know the references" in text
    assert "not on the base model" in report.to_html()


def test_floating_sums_solve_a_prompt() -> None:
    assert Groups([[0.7 + 0.2 + 0.1] * 4, [0.0] * 4], 1.0).solved_share == 0.5


def test_the_page_shows_the_reward_and_no_metrics_of_the_local_policy(good: Rehearsal) -> None:
    page = good.to_html()
    assert "<figcaption>reward" in page
    for metric in ("entropy", "response length", "gradient norm"):
        assert metric not in page


def test_a_failed_job_has_no_ok_for_its_load(data: Path) -> None:
    def fails_later(event: Any, context: Any) -> Any:
        if any("local-step-3-" in one["id"] for one in event):
            raise RuntimeError("the judge is down")
        return right.handler(event, context)

    found = {finding.code for finding in rehearse(data, fails_later, limit=16).findings}
    assert "job_failed" in found
    assert "load" not in found


def test_the_finding_for_another_payload_shape_names_the_options(data: Path) -> None:
    def sample(event: Any, context: Any) -> Any:
        del context
        return [
            {
                "id": one["id"],
                "aggregate_reward_score": float(
                    one["messages"][-1]["content"].strip(" .}").endswith(one["reference_answer"]["text"])
                )
                if isinstance(one.get("reference_answer"), dict)
                else 0.0,
            }
            for one in event
        ]

    report = rehearse(data, sample, limit=16)
    finding = next(finding for finding in report.errors if finding.code == "payload_shape")
    assert 'payload="top_level", wrap_text=True' in finding.remedy
    report = rehearse(data, sample, limit=48, payload="top_level", wrap_text=True)
    assert report.curve is not None
    assert report.curve.bounds == (0.0, 1.0)


def test_a_reward_that_only_gold_satisfies_has_a_signal(data: Path) -> None:
    @reward
    def strict(rollout: Rollout) -> bool:
        return rollout.answer == f"<<{rollout.reference}>>"

    def gold(record: Any) -> str:
        return f"<<{record['reference_answer']}>>"

    report = rehearse(data, strict, limit=48, gold=gold)
    assert report.curve is not None
    assert report.curve.bounds == (0.0, 1.0)
    assert not {"flat", "always_zero", "all_equal"} & {finding.code for finding in report.findings}
    assert "learning_rate_multiplier always looks better in a rehearsal" in " ".join(report.notice.split())


def test_the_command_takes_gold_and_the_payload_shape(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strict.py").write_text(
        "def gold(record):\n    return f\"<<{record['reference_answer']}>>\"\n\n"
        "def handler(event, context):\n"
        "    return [{'id': one['id'], 'aggregate_reward_score': score(one)} for one in event]\n\n"
        "def score(one):\n"
        "    return float(one['messages'][-1]['content'] == f\"<<{one.get('reference_answer')}>>\")\n"
    )
    file = tmp_path / "strict.py"
    main([
        "rehearse", str(data), "--reward", f"{file}:handler", "--gold", f"{file}:gold", "--payload", "top_level",
        "--limit", "48", "--output", "json",
    ])  # fmt: skip
    report = json.loads(capsys.readouterr().out)
    assert max(report["rewards"]) > 0


def test_pages_run_no_script_and_show_their_curves(client: Client, tmp_path: Path) -> None:
    hostile = "<script>document.title='ran'</script>]]><img src='http://other.example/x.png' onerror=alert(1)>\x1b[31m"
    rows = records()
    for row in rows:
        row["messages"][0]["content"] += hostile
        row["kind"] = hostile
    rows[3]["reference_answer"] = hostile

    def spiteful(event: Any, context: Any) -> Any:
        found = right.handler(event, context)
        for one in found:
            one["metrics_list"].append({"name": hostile, "value": 1.0, "type": "Metric"})
        return found

    client.files.upload(rows)
    rehearsal = client.rehearse(rows, reward=spiteful, limit=48, samples=2, prompts=8)
    models = {hostile: "openai.gpt-oss-20b", "other": "qwen.qwen3-32b"}
    evaluation = client.evaluate(rows, models=models, reward=spiteful, by=["kind"], limit=40)
    assert evaluation.better
    assert evaluation.worse

    def raising(event: Any, context: Any) -> Any:
        del event, context
        raise ValueError(hostile)

    pages = [rehearse(rows, raising).to_html(), rehearsal.to_html(), evaluation.to_html()]
    for page, shape in zip(pages, ("<li", "<polyline", "<rect"), strict=True):
        assert shape in page
        assert "&lt;script&gt;" in page
        assert "\x1b" not in page
    # One after the other in one document, because starting the browser takes longer than to show them. Their policy
    # against scripts is left out: the texts alone have to be harmless.
    text = re.sub(r"<meta http-equiv=[^>]*>", "", "".join(pages))
    assert "Content-Security-Policy" not in text
    seen = open_page(text, tmp_path)
    assert seen.requests == ()
    assert "<script" not in seen.dom
    assert "<img" not in seen.dom
    assert "<title>ran" not in seen.dom
    for mark in ("&lt;script&gt;", "<li", "<polyline", "<rect"):
        assert seen.dom.count(mark) == text.count(mark), mark
    assert seen.picture.stat().st_size > 10_000


def test_a_remedy_is_not_given_to_other_problems_of_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"a": 1,}\n{"a": NaN}\n')
    found = {finding.code: finding for finding in rehearse(file, right).findings}
    assert found["not-json"].reason == "it is the first of 2 problems of the kind 'not-json'"
    assert found["not-json"].remedy.startswith("Remove the comma there; datasets.validate lists the others")
    assert found["too-few"].remedy == "Add records"
