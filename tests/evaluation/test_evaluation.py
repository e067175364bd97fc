"""Evaluations: requests, retries and resuming over real sockets; settings and reports of a service in this process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flaky_proxy import FlakyProxy
from support.scripts import run_python

from bedrock_rft import AsyncClient, Client, ConfigurationError, DatasetError, NotFoundError, datasets
from bedrock_rft._core.statistics import pass_at_k
from bedrock_rft._core.tables import format_table
from bedrock_rft.evaluation import Evaluation, Thresholds
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.evaluation._sampling import AdaptiveLimiter
from bedrock_rft.local import LocalService, LocalTransport
from bedrock_rft.rewards import Rollout, reward

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"


@reward
def right(rollout: Rollout) -> bool:
    return rollout.answer.strip(" .}").endswith(str(rollout.reference))


def records(count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "user", "content": f"What is {n} + {n}?"}],
            "reference_answer": str(n + n),
            "parity": "odd" if n % 2 else "even",
            "size": n,
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluation") / "test.jsonl"
    datasets.write(path, records(120))
    return path


@pytest.fixture(scope="module")
def service(data: Path) -> Iterator[LocalService]:
    with LocalService(reward=right.handler) as running:
        with Client(**running.client_options("api_key")) as client:
            client.files.upload(data)
        yield running


@pytest.fixture(scope="module")
def client(service: LocalService) -> Iterator[Client]:
    """A client without a connection, which costs most of the time of a request."""
    with Client(transport=LocalTransport(service.service)) as opened:
        yield opened


def test_a_tuned_model_is_compared_with_its_base(client: Client, data: Path, tmp_path: Path) -> None:
    job = client.jobs.create(MODEL, training_file=client.files.upload(data), reward=ARN)
    job = client.jobs.wait(job, poll_interval=0.05)
    reported: list[tuple[str, int, int]] = []
    report = client.evaluate(
        records(60),
        models=[MODEL, job],
        reward=right,
        samples=2,
        by=["parity", "size"],
        progress=lambda stage, done, total: reported.append((stage, done, total)),
    )
    base, tuned = report.models
    assert (base.answers, tuned.answers, base.failed) == (120, 120, 0)
    assert tuned.score.value > base.score.value + 0.3
    assert base.score.low <= base.score.value <= base.score.high
    assert base.pass_at[2] > base.pass_at[1] == pytest.approx(base.score.value)
    assert base.parts["right"] == pytest.approx(base.score.value)
    assert base.prompt_tokens > 0 < base.completion_tokens
    (compared,) = report.comparisons
    found = compared.difference
    assert found.interval.low > 0
    assert found.p < 0.01
    assert found.better + found.worse + found.equal == 60
    assert [group.value for group in report.groups] == [
        "even",
        "odd",
        *(f"{n} to {n + 15}" for n in (0, 15, 30)),
        "45 to 59",
    ]
    assert sum(group.prompts for group in report.groups) == 120
    assert report.better[0].gain >= report.better[-1].gain > 0
    assert {finding.code for finding in report.findings} == {"base_score", "better"}
    assert compared.verdict == "better"
    assert reported[-1] == ("scored", 240, 240)
    assert ("asked", 240, 240) in reported
    assert all(len(line) <= 80 for line in str(report).splitlines())
    again = json.loads(report.to_json(tmp_path / "report.json"))
    assert again["models"][1]["score"]["value"] == tuned.score.value
    assert json.loads((tmp_path / "report.json").read_text()) == again
    page = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert "<script" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_the_difficulty_of_the_base_model_selects_prompts(client: Client, data: Path, tmp_path: Path) -> None:
    report = client.evaluate(data, models=[MODEL], reward=right, samples=4, limit=40, progress=False)
    table = report.difficulty()
    assert table == report.difficulty(MODEL)
    assert (len(table.prompts), table.samples, table.pass_mark) == (40, 4, 1.0)
    assert table.origin == "openai.gpt-oss-20b on test.jsonl, 40 of 120 records at random, seed 0"
    assert table.pass_rate.value == pytest.approx(report.models[0].score.value)
    assert sum(group.prompts for group in table.by("parity")) == 40
    report.to_json(tmp_path / "report.json")
    assert Evaluation.load(tmp_path / "report.json").difficulty() == table
    limits = datasets.Limits(min_records=1)
    done = datasets.select(data, table, out=tmp_path / "selected.jsonl", unsampled="drop", limits=limits)
    rates = {each: prompt.pass_rate for each, prompt in table.prompts.items()}
    assert done.unsampled == 80
    assert done.kept == sum(0.1 <= rate <= 0.9 for rate in rates.values())
    for record in datasets.read(done.path):
        assert 0.1 <= rates[datasets.hash_messages(record["messages"])] <= 0.9
    with pytest.raises(ConfigurationError, match=r"no model 'other'; it has: openai\.gpt-oss-20b"):
        report.difficulty("other")
    with pytest.raises(ConfigurationError, match="earlier version"):
        replace(report, prompt_hashes={}).difficulty()


def test_equal_prompts_are_one_prompt_of_the_difficulty(client: Client) -> None:
    report = client.evaluate(records(2) * 2, models=[MODEL], reward=right, samples=2, progress=False)
    assert [prompt.samples for prompt in report.difficulty().prompts.values()] == [4, 4]


def test_an_async_client_evaluates(service: LocalService, data: Path) -> None:
    async def run() -> Evaluation:
        async with AsyncClient(**service.client_options("aws")) as client:
            return await client.evaluate(data, models=[MODEL], reward=right, limit=20, progress=False)

    assert asyncio.run(run()).models[0].answers == 20


def test_a_sync_client_evaluates_inside_a_running_loop(service: LocalService, data: Path) -> None:
    async def cell() -> Evaluation:
        with Client(**service.client_options("aws")) as client:
            return client.evaluate(data, models=MODEL, reward=right.handler, limit=5)

    assert asyncio.run(cell()).models[0].answers == 5


def test_an_async_reward_scores(client: Client, data: Path) -> None:
    @reward
    async def judged(rollout: Rollout) -> float:
        await asyncio.sleep(0)
        return float(bool(rollout.answer)) / 2

    report = client.evaluate(data, models=[MODEL], reward=judged, limit=20)
    assert 0 < report.models[0].score.value <= 0.5


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_every_question_is_answered_once_over_a_flaky_connection(service: LocalService, data: Path, mode: str) -> None:
    """`make soak` does the same with 2,000 prompts, and measures memory."""

    async def run(options: dict[str, Any], settings: dict[str, Any]) -> Evaluation:
        async with AsyncClient(**options) as client:
            return await client.evaluate(data, progress=False, **settings)

    with FlakyProxy(service.base_url, share=0.2) as proxy:
        options: dict[str, Any] = {**service.client_options("api_key"), "base_url": proxy.base_url}
        settings: dict[str, Any] = {"models": [MODEL], "reward": right, "concurrency": 64, "limit": 60}
        if mode == "async":
            report = asyncio.run(run(options, settings))
        else:
            with Client(**options) as client:
                report = client.evaluate(data, progress=False, **settings)
    assert (report.models[0].answers, report.models[0].failed) == (60, 0)
    assert proxy.done["passed"] == 60, "no answered question is sent again"
    assert all(proxy.done[fault] for fault in ("refused", "throttled", "reset", "truncated"))


def test_a_killed_run_resumes_without_repeating_answered_questions(
    service: LocalService, data: Path, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from bedrock_rft import Client
            from bedrock_rft.rewards import reward

            @reward
            def right(rollout):
                return rollout.answer.strip(" .}").endswith(str(rollout.reference))

            base_url, data, state, pause = sys.argv[1:]

            def progress(stage, done, total):
                if stage == "asked" and done == int(pause):
                    print("half way", flush=True)
                    import time
                    time.sleep(60)

            with Client(base_url=base_url, region="us-west-2") as client:
                report = client.evaluate(data, models=["openai.gpt-oss-20b"], reward=right, limit=60, concurrency=8,
                                         resume=state, progress=progress)
            print(report.resumed, report.models[0].answers)
            """
        )
    )
    state = tmp_path / "state.jsonl"
    key = service.client_options("api_key")["api_key"]
    with FlakyProxy(service.base_url, share=0.0) as proxy:
        command = [sys.executable, str(script), proxy.base_url, str(data), str(state)]
        environment = {**os.environ, "AWS_BEARER_TOKEN_BEDROCK": key}
        with subprocess.Popen([*command, "30"], env=environment, stdout=subprocess.PIPE, text=True) as first:  # noqa: S603 - ours
            assert first.stdout is not None
            assert first.stdout.readline() == "half way\n"
            settled = -1
            while settled != (settled := proxy.done["passed"]):
                time.sleep(0.3)  # requests in flight finish, and no new one starts
            first.kill()
        with state.open("ab") as file:
            file.write(b'{"answered": "cut sho')
        kept = state.read_bytes().count(b'"answered"') - 1
        second = run_python(*command[1:], "-1", environment={"AWS_BEARER_TOKEN_BEDROCK": key})
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.split() == [str(kept), "60"]
    assert kept >= 30
    # Only requests in flight when the process died may be sent again.
    assert 60 <= proxy.done["passed"] <= 60 + 8
    if os.name == "posix":
        assert state.stat().st_mode & 0o777 == 0o600


def test_a_larger_run_reuses_stored_answers(service: LocalService, data: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with FlakyProxy(service.base_url, share=0.0) as proxy:
        options: dict[str, Any] = {**service.client_options("api_key"), "base_url": proxy.base_url}
        with Client(**options) as client:
            for samples, limit, asked in ((1, 10, 10), (2, 10, 20), (2, 15, 30), (2, 15, 30)):
                report = client.evaluate(
                    data, models=[MODEL], reward=right, samples=samples, limit=limit, resume=state, progress=False
                )
                assert proxy.done["passed"] == asked
            scores = report.models[0].score
            other = client.evaluate(data, models=[MODEL], reward=-right, samples=2, limit=15, resume=state)
    assert proxy.done["passed"] == 30
    assert other.models[0].score.value == pytest.approx(-scores.value), "another reward scores the stored answers again"


def test_a_resume_file_with_other_content_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an evaluation\n")
    with pytest.raises(ConfigurationError, match=r"line 1 of .* was not written by an evaluation"):
        ResumeFile(tmp_path / "notes.txt", "x")
    with pytest.raises(ConfigurationError, match="cannot use"):
        ResumeFile(tmp_path / "none" / "state.jsonl", "x")


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.binary(max_size=20))
def test_stored_answers_and_scores_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, score: float, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "state.jsonl"
    path.write_bytes(b"")  # one file for all examples, because making and removing folders is slow
    journal = ResumeFile(path, "a")
    journal.add_answer("k", Answer(text, "stop", 3, 4))
    journal.add_score("k", AnswerScore(score, {"part": score}))
    journal.close()
    with path.open("ab") as file:
        file.write(rest.replace(b"\n", b""))
    again = ResumeFile(path, "a")
    again.close()
    assert again.answers == {"k": Answer(text, "stop", 3, 4)}
    assert again.scores == {"k": AnswerScore(score, {"part": score})}
    other = ResumeFile(path, "b")
    other.close()
    assert other.scores == {}


def test_an_unknown_model_ends_the_evaluation_at_once(service: LocalService, data: Path) -> None:
    with FlakyProxy(service.base_url, share=0.0) as proxy:
        options: dict[str, Any] = {**service.client_options("api_key"), "base_url": proxy.base_url}
        with Client(**options) as client, pytest.raises(NotFoundError, match="no-such-model"):
            client.evaluate(data, models=["no-such-model"], reward=right, concurrency=4)
        assert proxy.done["passed"] <= 4


def test_an_evaluation_ends_if_the_service_rejects_every_question(client: Client, data: Path) -> None:
    from bedrock_rft import BadRequestError

    with pytest.raises(BadRequestError, match="temperature"):
        client.evaluate(data, models=[MODEL], reward=right, sampling={"temperature": 7})


def test_single_rejected_questions_are_counted_as_missing(client: Client) -> None:
    rows = records(30)
    rows[3]["messages"] = [{"role": "user", "content": 7}]
    report = client.evaluate(rows, models=[MODEL], reward=right, concurrency=1)
    assert (report.models[0].answers, report.models[0].failed) == (29, 1)
    assert "not_answered" in {finding.code for finding in report.warnings}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"concurrency": 5000}, "from 1 to 1024"),
        ({"limit": 0}, "limit is 0"),
        ({"pass_mark": float("nan")}, "pass_mark"),
        ({"sampling": {"n": 4}}, "must not contain n"),
        ({"by": "parity"}, r"by=\['parity'\]"),
        ({"by": ["level"]}, "no record has. The records have parity, size"),
        ({"models": []}, "models is empty"),
        ({"models": [MODEL, MODEL]}, "twice"),
        ({"models": [7]}, "not int"),
        ({"reward_range": (1, 0)}, r"reward_range is \(1, 0\)"),
        ({"reward_range": 1}, "reward_range is 1"),
        ({"reward": 7}, "type int"),
    ],
)
def test_invalid_settings_are_rejected_before_any_request(
    client: Client, data: Path, settings: dict[str, Any], message: str
) -> None:
    wanted: dict[str, Any] = {"models": [MODEL], "reward": right, **settings}
    with pytest.raises(ConfigurationError, match=message):
        client.evaluate(data, **wanted)


def test_a_job_without_a_model_is_an_error_that_names_it(client: Client, data: Path) -> None:
    one_step = {"batch_size": 120}
    job = client.jobs.create(MODEL, training_file=client.files.upload(data), reward=ARN, hyperparameters=one_step)
    with pytest.raises(ConfigurationError, match="has no tuned model"):
        client.evaluate(data, models=[job], reward=right)
    client.jobs.wait(job, poll_interval=0.05)


def test_an_empty_dataset_is_an_error(client: Client) -> None:
    with pytest.raises(DatasetError, match="no records"):
        client.evaluate([], models=[MODEL], reward=right)
    with pytest.raises(DatasetError, match="Record 1 has no messages"):
        client.evaluate([{"prompt": "?"}], models=[MODEL], reward=right)
    with pytest.raises(DatasetError, match="Record 1 has no messages"):
        client.evaluate([{"messages": ["?"]}], models=[MODEL], reward=right)


@pytest.mark.parametrize(("value", "code"), [(0.0, "base_too_low"), (0.5, "base_score"), (1.0, "base_too_high")])
def test_a_base_model_gets_advice_before_training(client: Client, data: Path, value: float, code: str) -> None:
    @reward
    def constant(rollout: Rollout) -> float:
        del rollout
        return value

    report = client.evaluate(data, models=[MODEL], reward=constant, limit=100)
    assert code in {finding.code for finding in report.findings}
    eased = client.evaluate(
        data, models=[MODEL], reward=constant, limit=5, thresholds=Thresholds(too_low=-1.0, too_high=2.0)
    )
    assert "base_score" in {finding.code for finding in eased.findings}


def test_a_reward_that_raises_is_reported(client: Client, data: Path) -> None:
    tried: list[str] = []

    @reward
    def brittle(rollout: Rollout) -> float:
        tried.append(rollout.answer)
        if len(tried) > 1:
            raise ValueError("no such field")
        return 1.0

    report = client.evaluate(data, models=[MODEL], reward=brittle, limit=10)
    (found,) = [finding for finding in report.warnings if finding.code == "reward_errors"]
    assert "The first reason: ValueError: no such field (test_evaluation.py, line " in found.reason
    assert report.models[0].parts["reward_error"] == pytest.approx(0.9)


def test_hostile_text_is_escaped(client: Client) -> None:
    rows = records(30)
    rows[0]["kind"] = "<script>alert(1)</script>\x1b[31m"
    report = client.evaluate(rows, models={"<b>base\x1b</b>": MODEL}, reward=right, by=["kind"])
    assert "<script>" not in report.to_html()
    assert "<b>base" not in report._repr_html_()
    assert "\x1b" not in str(report)


@given(st.lists(st.lists(st.text(max_size=40), min_size=9, max_size=9), min_size=1, max_size=4))
def test_a_wide_table_continues_below_with_all_columns(rows: list[list[str]]) -> None:
    head = [f"column {number}" for number in range(9)]
    lines = format_table([head, *([cell or "-" for cell in row] for row in rows)])
    assert all(len(line) <= 80 for line in lines)
    assert [name for name in head if not any(name in line for line in lines)] == []


def test_the_concurrency_limit_follows_throttling() -> None:
    async def run() -> None:
        limiter = AdaptiveLimiter(8)
        active, most = 0, 0

        async def one() -> None:
            nonlocal active, most
            async with limiter:
                active += 1
                most = max(most, active)
                await asyncio.sleep(0)
                active -= 1

        await asyncio.gather(*(one() for _ in range(50)))
        assert most == 8
        limiter.decrease()
        limiter.decrease()
        assert limiter.limit == pytest.approx(8 * 0.7), "several throttled responses within a second count once"
        most = 0
        await asyncio.gather(*(one() for _ in range(50)))
        assert most == 5
        for _ in range(200):
            limiter.increase()
        assert limiter.limit == 8

    asyncio.run(run())


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_with_a_passing_answer(counts: tuple[int, int, int]) -> None:
    passed, samples, k = counts
    draws = list(combinations(range(samples), k))
    share = sum(any(one < passed for one in draw) for draw in draws) / len(draws)
    assert pass_at_k(passed, samples, k) == pytest.approx(share)
