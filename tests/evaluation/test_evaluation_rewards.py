"""Scoring in an evaluation: every kind of reward, reuse of scores, failures, and progress."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.flaky_proxy import FlakyProxy
from support.lambda_server import ARN, FakeLambda

from bedrock_rft import BedrockRFTWarning, Client, ConfigurationError, RewardError, datasets
from bedrock_rft.evaluation import _progress, read_answers
from bedrock_rft.evaluation._pipeline import create_scorer
from bedrock_rft.evaluation._progress import ProgressReporter
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.local import LocalService, LocalTransport
from bedrock_rft.rewards import Rollout, reward, score

MODEL = "openai.gpt-oss-20b"
SOURCE = """
import pathlib

def lambda_handler(event, context):
    return [{"id": one["id"], "aggregate_reward_score": score(one), "metrics_list": [
        {"name": "length", "value": len(one["messages"][-1]["content"]), "type": "Metric"}]} for one in event]

def score(one):
    return float(one["messages"][-1]["content"].strip(" .}").endswith(one["metadata"]["reference_answer"]))
"""


@reward
def right(rollout: Rollout) -> bool:
    return rollout.answer.strip(" .}").endswith(str(rollout.reference))


def records(count: int) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}], "reference_answer": str(n + n)}
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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reward.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def proxy(service: LocalService) -> Iterator[FlakyProxy]:
    with FlakyProxy(service.base_url, share=0.0) as running:
        yield running


@pytest.fixture
def proxied(service: LocalService, proxy: FlakyProxy) -> Iterator[Client]:
    """A client whose requests are counted by the proxy."""
    options: dict[str, Any] = {**service.client_options("api_key"), "base_url": proxy.base_url}
    with Client(**options) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(service: LocalService) -> Iterator[Client]:
    """A client without a connection, which costs most of the time of a request."""
    with Client(transport=LocalTransport(service.service)) as opened:
        yield opened


def ask(client: Client, data: object, reward: object, **settings: Any) -> Any:
    wanted: dict[str, Any] = {"models": [MODEL], "progress": False, "limit": 40, **settings}
    return client.evaluate(data, reward=reward, **wanted)  # type: ignore[arg-type] # a path


def test_a_reward_gives_the_same_scores_in_every_place(
    client: Client, data: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "reward.zip", "w") as archive:
        archive.write(file, "lambda_function.py")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    space: dict[str, Any] = {}
    exec(SOURCE, space)  # noqa: S102 - ours
    handler = space["lambda_handler"]
    state = tmp_path / "state"  # answered once, scored by each
    found: dict[str, Any] = {}
    with FakeLambda(handler, refuse_every=3) as function:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", function.url)
        for name, target in {
            "reward": right,
            "function": handler,
            "file": f"{file}:lambda_handler",
            "zip": tmp_path / "reward.zip",
            "deployed": ARN,
        }.items():
            found[name] = ask(client, data, target, resume=state, samples=3)
    assert function.done["refused"] > 0, "it was throttled, and invoked again"
    assert function.done["answered"] == -(-120 // 16)
    scores = {name: report.models[0].scores for name, report in found.items()}
    assert all(one == scores["reward"] for one in scores.values())
    assert 0 < found["reward"].models[0].score.value < 1
    assert [found[name].reward for name in ("reward", "file", "deployed")] == ["right", "reward.py:lambda_handler", ARN]
    assert found["zip"].models[0].parts["length"] == found["deployed"].models[0].parts["length"] > 0


def no_scores(event: Any, context: Any, lock: Any = None) -> Any:
    raise NotImplementedError


def test_answers_are_scored_on_an_executor(client: Client, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    settings: dict[str, Any] = {"limit": 24, "resume": tmp_path / "answers.jsonl"}
    alone = ask(client, data, right, **settings)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = ask(client, data, f"{tmp_path / 'mine.py'}:lambda_handler", executor=pool, **settings)
        with pytest.raises(ConfigurationError, match="cannot be sent to other processes"):
            ask(client, data, partial(no_scores, lock=threading.Lock()), executor=pool)
    assert found.models[0].scores == alone.models[0].scores
    with ThreadPoolExecutor(2) as threads:
        assert ask(client, data, 1.0 * right, executor=threads, **settings).models[0].scores == alone.models[0].scores


def test_stored_answers_are_scored_again_without_models(client: Client, tmp_path: Path) -> None:
    data, stored = tmp_path / "few.jsonl", tmp_path / "answers.jsonl"
    datasets.write(data, records(40))
    report = ask(client, data, right, limit=None, samples=2, resume=stored)
    rows = list(read_answers(stored, data, models=[MODEL], samples=2))
    assert len(rows) == 80
    assert [(row["model"], row["sample"]) for row in rows[:2]] == [(MODEL, 0), (MODEL, 1)]
    scores = [one.score for one in score(right, rows)]
    assert scores == [value for _, values in sorted(report.models[0].scores.items()) for value in values]
    assert list(read_answers(stored, data, models=["another"])) == []
    with pytest.raises(ConfigurationError, match="There is no file"):
        next(read_answers(tmp_path / "none.jsonl", data, models=[MODEL]))


def test_scores_are_reused_until_the_reward_changes(
    proxied: Client, proxy: FlakyProxy, data: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    state = tmp_path / "state"
    before = ask(proxied, data, f"{file}:lambda_handler", resume=state)
    file.write_text(SOURCE.replace("float(", "0.5 * float("))
    after = ask(proxied, data, f"{file}:lambda_handler", resume=state)
    assert after.models[0].score.value == pytest.approx(before.models[0].score.value / 2)

    with FakeLambda(right.handler) as function:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", function.url)
        for expected in (3, 3):
            ask(proxied, data, ARN, resume=state)
            assert function.done["answered"] == expected
        function.revision = "2"
        ask(proxied, data, ARN, resume=state)
        assert function.done["answered"] == 6

    calls: list[str] = []

    @reward
    def counting(rollout: Rollout) -> float:
        calls.append(rollout.answer)
        return 1.0

    for _ in range(2):
        ask(proxied, data, counting, resume=state)
    assert len(calls) == 40
    assert proxy.done["passed"] == 40, "each question is sent once for all rewards"


HELPED = """
import json
from helper import worth
from pkg.deep import inner

def lambda_handler(event, context):
    return [{"id": one["id"], "aggregate_reward_score": worth()} for one in event]
"""


def test_a_changed_module_that_the_reward_imports_changes_its_key(
    proxied: Client, proxy: FlakyProxy, data: Path, tmp_path: Path
) -> None:
    file, helper, deep = tmp_path / "reward.py", tmp_path / "helper.py", tmp_path / "pkg" / "deep" / "constants.py"
    deep.parent.mkdir(parents=True)
    file.write_text(HELPED)
    helper.write_text("import pkg.deep.inner as inner\n\ndef worth():\n    return inner.VALUE\n")
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "deep" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "deep" / "inner.py").write_text("from .constants import VALUE\nfrom ..other import nothing\n")
    (tmp_path / "pkg" / "other.py").write_text("from .deep import inner\n\nnothing = 0\n")
    deep.write_text("VALUE = 0.25\n")
    (tmp_path / "stray.py").write_text("")
    state = tmp_path / "state"
    scored: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        del done, total
        scored.append(what)

    def again() -> Any:
        scored.clear()
        return ask(proxied, data, f"{file}:lambda_handler", resume=state, progress=progress).models[0].score.value

    assert again() == 0.25
    (tmp_path / "stray.py").write_text("changed = 1\n")
    again()
    assert scored == [], "nothing that it imports has changed"
    deep.write_text("VALUE = 0.75\n")
    assert again() == 0.75
    helper.write_text(helper.read_text().replace("inner.VALUE", "1.0"))
    assert again() == 1.0
    assert proxy.done["passed"] == 40, "no question is sent again"


CELL = """
from bedrock_rft.rewards import reward
import beside

def part():
    return {}

@reward
def scored(rollout):
    return part() * beside.VALUE
"""


def test_objects_that_a_notebook_reward_refers_to_change_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def key(value: str) -> str:
        space: dict[str, Any] = {"__name__": "__main__", "In": ["", CELL.format(value)]}
        exec(space["In"][1], space)  # noqa: S102 - a cell
        scorer = create_scorer(space["scored"], None)
        scorer.close()
        return scorer.key

    first = key("0.5")
    assert key("0.5") == first
    assert key("0.75") != first, "a helper in the same or another cell changes the key"
    (tmp_path / "beside.py").write_text("VALUE = 2\n")
    assert key("0.5") != first


HOLDS = """
import sys
from bedrock_rft.evaluation._resume_file import ResumeFile
journal = ResumeFile(sys.argv[1], "a")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_resume_file_is_locked_against_a_second_evaluation(
    proxied: Client, proxy: FlakyProxy, data: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-c", HOLDS, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(ConfigurationError, match=r"state is in use by another evaluation.* Wait until"):
            ask(proxied, data, right, resume=state)
        assert proxy.done["passed"] == 0, "no request is sent"
        other.kill()
        other.wait()
        assert ask(proxied, data, right, resume=state).models[0].answers == 40, "the lock is released with its process"
    kept = ResumeFile(state, "a")
    with pytest.raises(ConfigurationError, match="is in use"):
        ResumeFile(state, "a")
    kept.close()
    ResumeFile(state, "a").close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fcntl")
def test_a_file_system_without_locks_gives_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, f"{descriptor} {how}")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(BedrockRFTWarning, match="without locks"):
        ResumeFile(tmp_path / "state", "a").close()


def test_a_floor_score_after_an_error_is_computed_again(client: Client, data: Path, tmp_path: Path) -> None:
    down = True

    @reward
    def judged(rollout: Rollout) -> float:
        if down:
            raise OSError("no judge")
        return float(bool(rollout.answer)) or 1.0

    state = tmp_path / "state"
    with pytest.raises(RewardError, match=r"scored none of the first \d+ answers.* OSError: no judge \(test_eval"):
        ask(client, data, judged, resume=state)
    down = False
    second = ask(client, data, judged, resume=state)
    assert second.models[0].score.value == 1.0
    assert "reward_errors" not in {finding.code for finding in second.findings}


def test_a_reward_that_cannot_score_ends_the_evaluation_early(
    proxied: Client, proxy: FlakyProxy, data: Path, tmp_path: Path, file: Path
) -> None:
    def broken(event: Any, context: Any) -> Any:
        del event, context
        raise ValueError("no such field")

    with pytest.raises(RewardError, match="no such field"):
        ask(proxied, data, broken, limit=None, samples=8, concurrency=2)
    assert proxy.done["passed"] < 480, "fewer than half of 960: no more requests after the first batch was scored"
    asked = proxy.done["passed"]

    @reward
    def raising(rollout: Rollout) -> float:
        return float(rollout.reference["team"] in rollout.answer)

    with pytest.raises(
        RewardError, match=r"scored none of the first 16 answers, so the evaluation was stopped\. .*Error"
    ):
        ask(proxied, data, raising, limit=None, samples=8, concurrency=2)
    assert proxy.done["passed"] - asked < 480
    asked = proxy.done["passed"]
    file.write_text("import nothing_of_the_kind")
    with pytest.raises(RewardError, match="nothing_of_the_kind"):
        ask(proxied, data, f"{file}:lambda_handler", limit=None, samples=8, concurrency=2)
    assert proxy.done["passed"] - asked < 480
    with pytest.raises(ConfigurationError, match="no file"):
        ask(proxied, data, f"{tmp_path}/none.py:lambda_handler")


def test_one_answer_without_a_score_does_not_affect_the_others(client: Client) -> None:
    def choosy(event: Any, context: Any) -> Any:
        if any(one["messages"][0]["content"] == "What is 7 + 7?" for one in event):
            raise ValueError("not seven")
        return right.handler(event, context)

    report = ask(client, records(40), choosy, limit=None)
    assert (report.models[0].answers, report.models[0].failed) == (39, 1)
    assert "not seven" in str(next(one for one in report.warnings if one.code == "not_scored"))


def test_batches_of_large_answers_stay_below_the_size_limit_of_lambda(client: Client) -> None:
    rows = records(20)
    for row in rows:
        row["background"] = "x" * 600_000
    sizes: list[int] = []

    def measuring(event: Any, context: Any) -> Any:
        sizes.append(len(json.dumps(event)))
        return right.handler(event, context)

    assert ask(client, rows, measuring).models[0].answers == 20
    assert max(sizes) < 6_000_000
    assert len(sizes) == 20


def test_an_interrupt_in_a_notebook_stops_the_requests(proxied: Client, proxy: FlakyProxy, data: Path) -> None:
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        pytest.skip("signals reach the main thread alone")

    def progress(what: str, done: int, total: int) -> None:
        del total
        if (what, done) == ("asked", 10):
            os.kill(os.getpid(), signal.SIGINT)

    async def cell() -> None:
        ask(proxied, data, right, limit=None, samples=8, concurrency=2, progress=progress)

    loop = asyncio.new_event_loop()  # `asyncio.run` would handle the signal itself
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
    finally:
        loop.close()
    asked = proxy.done["passed"]
    assert asked < 100
    time.sleep(0.5)
    assert proxy.done["passed"] <= asked + 2, "only requests in flight finish"


def test_samples_with_one_seed_differ_and_are_repeatable(client: Client, data: Path) -> None:
    first, second = (ask(client, data, right, samples=4, sampling={"seed": 1}, limit=10) for _ in range(2))
    assert first.models[0].scores == second.models[0].scores
    assert any(len(set(scores)) > 1 for scores in first.models[0].scores.values())


def test_several_tuned_models_have_distinct_labels(client: Client, data: Path) -> None:
    file = client.files.upload(data)
    settings = {"n_epochs": 1, "batch_size": 60}
    jobs = [client.jobs.create(MODEL, training_file=file, reward=ARN, hyperparameters=settings) for _ in range(2)]
    jobs = [client.jobs.wait(job, poll_interval=0.05) for job in jobs]
    report = ask(client, data, right, models=[MODEL, *jobs], limit=4)
    assert [one.label for one in report.models] == [MODEL, *(job.fine_tuned_model for job in jobs)]
    with pytest.raises(ConfigurationError, match="twice"):
        ask(client, data, right, models={"a": jobs[0], "b": jobs[0].fine_tuned_model})


def test_a_report_without_answers_can_be_shown(client: Client) -> None:
    rows = records(2)
    for row in rows:
        row["messages"] = [{"role": "user", "content": 7}]
    report = ask(client, rows, right)
    assert not report.ok
    assert json.loads(report.to_json())["models"][0]["score"]["value"] is None
    for shown in (str(report), report.to_html()):
        assert "nan" not in shown.lower()


def test_progress_is_a_bar_on_a_terminal_and_log_lines_otherwise(
    client: Client,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", logger="bedrock_rft")
    ask(client, data, right, progress=True)
    assert capsys.readouterr().err == ""
    assert "evaluation: asked" not in caplog.text, "a short run logs nothing"
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0.0)
    ask(client, data, right, progress=True)
    lines = [line for line in caplog.messages if line.startswith("evaluation: ")]
    assert len(lines) == 80
    assert lines[-1] == "evaluation: asked 40 of 40, scored 40"

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = ProgressReporter(40, 39, 0, progress=True)
    bar.advance("asked")
    bar.close()
    assert "| 39/40 [" in capsys.readouterr().err, "the bar of tqdm"
    caplog.clear()
    monkeypatch.setitem(sys.modules, "tqdm", None)
    without = ProgressReporter(40, 39, 0, progress=True)
    without.advance("asked")
    without.close()
    assert capsys.readouterr().err == ""
    assert caplog.messages == ["evaluation: asked 40 of 40, scored 0"]


@pytest.mark.skipif(os.name != "posix", reason="there are no such limits")
def test_a_full_disk_is_an_error_and_stored_answers_are_kept(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "state"
    journal = ResumeFile(path, "a")
    journal.add_answer("k", Answer("whole"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(ConfigurationError, match="cannot write"):
            journal.add_answer("l", Answer("cut off"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.close()
    again = ResumeFile(path, "a")
    again.add_score("k", AnswerScore(1.0))
    again.close()
    last = ResumeFile(path, "a")
    last.close()
    assert list(last.answers) == ["k"]
