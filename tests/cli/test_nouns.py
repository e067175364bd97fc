"""Each noun of the command, with its result and not only its exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.command import ARN, command, records
from support.moto_server import Aws
from support.scripts import run_python

from bedrock_rft import Client, access, rewards
from bedrock_rft._cli.local import variable_lines
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.local import LocalService

REWARD = "from bedrock_rft import rewards\n\ncorrect = rewards.Numeric()\n"


def test_init_writes_a_project_whose_parts_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("init", "my project")
    folder = tmp_path / "my project"
    assert done.code == 0
    assert sorted(done.out.splitlines()) == sorted(str(Path("my project", path.name)) for path in folder.iterdir())
    next_steps = [line.split()[1] for line in done.err.splitlines() if line.startswith("  bedrock-rft ")]
    assert next_steps == ["data", "reward", "rehearse", "jobs"]
    assert command("data", "check", folder / "train.jsonl").code == 0
    checked = command("reward", "check", folder / "reward.py", folder / "train.jsonl", "--size", 5, "-o", "json")
    assert checked.json["ok"]
    tried = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_reward.py", cwd=folder)
    assert "2 passed" in tried.stdout
    again = command("init", "my project", "-o", "json")
    assert (again.code, again.error["code"]) == (2, "usage")
    assert "already. Nothing was written" in again.error["message"]
    assert command("reward", "new", "other.py").out.split() == ["other.py", "test_other.py"]
    assert command("reward", "new", "not-a-name.py").code == 2


def test_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("all.jsonl").write_text(records(120))
    found = command("data", "stats", "all.jsonl", "-o", "json").json
    assert (found["records"], found["roles"]) == (120, {"user": 120})
    assert "median" in command("data", "stats", "all.jsonl").out
    split = command("data", "split", "all.jsonl", "--share", 0.25, "-o", "json").json
    assert sum(split["records"].values()) == 120
    assert Path(split["validation"]).exists()
    rows = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": str(n)}]}
        for n in range(99)
    ]
    Path("chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    made = command("data", "convert", "chats.jsonl", "--to", "train.jsonl", "-o", "csv")
    assert made.code == 3, "a job needs 100 records"
    assert [row["level"] for row in csv.DictReader(io.StringIO(made.out))].count("error") == 1
    assert json.loads(Path("train.jsonl").read_text().splitlines()[7])["reference_answer"] == "7"


def test_fields_of_records_are_not_called_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.jsonl").write_text(records(12))
    done = command("data", "convert", "few.jsonl", "--to", "train.jsonl")
    assert "\n  reference_answer   string 12\n" in done.out
    assert "bedrock-rft data check --min-records 1" in " ".join(done.out.split()), "convert has no such option"
    Path("odd.jsonl").write_text('{"reference_answer": "4", "prompt": "2 + 2?"}\n')
    done = command("data", "convert", "odd.jsonl", "--to", "odd.train.jsonl")
    text = " ".join(done.err.split())
    assert "its fields are: reference_answer, prompt." in text
    assert "use datasets.write in Python." in text
    Path("odd.jsonl").write_text('{"messages": [{"role": "user", "content": "?"}], "a": 1, "b": 2}\n')
    done = command("data", "convert", "odd.jsonl", "--to", "odd.train.jsonl")
    assert "no reference_answer, but a, b; name the field with --reference-answer" in " ".join(done.err.split())


def test_problems_of_data_have_their_place_in_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text(records(3) + '{"messages": [{"role": "bot", "content": "?"}]}\n[1,]\n')
    done = command("data", "check", "bad.jsonl", "--max-records", 50, "-o", "csv")
    rows = [(row["code"], row["line"], row["column"], row["field"]) for row in csv.DictReader(io.StringIO(done.out))]
    assert rows == [
        ("role", "4", "", "messages[0].role"),
        ("no-user", "4", "", "messages"),
        ("not-json", "5", "4", ""),
    ]


def test_notes_and_heads_of_rollouts_have_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.jsonl").write_text(records(12))
    done = command("data", "split", "few.jsonl")
    assert "--min-records 1." in " ".join(done.err.split())
    (tmp_path / "recorded").mkdir()
    parts = {f"reward/part_{place}": 0.25 for place in range(4)}
    rollout = {"time": "2026-11-28T14:00:00Z", "score": 1.0, "parts": parts, "answer": "a"}
    Path("recorded", "one.jsonl").write_text(json.dumps(rollout))
    shown = command("rollouts", "show", "recorded/one.jsonl")
    assert shown.out.count("reward/part_") == 4, shown
    assert max(map(len, [*done.err.splitlines(), *shown.out.splitlines()])) <= 80


def test_the_problems_of_a_file_are_listed_once(service: LocalService) -> None:
    assert service.region
    Path("bad.jsonl").write_text(records() + "\n".join("{" * count for count in range(1, 9)))
    for words in (("files", "upload"), ("data", "split")):
        done = command(*words, "bad.jsonl")
        assert done.code == 3
        assert [line.split(",")[0].strip() for line in done.err.splitlines() if line.startswith("  Line")] == [
            f"Line {place}" for place in range(101, 106)
        ]
        assert "… and 3 more: see bedrock-rft data check" in done.err
        assert "Line 106" not in done.err


def test_files(service: LocalService, tmp_path: Path) -> None:
    assert service.region
    first = command("files", "upload", "train.jsonl", "--name", "mine.jsonl", "-o", "quiet").out.strip()
    assert command("files", "upload", "train.jsonl", "--name", "mine.jsonl", "-o", "quiet").out.strip() == first
    other = command("files", "upload", "train.jsonl", "--name", "mine.jsonl", "--no-reuse", "-o", "quiet").out.strip()
    assert other != first
    assert command("files", "get", first, "-o", "json").json["filename"] == "mine.jsonl"
    assert "replaced" not in command("files", "download", first, "--to", "copy").err
    assert "replaced the file that was there" in " ".join(
        command("files", "download", first, "--to", "copy").err.split()
    )
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "train.jsonl").read_bytes()
    assert command("files", "delete", first, other).code == 2
    declined = command("files", "delete", first, stdin="n\n", terminal=True)
    assert (declined.code, declined.out) == (1, "")
    assert f"Delete {first}? [y/N]" in declined.err
    assert "Nothing was done." in declined.err
    assert command("files", "delete", first, stdin="y\n", terminal=True).code == 0
    first = command("files", "upload", "train.jsonl", "--name", "other.jsonl", "-o", "quiet").out.strip()
    assert command("files", "delete", first, "--no-input", stdin="y\n", terminal=True).code == 2
    assert [one["deleted"] for one in command("files", "delete", first, other, "-y", "-o", "json").json] == [True, True]
    assert command("files", "get", first).code == 1


def test_models(finished_job: str, client: Client) -> None:
    tuned = str(client.jobs.retrieve(finished_job).fine_tuned_model)
    assert command("models", "get", "qwen.qwen3-32b", "-o", "quiet").out == "qwen.qwen3-32b\n"
    assert command("models", "get", "qwen.qwen4").code == 1
    assert all(command("models", "ask", model, "What is 3 plus 3?").out for model in (tuned, finished_job))
    asked = command("models", "ask", finished_job, "-o", "json", stdin="What is 3 plus 3?\n").json
    assert asked["model"] == tuned
    assert command("models", "ask", finished_job).code == 2


def test_jobs(finished_job: str, client: Client) -> None:
    events = command("jobs", "events", finished_job, "-o", "json").json
    assert [one["id"] for one in events] == [one.id for one in client.jobs.events(finished_job)]
    followed = command("jobs", "events", finished_job, "-f", "-o", "json", "--limit", 2).out.splitlines()
    assert [json.loads(line)["id"] for line in followed] == [events[-1]["id"], events[-2]["id"]]
    steps = command("jobs", "metrics", finished_job, "-o", "csv").out
    assert len(list(csv.DictReader(io.StringIO(steps)))) == 4
    assert len(command("jobs", "metrics", finished_job, "-o", "jsonl").out.splitlines()) == 4
    assert command("jobs", "metrics", finished_job).out.count("openai.gpt-oss-20b") == 1
    assert command("jobs", "health", finished_job, "-o", "json").json["ok"]
    compared = command("jobs", "compare", finished_job, finished_job, "--label", "a", "--label", "b", "-o", "json").json
    assert [run["label"] for run in compared["runs"]] == ["a", "b"]
    shown = command("jobs", "compare", finished_job, finished_job).out
    assert finished_job in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert command("jobs", "wait", finished_job, "-o", "quiet").out == f"{finished_job}\n"
    watched = command("jobs", "watch", finished_job, finished_job)
    assert watched.code == 0
    assert {line[:4] for line in watched.out.splitlines()} == {"[1] ", "[2] "}
    assert command("jobs", "find", "nobody").code == 1


def test_filters_that_no_job_matches_name_the_values_that_occur(finished_job: str, service: LocalService) -> None:
    assert service.region
    assert finished_job in command("jobs", "list", "--status", "succeeded", "--model", "openai.gpt-oss-20b").out
    done = command("jobs", "list", "--status", "foo", "--model", "bar")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(
        r"No job has the status 'foo' and the model 'bar'\. The (only job has|\d+ jobs have) "
        r"status (\w+, )*succeeded; model openai.gpt-oss-20b.*\.",
        " ".join(done.err.split()),
    )
    assert command("files", "list", "--purpose", "foo").err == "There are no files with the purpose 'foo'.\n"


def test_reward(tmp_path: Path, service: LocalService) -> None:
    assert service.region
    (tmp_path / "reward.py").write_text(REWARD)
    answers = ("--line", 4, "--answer", "6", "--answer", "7", "--record", "recorded")
    scored = command("reward", "score", "reward.py", "train.jsonl", *answers)
    assert len(list((tmp_path / "recorded").rglob("*.jsonl.gz"))) == 1
    assert [line.split()[1] for line in scored.out.splitlines()[1:]] == ["1", "0"]
    rollout = {"id": "a", "messages": [{"role": "assistant", "content": "6"}], "metadata": {"reference_answer": "6"}}
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(rollout))
    assert command("reward", "invoke", "reward.py", "rollouts.jsonl", "-o", "json").json["scores"][0]["score"] == 1.0
    (tmp_path / "bad.py").write_text("def lambda_handler(event, context):\n    return None\n")
    failed = command("reward", "invoke", "bad.py", "rollouts.jsonl", "-o", "json")
    assert (failed.code, failed.error["code"]) == (1, "returned_none")
    packing = ("--out", "reward.zip", "--record", "s3://my-bucket/rollouts", "-o", "json")
    packaged = command("reward", "package", "reward.py", *packing).json
    assert packaged["handler"] == "lambda_function.lambda_handler"
    with zipfile.ZipFile(tmp_path / "reward.zip") as archive:
        assert b"s3://my-bucket/rollouts" in archive.read("lambda_function.py")


def test_an_evaluation_is_saved_and_shown(tmp_path: Path, finished_job: str, service: LocalService) -> None:
    assert service.region
    (tmp_path / "reward.py").write_text(REWARD)
    run = command(
        "eval", "run", "train.jsonl", "--model", "openai.gpt-oss-20b", "--model", finished_job, "--reward", "reward.py",
        "--limit", 5, "--save", "report.json", "--sampling", '{"top_p": 0.9}', "--temperature", 0.5, "-o", "json",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["sampling"] == {"temperature": 0.5, "top_p": 0.9}
    shown = command("eval", "show", "report.json", "--html", "report.html", "-o", "json")
    assert shown.json == run.json
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    saved = json.loads((tmp_path / "report.json").read_text())
    saved["models"][0]["score"]["low"] = None  # as NaN is written
    (tmp_path / "report.json").write_text(json.dumps(saved))
    assert str(Evaluation.load("report.json").models[0].score).startswith("0.")
    for text in ("[]", "{}", "x", '{"title": 1}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ConfigurationError, match="not a report"):
            Evaluation.load("report.json")
    assert command("eval", "show", "report.json").code == 2
    assert command("eval", "run", "train.jsonl", "--model", "m", "--reward", "reward.py", "--sampling", "[]").code == 2


def test_prompts_are_selected_by_difficulty(tmp_path: Path, client: Client) -> None:
    client.files.upload("train.jsonl", reuse=True)  # the local service answers the prompts that it has seen
    (tmp_path / "reward.py").write_text(REWARD)
    run = command(
        "eval", "run", "train.jsonl", "--model", "openai.gpt-oss-20b", "--reward", "reward.py", "--samples", 2,
        "--limit", 10, "--difficulty", "difficulty.json", "-o", "quiet",
    )  # fmt: skip
    assert "The difficulty was written to difficulty.json." in run.err
    choose = ("data", "select", "train.jsonl", "difficulty.json", "--out")
    made = command(*choose, "all.jsonl", "--low", 0, "--high", 1, "-o", "json")
    assert made.code == 0, made.err
    assert made.json["records"] - made.json["unsampled"] == 10
    assert (tmp_path / "all.jsonl").read_bytes() == (tmp_path / "train.jsonl").read_bytes()
    shown = command(*choose, "all.jsonl", "--low", 0, "--high", 1, "--order", "easy_first")
    assert shown.out.startswith("all.jsonl: kept ")
    few = command(*choose, "few.jsonl", "--unsampled", "drop")
    assert few.code == 1
    assert "and a job takes 100 to 20,000" in few.err
    assert not (tmp_path / "few.jsonl").exists()


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("sh", "export NAME='it'\"'\"'s'"),
        ("fish", "set -gx NAME 'it'\"'\"'s'"),
        ("powershell", "$env:NAME = 'it''s'"),
        ("dotenv", "NAME='it'\"'\"'s'"),
        ("json", '{"NAME": "it\'s"}'),
    ],
)
def test_variables_are_printed_in_the_syntax_of_each_shell(form: str, line: str) -> None:
    assert [*variable_lines({"NAME": "it's"}, form)] == [line]


def test_a_detached_service_is_stopped_or_its_failure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bedrock-rft", "local", "serve", "--detach", "--reward", "nowhere.py:f"])
    failed = command(*sys.argv[1:])
    assert (failed.code, failed.out) == (2, "")
    assert "There is no file 'nowhere.py'" in failed.err
    monkeypatch.setattr(sys, "argv", ["bedrock-rft", "local", "serve", "--detach"])
    variables = command(*sys.argv[1:], "--format", "json").json
    url = variables["AWS_ENDPOINT_URL_BEDROCK_MANTLE"]
    request = urllib.request.Request(f"{url}/models")  # noqa: S310 - http
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)  # noqa: S310 - http
    assert command("local", "stop", "--port", 1, "-o", "json").json == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", url)
    done = command("local", "stop")
    assert done.out == f"Stopped {url}.\n"
    assert "still point to a stopped service" in done.err
    assert os.name != "posix" or not list((tmp_path / "bedrock_rft" / "local").iterdir())
    assert command("local", "stop").out == "No service was running.\n"
    stale = tmp_path / "bedrock_rft" / "local" / "stale.json"
    stale.write_text(json.dumps({"pid": os.getpid(), "url": "http://127.0.0.1:1/v1"}))
    assert command("local", "stop").out == "No service was running.\n", "the number belongs to this process"
    assert not stale.exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    assert "Set XDG_CACHE_HOME to a folder" in command(*sys.argv[1:]).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    script = command("completion", shell).out
    assert "_BEDROCK_RFT_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_the_request_of_a_job_is_prepared_without_sending_it(client: Client) -> None:
    before = len(list(client.jobs.list()))
    body = client.jobs.prepare("openai.gpt-oss-20b", training_file="file-1", reward=ARN, name="a").sent()
    assert body == {
        "model": "openai.gpt-oss-20b",
        "training_file": "file-1",
        "method": {
            "type": "reinforcement",
            "reinforcement": {"grader": {"type": "lambda", "lambda": {"function": ARN}}, "hyperparameters": {}},
        },
        "metadata": {"bedrock_rft_marker": "a"},
    }
    with pytest.raises(ConfigurationError, match="not an uploaded file"):
        client.jobs.prepare("openai.gpt-oss-20b", training_file="train.jsonl", reward=ARN)
    assert len(list(client.jobs.list())) == before


def test_the_log_and_the_newest_version_of_a_function(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", aws.url)
    with Client(aws.region, auth="aws") as client:
        assert client.rewards.logs("sums") == []
        with pytest.raises(ConfigurationError, match=r"no function 'sums' in us-west-2\. Deploy it first"):
            client.rewards.retrieve("sums")
        logs = aws.client("logs")
        logs.create_log_group(logGroupName="/aws/lambda/sums")
        logs.create_log_stream(logGroupName="/aws/lambda/sums", logStreamName="one")
        now = int(time.time() * 1000)
        lines = [{"timestamp": now - 5000 + n, "message": f"line {n}\x1b[31m\n"} for n in range(3)]
        logs.put_log_events(logGroupName="/aws/lambda/sums", logStreamName="one", logEvents=lines)
        found = client.rewards.logs("sums", since=60)
        assert [line.message for line in found] == [f"line {n}\x1b[31m" for n in range(3)]
        assert {type(line) for line in found} == {access.LogLine}
    shown = command("reward", "logs", "sums", "--since", 1)
    assert shown.code == 0, shown.err
    assert "line 2\\x1b[31m" in shown.out
    assert "logs:FilterLogEvents" in access.deployer_policy(ARN, role="r").actions


def test_gold_functions_are_loaded_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "gold.py").write_text("def right(record):\n    return record['a']\n")
    gold: Any = rewards.load_gold(f"{tmp_path}/gold.py:right")
    assert gold({"a": "b"}) == "b"
