"""The local service with rewards that crash, disks that are full, and files that are deleted."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripts import run_python

from bedrock_rft._transport.transport import Request
from bedrock_rft.local import Service
from bedrock_rft.rewards import Exact, Rollout, reward
from bedrock_rft.rewards import package as rewards_package
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"
JOBS = "/fine_tuning/jobs"
SOURCE = """
import os, sys

def score(entry):
    return float(entry["metadata"]["reference_answer"] in entry["messages"][-1]["content"])

def lambda_handler(event, context):
    print("scored", len(event), os.environ.get("LOCAL_REWARD_SETTING"))
    {statement}
    return [{{"id": entry["id"], "aggregate_reward_score": score(entry)}} for entry in event]
"""


def records(count: int = 120, start: int = 1000) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} plus 1?"}], "reference_answer": str(n + 1)}
        for n in range(start, start + count)
    ]


def upload(service: Service, rows: list[dict[str, Any]]) -> str:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    response = service.receive_file(filename="train.jsonl", purpose="fine-tune", chunks=[content])
    assert response.ok, response.content
    key: str = response.json()["id"]
    return key


def create(service: Service, file: str, **fields: Any) -> str:
    method = {
        "type": "reinforcement",
        "reinforcement": {
            "grader": {"type": "lambda", "lambda": {"function": ARN}},
            "hyperparameters": fields.pop("hyperparameters", {}),
        },
    }
    body = {"model": MODEL, "training_file": file, "method": method, **fields}
    response = service.handle(Request("POST", JOBS, json=body))
    assert response.ok, response.content
    key: str = response.json()["id"]
    return key


def retrieve(service: Service, job: str) -> dict[str, Any]:
    found: dict[str, Any] = service.handle(Request("GET", f"{JOBS}/{job}")).json()
    return found


def wait(service: Service, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (found := retrieve(service, job))["status"] not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline, found["status"]
        time.sleep(0.02)
    return found


def events(service: Service, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.handle(Request("GET", f"{JOBS}/{job}/events", query={"limit": 100})).json()[
        "data"
    ]
    return found


def answer(service: Service, model: str, row: dict[str, Any]) -> str:
    body = {"model": model, "messages": row["messages"], "temperature": 0}
    text: str = service.handle(Request("POST", "/chat/completions", json=body)).json()["choices"][0]["message"][
        "content"
    ]
    return text


def right(event: list[dict[str, Any]], _: object) -> list[dict[str, Any]]:
    return [
        {
            "id": entry["id"],
            "aggregate_reward_score": float(entry["metadata"]["reference_answer"] in entry["messages"][-1]["content"]),
        }
        for entry in event
    ]


@reward
def contains_reference(rollout: Rollout) -> bool:
    return str(rollout.reference) in rollout.answer


def brief(reward: Any, **options: Any) -> Service:
    """Start a service whose jobs may have a few records, which do not learn but are as many steps as a test needs."""
    return Service(reward=reward, minimum_records=1, **options)


@pytest.fixture
def service() -> Iterator[Service]:
    with brief(right) as found:
        yield found


# Rewards in files


def reward_file(folder: Path, statement: str) -> str:
    (folder / "reward.py").write_text(SOURCE.format(statement=statement))
    return f"{folder / 'reward.py'}:lambda_handler"


def test_the_output_of_a_reward_file_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_REWARD_SETTING", "from the environment")
    caplog.set_level(logging.INFO, "bedrock_rft.local.reward")
    with brief(reward_file(tmp_path, "pass")) as service:
        assert wait(service, create(service, upload(service, records(8))))["status"] == "succeeded"
    messages = [record.getMessage() for record in caplog.records if record.name == "bedrock_rft.local.reward"]
    assert "reward.py:lambda_handler: scored 16 from the environment" in messages
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("sys.exit(3)", "SystemExit"),
        ("os._exit(3)", "exit code 3"),
        ("os.abort()", "SIGABRT" if os.name == "posix" else "exit code"),
        ("raise ValueError('no such field')", "no such field"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV" if os.name == "posix" else ""),
    ],
)
def test_a_reward_file_that_ends_its_process_fails_the_job_only(tmp_path: Path, statement: str, expected: str) -> None:
    crash = f"len(event) and os.path.exists({str(tmp_path / 'crash')!r}) and exec({statement!r})"
    (tmp_path / "crash").touch()
    with brief(reward_file(tmp_path, crash)) as service:
        file = upload(service, records(8))
        failed = wait(service, create(service, file))
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "reward_function_error"
        assert expected in failed["error"]["message"]
        (tmp_path / "crash").unlink()
        assert wait(service, create(service, file))["status"] == "succeeded"


@pytest.mark.parametrize("kind", ["path", "zip", "package"])
def test_every_kind_of_reward_in_a_file_runs_in_a_subprocess(tmp_path: Path, kind: str) -> None:
    (tmp_path / "lambda_function.py").write_text(SOURCE.format(statement="pass"))
    with zipfile.ZipFile(tmp_path / "reward.zip", "w") as archive:
        archive.write(tmp_path / "lambda_function.py", "lambda_function.py")
    rewards: dict[str, Any] = {
        "path": f"{tmp_path / 'lambda_function.py'}:lambda_handler",
        "zip": tmp_path / "reward.zip",
        "package": rewards_package(contains_reference),
    }
    with brief(rewards[kind]) as service:
        reward: Any = service._runner._settings.rewards
        assert isinstance(reward._target, SubprocessTarget)
        assert wait(service, create(service, upload(service, records(8))))["status"] == "succeeded"


def test_the_process_of_a_reward_ends_with_the_service(tmp_path: Path) -> None:
    with brief(reward_file(tmp_path, "pass")) as service:
        reward: Any = service._runner._settings.rewards
        process = reward._target._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() is not None


# Rewards given as objects


def exits_if_asked(event: list[dict[str, Any]], context: object) -> list[dict[str, Any]]:
    print("scored in process", os.getpid())  # noqa: T201 - the point
    print("to standard error", file=sys.stderr)  # noqa: T201 - the point
    if os.environ.get("LOCAL_REWARD_EXITS"):
        os._exit(3)
    return right(event, context)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bedrock_rft.local.reward"]


def warnings_of(service: Service, job: str) -> list[str]:
    return [event["message"] for event in events(service, job) if event["level"] == "warn"]


def test_a_function_runs_in_a_process_of_its_own(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "bedrock_rft.local.reward")
    with brief(exits_if_asked) as service:
        file = upload(service, records(8))
        job = create(service, file)
        assert wait(service, job)["status"] == "succeeded"
        assert warnings_of(service, job) == []
    line, warning = sorted(set(logged(caplog)))
    assert line.startswith("exits_if_asked: scored in process ")
    assert line.split()[-1] != str(os.getpid())
    assert warning == "exits_if_asked: to standard error"
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("LOCAL_REWARD_EXITS", "1")
    with brief(exits_if_asked) as service:
        failed = wait(service, create(service, upload(service, records(8))))
        assert failed["error"]["code"] == "reward_function_error"
        assert "exit code 3" in failed["error"]["message"]


@pytest.mark.parametrize("kind", ["reward", "handler", "grader", "sum"])
def test_a_reward_object_runs_in_a_process_of_its_own(kind: str) -> None:
    objects: dict[str, Any] = {
        "reward": contains_reference,
        "handler": contains_reference.handler,
        "grader": Exact(),
        "sum": 0.5 * contains_reference + 0.5 * Exact(),
    }
    with brief(objects[kind]) as service:
        job = create(service, upload(service, records(8)))
        assert wait(service, job)["status"] == "succeeded"
        assert warnings_of(service, job) == []
        reward: Any = service._runner._settings.rewards
        assert isinstance(reward._target, SubprocessTarget)


def test_a_function_finds_the_modules_that_this_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scores_of_a_project.py").write_text("def level():\n    return 0.5\n")
    (tmp_path / "reward_of_a_project.py").write_text(
        "from scores_of_a_project import level\n\n"
        "def grade(event, context):\n"
        "    return [{'id': entry['id'], 'aggregate_reward_score': level()} for entry in event]\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    grade = importlib.import_module("reward_of_a_project").grade
    with brief(grade) as service:
        job = create(service, upload(service, records(8)))
        assert wait(service, job)["status"] == "succeeded"
        assert warnings_of(service, job) == []


def test_a_closure_runs_in_this_process_with_a_warning_and_its_output_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "bedrock_rft.local.reward")
    processes: set[int] = set()
    scoring, printed = threading.Event(), threading.Event()

    def closure(event: list[dict[str, Any]], context: object) -> list[dict[str, Any]]:
        processes.add(os.getpid())
        print("scored", len(event), file=sys.stderr)  # noqa: T201 - the point
        scoring.set()
        assert printed.wait(10)
        return right(event, context)

    with brief(closure) as service:
        job = create(service, upload(service, records(8)))
        assert scoring.wait(10)
        print("the program prints meanwhile")  # noqa: T201 - the point
        printed.set()
        assert wait(service, job)["status"] == "succeeded"
        (warning,) = warnings_of(service, job)
    assert processes == {os.getpid()}
    assert "runs in the process of the service" in warning
    assert "the enclosing function" in warning
    assert "closure: scored 16" in logged(caplog)
    assert capsys.readouterr() == ("the program prints meanwhile\n", "")


def test_a_closure_that_exits_fails_the_job_only() -> None:
    statuses = [3]

    def closure(event: list[dict[str, Any]], context: object) -> list[dict[str, Any]]:
        for status in statuses:
            sys.exit(status)
        return right(event, context)

    with brief(closure) as service:
        file = upload(service, records(8))
        assert "raised SystemExit: 3" in wait(service, create(service, file))["error"]["message"]
        statuses.clear()
        assert wait(service, create(service, file))["status"] == "succeeded"


def test_an_event_above_6_mb_fails_as_in_lambda(service: Service) -> None:
    rows = records(4)
    for row in rows:
        row["context"] = "x" * 400_000
    failed = wait(service, create(service, upload(service, rows)))
    assert failed["error"]["code"] == "reward_function_error"
    assert "6,291,456 bytes" in failed["error"]["message"]
    assert wait(service, create(service, upload(service, records(8))))["status"] == "succeeded"


def raising_gold(record: object) -> str:
    raise ZeroDivisionError(type(record).__name__)


def numeric_gold(record: object) -> Any:
    del record
    return 7


@pytest.mark.parametrize(
    ("gold", "expected"), [(raising_gold, "raised ZeroDivisionError"), (numeric_gold, "must return text")]
)
def test_a_gold_function_that_fails_is_named(gold: Any, expected: str) -> None:
    with brief(right, gold=gold) as service:
        failed = wait(service, create(service, upload(service, records(8))))
    assert failed["error"]["code"] == "invalid_setting"
    assert expected in failed["error"]["message"]


# Hyperparameters


def test_unsupported_hyperparameters_are_accepted_with_an_event(service: Service) -> None:
    job = create(service, upload(service, records(8)), hyperparameters={"n_epochs": 1, "beta": 0.1, "scheduler": "x"})
    done = wait(service, job)
    assert done["status"] == "succeeded"
    assert done["method"]["reinforcement"]["hyperparameters"]["beta"] == 0.1
    messages = [event["message"] for event in events(service, job) if event["level"] == "warn"]
    assert len(messages) == 2
    for name in ("beta", "scheduler"):
        assert any(f"'{name}' is accepted but not used" in message for message in messages)


# A full disk


def fill(service: Service) -> None:
    """Let the database have no more pages than it has now."""
    with service._store._lock:
        pages = service._store._db.execute("PRAGMA page_count").fetchone()[0]
        service._store._db.execute(f"PRAGMA max_page_count = {pages}")


def free(service: Service) -> None:
    with service._store._lock:
        service._store._db.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_fails_the_job_and_leaves_the_service_able_to_go_on() -> None:
    with Service(reward=right, pace=0.02) as service:
        file = upload(service, records())
        job = create(service, file)
        while not any(event["type"] == "metrics" for event in events(service, job)):
            time.sleep(0.01)
        fill(service)
        failed = wait(service, job)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "storage_error"
        assert "full" in failed["error"]["message"]
        # No page is left for a file's row either, sooner or later.
        name = "x" * 1000
        statuses = {service.receive_file(filename=name, purpose="fine-tune", chunks=[b"x"]).status for _ in range(20)}
        assert statuses <= {200, 507}
        assert 507 in statuses
        free(service)
        assert retrieve(service, job)["status"] == "failed"
        assert wait(service, create(service, file))["status"] == "succeeded"
        assert retrieve(service, job)["status"] == "failed"
        deadline = time.monotonic() + 10
        while service._store.has_unsaved_failures:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="a limit for the size of files")
def test_an_upload_to_a_full_disk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from bedrock_rft import Client\n"
        "from bedrock_rft.local import LocalService\n"
        "from pathlib import Path\n"
        "import httpx\n"
        "with LocalService(sys.argv[1]) as service:\n"
        "    headers = {'Authorization': 'Bearer ' + service.client_options('api_key')['api_key']}\n"
        "    def send():\n"
        "        return httpx.post(service.base_url + '/files', headers=headers, data={'purpose': 'fine-tune'},\n"
        "                          files={'file': b'x' * (3 << 20)}, trust_env=False)\n"
        "    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))\n"
        "    full = send()\n"
        "    stored = list((Path(sys.argv[1]) / 'contents').iterdir())\n"
        "    print(full.status_code, full.json()['error']['code'], len(stored))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "    print(send().status_code)\n"
    )
    done = run_python("-c", code, tmp_path / "state")
    assert done.stdout.splitlines() == ["507 insufficient_storage 0", "200"], done.stderr


# Deleted files


def test_deleting_a_training_file_does_not_change_a_tuned_model(tmp_path: Path) -> None:
    rows, validation = records(), records(20, 5000)
    with Service(tmp_path, reward=right) as service:
        file, other = upload(service, rows), upload(service, validation)
        model = wait(service, create(service, file, validation_file=other))["fine_tuned_model"]
        before = [answer(service, model, row) for row in rows[:20] + validation[:5]]
        base = answer(service, MODEL, rows[0])
        for key in (file, other):
            assert service.handle(Request("DELETE", f"/files/{key}")).ok
            assert service.handle(Request("GET", f"/files/{key}/content")).status == 404
        assert [answer(service, model, row) for row in rows[:20] + validation[:5]] == before
        assert answer(service, MODEL, rows[0]) != base, "the base model knows the uploaded files only"
    with Service(tmp_path, reward=right) as service:
        assert [answer(service, model, row) for row in rows[:20] + validation[:5]] == before
        upload(service, [{**row, "reference_answer": "other"} for row in rows])
        assert [answer(service, model, row) for row in rows[:20] + validation[:5]] == before


def test_the_content_of_a_deleted_file_is_kept_for_a_job_only(tmp_path: Path) -> None:
    with Service(tmp_path, reward=right, minimum_records=1) as service:
        file = upload(service, records(8))
        wait(service, create(service, file))
        unused = upload(service, records(5))
        for key in (file, unused):
            service.handle(Request("DELETE", f"/files/{key}"))
        assert [path.name for path in (tmp_path / "contents").iterdir()] == [file]


# Lists


def test_a_large_limit_is_lowered(service: Service) -> None:
    for _ in range(105):
        upload(service, records(1))
    page = service.handle(Request("GET", "/files", query={"limit": 200})).json()
    assert len(page["data"]) == 100
    assert page["has_more"] is True
    assert service.handle(Request("GET", JOBS, query={"limit": 10**12})).ok


# Parameters of chat completions and responses


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/chat/completions", {"tools": [{"type": "function"}]}, "tools"),
        ("/chat/completions", {"response_format": {"type": "json_object"}}, "response_format.type"),
        ("/chat/completions", {"logprobs": True}, "logprobs"),
        ("/chat/completions", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("/chat/completions", {"presence_penalty": 0.5}, "presence_penalty"),
        ("/chat/completions", {"store": True}, "store"),
        ("/chat/completions", {"functions": []}, "functions"),
        ("/chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (
            "/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ("/responses", {"tools": [{"type": "web_search"}]}, "tools"),
        ("/responses", {"reasoning": {"effort": "low"}}, "reasoning"),
        ("/responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("/responses", {"background": True}, "background"),
        ("/responses", {"text": {"format": {"type": "json_schema"}}}, "text.format.type"),
        ("/responses", {"input": [{"type": "item_reference", "id": "x"}]}, "input.0.type"),
    ],
)
def test_unsupported_parameters_are_refused(service: Service, path: str, fields: dict[str, Any], param: str) -> None:
    rest: dict[str, Any] = {"messages": records()[0]["messages"]} if "chat" in path else {"input": "x"}
    response = service.handle(Request("POST", path, json={"model": MODEL, **rest, **fields}))
    assert response.status == 400
    error = response.json()["error"]
    assert "local service" in error["message"]
    assert error["param"].startswith(param)


def test_parameters_that_are_off_are_accepted(service: Service) -> None:
    upload(service, records())
    off: dict[str, Any] = {
        "user": "me", "n": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False,
        "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "store": False, "stop": None,
        "service_tier": "auto", "logit_bias": {},
    }  # fmt: skip
    body = {"model": MODEL, "messages": records()[0]["messages"], **off}
    assert service.handle(Request("POST", "/chat/completions", json=body)).ok


def test_sampling_parameters_have_an_effect(service: Service) -> None:
    rows = records()
    upload(service, rows)

    def texts(row: dict[str, Any] = rows[0], **fields: Any) -> list[str]:
        body = {"model": MODEL, "messages": row["messages"], "n": 40, "seed": 1, **fields}
        choices = service.handle(Request("POST", "/chat/completions", json=body)).json()["choices"]
        return [choice["message"]["content"] for choice in choices]

    assert len(set(texts())) > len(set(texts(top_p=0.3)))
    assert all("." not in text for text in texts(stop=["."]))
    # One seed does not give all prompts the same draw.
    drawn = [texts(row, n=1)[0].replace(row["reference_answer"], "right") for row in rows[:30]]
    assert len(set(drawn)) > 3
