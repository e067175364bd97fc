"""Mishaps: two processes at once, Ctrl-C in the middle, files of other users, and input that cannot be read."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import ARN, command, records
from support.fault_server import Faults, carried_out, slow, stall

from bedrock_rft import Client
from bedrock_rft._cli.background import start
from bedrock_rft._cli.id_cache import renew
from bedrock_rft._cli.job_file import JobSettings
from bedrock_rft.local import LocalService

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX")
MODEL = "openai.gpt-oss-20b"
FLAGS = ("--model", MODEL, "--training-file", "file-1", "--reward", ARN)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Point the environment at a faulty service."""
    with Faults() as faults:
        # Not an API key: importing the OpenAI SDK would take most of the time of each process.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE00000001")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", faults.base_url)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield faults


def started(*arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "bedrock_rft", "jobs", "create", *FLAGS, *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours


@posix
@pytest.mark.parametrize("name", [(), ("--name", "once"), ("body.json",)])
def test_the_same_command_at_the_same_time_creates_one_job(
    faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    grader = {"type": "lambda", "lambda": {"function": ARN}}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    (tmp_path / "body.json").write_text(json.dumps({"model": MODEL, "training_file": "file-1", "method": method}))
    faults.script("POST", "/fine_tuning/jobs", [slow(3), slow(3)])
    processes = [started(*name, "-o", "quiet") for _ in range(2)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert len(faults.jobs) == 1
    assert len({out for out, _ in results}) == 1


@posix
def test_ctrl_c_before_the_response_names_the_job_that_may_exist(faults: Faults) -> None:
    faults.script("POST", "/fine_tuning/jobs", [carried_out(stall)])
    with started("--new", "--debug") as creating:
        assert creating.stderr is not None
        while "creating a fine-tuning job" not in creating.stderr.readline():
            assert creating.poll() is None
        while not faults.jobs:
            assert creating.poll() is None
        creating.send_signal(signal.SIGINT)
        _, err = creating.communicate(timeout=20)
    assert creating.returncode == 130
    search, name = err.splitlines()[-1].split("bedrock-rft ")[-1].rsplit(" ", 1)
    assert "may exist" in err
    assert len(command(*search.split(), name, "-o", "quiet").out) > 1, "the job is found by its name"


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("noun", ["jobs", "files"])
def test_a_huge_limit_lists_everything(noun: str) -> None:
    assert command(noun, "list", "--limit", "9" * 30).code == 0


def test_equal_numbers_are_the_same_job() -> None:
    one, other = (JobSettings(hyperparameters={"learning_rate_multiplier": value}) for value in (1, 1.0))
    assert one.derive_name(ARN) == other.derive_name(ARN)


def test_a_process_in_the_background_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("click", "json", "pydantic", "runpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the current folder')")
    with start("bedrock_rft", ["--help"], log=tmp_path / "log") as process:
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"Usage: bedrock-rft ")
    assert (process.returncode, (tmp_path / "log").read_text()) == (0, "")


@posix
def test_only_this_user_can_read_ids_states_and_logs(
    service: LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tmp_path / "ids.json"
    before = os.umask(0)
    try:
        renew("files", service.client_options(), ids)
        monkeypatch.setattr(sys, "argv", ["bedrock-rft", "local", "serve", "--detach"])
        assert command(*sys.argv[1:]).code == 0
    finally:
        os.umask(before)
    files = [ids, *(tmp_path / "cache" / "bedrock_rft" / "local").iterdir()]
    modes = {file.suffix: stat.S_IMODE(file.stat().st_mode) for file in files}
    assert command("local", "stop").code == 0
    assert (len(files), set(modes.values())) == (3, {0o600}), modes


DEEP = "[" * 100_000


@pytest.mark.parametrize("content", [DEEP.encode(), b'{"a": ' * 100_000, b"\xff\xfe\x00{"])
@pytest.mark.parametrize("name", ["a.json", "a.toml"])
def test_files_that_cannot_be_parsed_are_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"a = " + content if name.endswith("toml") else content)
    monkeypatch.setenv("BEDROCK_RFT_PRICES", name)
    commands = [
        ("jobs", "create", name),
        ("jobs", "create", "--from", name),
        ("reward", "from-openai", name),
        ("eval", "show", name),
    ]
    for words in commands:
        done = command(*words, "-o", "json")
        assert "bug in bedrock-rft" not in done.err, words
        assert done.code in {1, 2}, words
        assert json.loads(done.err)["error"]["message"]


def test_a_hyperparameter_of_deep_brackets_is_wrong_input(service: LocalService) -> None:
    del service
    done = command("jobs", "create", *FLAGS, "--hyperparameter", f"batch_size={DEEP}", "--dry-run")
    assert (done.code, "bug in bedrock-rft" in done.err) == (2, False)


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "quiet"])
def test_actions_before_an_error_are_shown(client: Client, form: str) -> None:
    file = client.files.upload(records().encode(), filename=f"{form}.jsonl", reuse=False)
    done = command("files", "delete", file.id, "file-none", "-y", "-o", form)
    assert done.code == 1
    assert file.id in done.out


@pytest.mark.parametrize("option", ["--region", "--profile", "--project", "--base-url"])
def test_an_empty_global_option_is_not_the_default(service: LocalService, option: str) -> None:
    del service
    done = command("jobs", "list", option, "")
    assert (done.code, done.out) == (2, "")
    assert f"'{option}': the value is empty" in done.err


@pytest.mark.parametrize("option", ["--name", "--validation-file", "--reward-name"])
def test_an_empty_flag_of_a_job_is_refused(service: LocalService, option: str) -> None:
    del service
    done = command("jobs", "create", *FLAGS, option, "")
    assert (done.code, done.out) == (2, "")
    assert f"{option} is empty" in done.err
