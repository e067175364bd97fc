"""Run the examples as documented in their docstrings, each in a separate process."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.scripts import EXAMPLES, run_python

from bedrock_rft import Client
from bedrock_rft.local import LocalService, LocalTransport, Service

DIGEST = "5342b51a72cef624c556644f61a43c54fe2c7df102af157d559861e4fdb16d03"


def run(name: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_python("-W", "error", EXAMPLES / name, *arguments, cwd=cwd, environment=environment)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "train.jsonl"
    assert run("word_problems.py", "--count", 120, "--out", path, cwd=path.parent).returncode == 0
    return path


# The generator


def test_generated_problems_are_reproducible(tmp_path: Path) -> None:
    import hashlib

    done = run("word_problems.py", "--count", 300, "--seed", 7, "--out", "a.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest() == DIGEST
    run("word_problems.py", "--count", 300, "--seed", 8, "--out", "b.jsonl", cwd=tmp_path)
    assert (tmp_path / "a.jsonl").read_bytes() != (tmp_path / "b.jsonl").read_bytes()


def test_generated_problems_are_distinct_and_correct(problems: Path) -> None:
    records = [json.loads(line) for line in problems.read_text(encoding="utf-8").splitlines()]
    assert len({record["messages"][0]["content"] for record in records}) == len(records) == 120
    for record in records:
        lines = record["reference_answer"].split("\n")
        assert record["steps"] == len(lines) - 1
        for calculation, result in re.findall(r"([\d+*/ -]+) = (\d+)", record["reference_answer"]):
            assert eval(calculation) == int(result)  # noqa: S307 - digits and signs
        assert re.fullmatch(r"#### \d+", lines[-1])
        assert lines[-1].removeprefix("#### ") in re.findall(r"\d+", lines[-2])


# The reward


def handler(event: Sequence[Any]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = runpy.run_path(str(EXAMPLES / "reward.py"))["lambda_handler"](event, None)
    assert [answer["id"] for answer in answers] == [one.get("id") if hasattr(one, "get") else None for one in event]
    return json.loads(json.dumps(answers))  # type: ignore[no-any-return]


def rollout(answer: object, **fields: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": "how many?"}, {"role": "assistant", "content": answer}]
    return {"id": "one", "messages": messages, **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"reference_answer": "6 * 7 = 42\n#### 42"}},
        {"metadata": {"reference_answer": {"text": "#### 42"}, "steps": 2}},
        {"reference_answer": "#### 42"},
        {"reference_answer": {"text": "#### 42"}},
        {"metadata": {"steps": 2}, "reference_answer": "#### 42"},
        {"metadata": None, "reference_answer": 42},
        {"metadata": "nothing", "reference_answer": 42.0},
        {"metadata": {"reference_answer": [{"type": "text", "text": "#### 42"}]}},
    ],
)
def test_reward_reads_every_rollout_format(fields: dict[str, object]) -> None:
    right, wrong = rollout("That makes 42.", **fields), rollout("That makes 41.", **fields)
    assert [answer["aggregate_reward_score"] for answer in handler([right, wrong])] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("#### 1,234", "#### 1234", 1.0),
        ("first 7, then 72", "#### 72", 1.0),
        ("#### 72 clips, of 100", "#### 72", 1.0),
        ("#### \nso 72", "#### 72", 1.0),
        ("72 ####", "#### 72", 1.0),
        ("\\boxed{72}", "#### 72", 1.0),
        ("It costs $72.00.", "#### 72", 1.0),
        ("-$5", "#### -5", 1.0),
        ("\u22125", "#### -5", 1.0),
        ("10-5", "#### -5", 0.0),
        ("0.5", "#### .5", 1.0),
        ("1", 1, 1.0),
        ("0", 0, 1.0),
        ("0", False, 0.0),
        ("", "#### 72", 0.0),
        ("no idea", "no number", 0.0),
        ("72", "", 0.0),
        ("72", None, 0.0),
        ([{"type": "text", "text": "it is "}, {"type": "text", "text": "72"}], "72", 1.0),
        ({"text": "72"}, "72", 1.0),
        (None, "72", 0.0),
        (72, "72", 1.0),
        ("9" * 5000, "72", 0.0),
        ("1," * 100_000 + " 72", "72", 1.0),
    ],
)
def test_reward_compares_final_numbers(answer: object, reference: object, score: float) -> None:
    (answered,) = handler([rollout(answer, metadata={"reference_answer": reference})])
    assert answered["aggregate_reward_score"] == score


ODD: list[Any] = [
    None,
    "text",
    7,
    [],
    {},
    {"id": "x"},
    {"id": "x", "messages": None},
    {"id": "x", "messages": "hello"},
    {"id": "x", "messages": [None, 3, "a", {"role": "assistant"}]},
    {"id": "x", "messages": [{"role": "user", "content": "72"}], "metadata": {"reference_answer": "72"}},
    {"id": "x", "messages": 5, "metadata": {"reference_answer": {"text": {"text": {}}}}},
    {"id": "x", "messages": [{"role": "assistant", "content": {"deep": []}}], "reference_answer": {"a": [1]}},
]


@pytest.mark.parametrize("odd", ODD)
def test_an_invalid_rollout_does_not_affect_the_others(odd: Any) -> None:
    good = rollout("42", metadata={"reference_answer": "42"})
    assert [answer["aggregate_reward_score"] for answer in handler([good, odd, good])] == [1.0, 0.0, 1.0]


def test_reward_accepts_an_empty_batch() -> None:
    assert handler([]) == []


def test_reference_answers_have_a_score_of_one(problems: Path) -> None:
    records = [json.loads(line) for line in problems.read_text(encoding="utf-8").splitlines()]
    event = [rollout(record["reference_answer"], metadata=record) for record in records]
    assert {answer["aggregate_reward_score"] for answer in handler(event)} == {1.0}


# The quickstart


def test_quickstart_runs_with_both_identities(tmp_path: Path) -> None:
    done = run("quickstart.py", "--local", "--seconds", 0, cwd=tmp_path, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing is sent to AWS" in done.stdout.replace("\n", " ")
    assert "identity  AWS credentials, SigV4" in done.stdout
    assert "identity  API key" in done.stdout
    assert done.stdout.count("(300 records)") == 2
    first, last = (float(number) for number in re.findall(r"went from (\S+) to (\d\.\d+)", done.stdout)[0])
    assert last > first + 0.2
    assert done.stdout.count("tuned model  (the worst of 8 answers scored 1, ") == 2
    assert "rewards in both runs" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 80
    assert done.stdout.isascii() or "\u2588" in done.stdout


def test_quickstart_reports_an_invalid_file_before_sending_it(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    run("word_problems.py", "--count", 3, "--out", few, cwd=tmp_path)
    done = run("quickstart.py", "--data", few, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "error: few.jsonl: 3 records, at least 100 are needed to train." in done.stdout
    few.write_text("x\ny\n" + few.read_text() * 40)
    done = run("quickstart.py", "--data", few, cwd=tmp_path)
    assert "error: few.jsonl has " in done.stdout
    assert "- Line 1, " in done.stdout
    assert "validate=False" not in done.stdout
    assert "Nothing was uploaded." in done.stdout


def test_quickstart_reports_a_missing_file(tmp_path: Path) -> None:
    done = run("quickstart.py", "--data", "missing.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "error: missing.jsonl cannot be read" in done.stdout


def test_quickstart_reports_a_reward_without_a_signal(tmp_path: Path) -> None:
    def record(number: int) -> str:
        content = [{"type": "text", "text": f"Which colour has No. {number}? \U0001f3a8\u2028"}]
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
        return json.dumps({"messages": messages, "reference_answer": {"colour": "blue"}}, ensure_ascii=False)

    (tmp_path / "colours.jsonl").write_text("\n".join(map(record, range(100))), encoding="utf-8")
    done = run("quickstart.py", "--seconds", 0, "--data", "colours.jsonl", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "The reward never left 0" in done.stdout
    assert "Which colour has No. 0? ?" in done.stdout


def test_quickstart_names_the_extra_for_its_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "tqdm.py").write_text("raise ImportError")
    done = run("quickstart.py", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "pip install 'bedrock_rft[progress]'" in done.stderr


# The resumable script


def test_a_killed_and_restarted_script_has_one_job(problems: Path, tmp_path: Path) -> None:
    settings = ("--name", "run-1", "--data", problems, "--local", "state", "--poll-interval", 0.05)
    first = subprocess.Popen(  # noqa: S603
        [sys.executable, EXAMPLES / "training_script.py", *map(str, settings), "--pace", "0.2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with first:
        assert first.stdout is not None
        seen = next(line for line in first.stdout if line.startswith("step 2/"))
        first.kill()
    log = tmp_path / "run-1.events.jsonl"
    with log.open("a", encoding="utf-8") as torn:
        torn.write('{"id": "cut o')

    second = run("training_script.py", *settings, "--pace", 0, cwd=tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert "found job local-ftjob-" in second.stdout
    assert "tuned model: local-ft:" in second.stdout
    assert seen not in second.stdout

    third = run("training_script.py", *settings, cwd=tmp_path)
    assert third.returncode == 0
    assert "step" not in third.stdout

    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [event["data"]["step"] for event in events if event["type"] == "metrics"]
    assert steps == list(range(1, 31))
    assert len({event["id"] for event in events}) == len(events)
    with Service(tmp_path / "state") as service, Client(transport=LocalTransport(service)) as client:
        (job,) = client.jobs.list()
        assert job.status == "succeeded"


def test_training_script_reads_the_environment(problems: Path, tmp_path: Path) -> None:
    reward = "arn:aws:lambda:us-west-2:123456789012:function:numbers"
    with LocalService(reward=f"{EXAMPLES / 'reward.py'}:lambda_handler") as service:
        settings = {"RFT_NAME": "run-2", "RFT_DATA": str(problems), "RFT_REWARD": reward}
        done = run(
            "training_script.py",
            "--poll-interval",
            0.05,
            cwd=tmp_path,
            **settings,
            **service.environment("api_key"),
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "identity  API key  (from OPENAI_API_KEY)" in done.stdout


def test_training_script_reports_missing_arguments(tmp_path: Path) -> None:
    done = run("training_script.py", "--name", "run-3", cwd=tmp_path)
    assert done.returncode == 2
    assert "--data or RFT_DATA is needed" in done.stderr
    done = run("training_script.py", "--name", "run-3", "--data", "x", "--reward", "no ARN", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No region")


# Signing, and several jobs


@pytest.mark.parametrize("local", [True, False])
def test_raw_http_signs_for_other_http_clients(local: bool, tmp_path: Path) -> None:
    with LocalService() as service:
        done = run("raw_http.py", *["--local"] * local, cwd=tmp_path, **({} if local else service.environment("aws")))
    assert (done.returncode, done.stderr) == (0, "")
    assert "httpx.Client        200  openai.gpt-oss-20b, qwen.qwen3-32b" in done.stdout
    assert "httpx.AsyncClient   200  2 models" in done.stdout
    assert re.search(r"a file as a form    200  local-file-\w+, 79 bytes", done.stdout)
    assert "client.request      200  0 files" in done.stdout


def test_async_jobs_compares_learning_rates(tmp_path: Path) -> None:
    done = run("async_jobs.py", "--local", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^ *([\d.]+) +([\d.]+) +([\d.]+)  local-ft:", done.stdout, re.MULTILINE)
    assert [float(rate) for rate, _, _ in rows] == [0.1, 0.3, 1.0]
    assert all(float(last) > float(first) for _, first, last in rows)
    assert len(set(re.findall(r"local-ftjob-\w+", done.stdout))) == 3


def test_async_jobs_reports_missing_arguments(tmp_path: Path) -> None:
    done = run("async_jobs.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "--data and --reward are needed, or --local" in done.stderr


# Every example with --local only

# Other tests run these with --local.
ELSEWHERE = {
    "async_jobs.py",
    "deploy_reward.py",
    "evaluate.py",
    "quickstart.py",
    "raw_http.py",
    "rehearse.py",
    "reward_gsm8k.py",
    "reward_judge.py",
    "select_prompts.py",
    "sweep_optuna.py",
    "watch_run.py",
}
SCRIPTS = sorted(
    path.name
    for path in EXAMPLES.glob("*.py")
    if path.name not in ELSEWHERE and "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_example_runs_with_only_local(name: str, tmp_path: Path) -> None:
    done = run(name, "--local", cwd=tmp_path, AWS_MAX_ATTEMPTS="1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stdout
