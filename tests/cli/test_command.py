"""The command: global options, formats, help texts, errors and exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
from support.command import ARN, Done, command, every_command, score
from support.fault_server import Faults, status

from bedrock_rft import Client, access
from bedrock_rft._cli.command import PROGRAM
from bedrock_rft._core.version import __version__
from bedrock_rft.local import LocalService

HELP = Path(__file__).with_name("help.txt")


def help_texts() -> str:
    pages: list[str] = []
    for words, _, _ in every_command():
        done = command(*words.split()[1:], "--help")
        assert (done.code, done.err) == (0, "")
        pages.append(f"$ {words} --help\n{done.out}")
    return "\n".join(pages)


def test_each_help_page_is_as_recorded() -> None:
    """`BEDROCK_RFT_WRITE_HELP=1 pytest tests/cli` records it anew."""
    found = help_texts()
    if os.environ.get("BEDROCK_RFT_WRITE_HELP"):
        HELP.write_text(found, encoding="ascii")
    assert found == HELP.read_text(encoding="ascii")
    assert found.isascii()
    assert max(map(len, found.splitlines())) <= 80


def test_the_page_names_every_command() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "how-to", "use-the-command.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+)`)? ?\| (`.*) \|$", page.partition("## From nothing")[0], re.MULTILINE)
    named = {
        f"bedrock-rft {noun} {verb}".replace("  ", " ")
        for noun, verbs in rows
        for verb in re.findall(r"`(.*?)`", verbs)
    }
    groups = {words for words, inner, _ in every_command() if hasattr(inner, "list_commands")}
    assert named == {words for words, _, _ in every_command()} - groups


def test_each_command_names_its_json() -> None:
    without = {words for words, inner, _ in every_command() if not getattr(inner, "shape", None)}
    groups = {words for words, inner, _ in every_command() if hasattr(inner, "list_commands")}
    texts = {"files download", "completion"}
    assert without - groups == {f"bedrock-rft {words}" for words in texts}


@pytest.mark.parametrize("arguments", [("--version",), ("jobs", "list", "--version"), ("--version", "jobs")])
def test_the_version_in_any_position(arguments: tuple[str, ...]) -> None:
    assert command(*arguments).out == f"bedrock-rft {__version__}\n"


def test_global_options_in_any_position(service: LocalService) -> None:
    assert service.base_url
    for arguments in (
        ("-o", "json", "models", "list"),
        ("models", "--output", "json", "list"),
        ("models", "list", "-ojson"),
        ("--output=jsonl", "models", "list", "-o", "json"),
    ):
        done = command(*arguments)
        assert {each["id"] for each in done.json} >= {"openai.gpt-oss-20b", "qwen.qwen3-32b"}


def test_settings_come_from_options_before_the_environment(service: LocalService) -> None:
    assert command("whoami", "-o", "json").json["region"] == service.region
    shown = command("whoami", "--region", "eu-west-1", "--project", "proj_1", "-o", "json").json
    assert (shown["region"], shown["project"]) == ("eu-west-1", "proj_1")
    assert "project   proj_1" in command("whoami", "--project", "proj_1").out
    assert "endpoint  http://127.0.0.1:1/v1" in command("--base-url", "http://127.0.0.1:1/v1", "whoami").out


def test_every_format_of_a_list(service: LocalService, finished_job: str) -> None:
    assert service.region
    words = ("jobs", "checkpoints", finished_job, "-o")
    table, lines, rows, ids = (command(*words, form).out for form in ("table", "jsonl", "csv", "quiet"))
    assert table.splitlines()[0].split() == ["ID", "STEP", "MODEL"]
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ids.split()
    assert [row["id"] for row in csv.DictReader(io.StringIO(rows))] == ids.split()
    empty = command("jobs", "list", "--status", "none")
    assert (empty.code, empty.out) == (0, "")
    assert empty.err.startswith("No job has the status 'none'. The ")
    assert command("jobs", "list", "--status", "none", "-o", "json").json == []


def test_every_format_of_an_object(client: Client, finished_job: str) -> None:
    job = client.jobs.retrieve(finished_job)
    assert command("jobs", "get", finished_job, "-o", "json").json == json.loads(job.model_dump_json(by_alias=True))
    assert command("jobs", "get", finished_job, "-o", "quiet").out == f"{finished_job}\n"
    [row] = csv.DictReader(io.StringIO(command("jobs", "get", finished_job, "-o", "csv").out))
    assert row["tuned model"] == job.fine_tuned_model
    shown = command("jobs", "get", finished_job).out
    assert f"reward           {ARN}\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_long_cells_are_wrapped_and_not_cut(client: Client, finished_job: str) -> None:
    shown = command("jobs", "checkpoints", finished_job).out
    assert max(map(len, shown.splitlines())) <= 80
    for one in client.jobs.checkpoints(finished_job):
        assert one.id in shown
        assert str(one.fine_tuned_model_checkpoint) in re.sub(r"\n +", "", shown)


def test_words_of_a_table_are_not_broken(service: LocalService) -> None:
    assert service.region
    file = command("files", "upload", "train.jsonl", "-o", "quiet").out.strip()
    lines = command("files", "list").out.splitlines()
    [place] = [place for place, line in enumerate(lines) if line.startswith(file)]
    assert re.fullmatch(rf"{file} train\. +\d+ +processed \d{{4}}-\d\d-\d\d", lines[place])
    assert re.fullmatch(r" +jsonl +\d\d:\d\d:\d\dZ", lines[place + 1])
    assert max(map(len, lines)) <= 80


def test_titles_and_facts_of_reports_are_wrapped_and_not_cut(service: LocalService) -> None:
    assert service.region
    name = f"{'long' * 20}.py"
    Path(name).write_text("def lambda_handler(event, context):\n    return []\n")
    checked = command("reward", "check", name, "train.jsonl").out
    assert f"{name}:lambda_handler:" in checked
    arn = f"{ARN}-{'x' * 40}"
    shown = command("doctor", "--reward", arn).out
    assert f"reward    {arn}" in shown or f"reward\n            {arn}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobz", "list"), "There is no command 'bedrock-rft jobz'. Did you mean 'bedrock-rft jobs'?"),
        (("jobs", "lst"), "Did you mean 'bedrock-rft jobs list'?"),
        (("jobs", "list", "--staus", "x"), "There is no option --staus. Did you mean --status?"),
        (("jobs", "list", "--regoin", "x"), "There is no option --regoin. Did you mean --region?"),
        (("jobs", "get"), "Missing argument"),
        (("-o", "yaml", "jobs", "list"), "yaml"),
        (("files", "upload", "nowhere.jsonl"), "nowhere.jsonl"),
        (("jobs", "cancel", "job-1"), "Pass --yes"),
        (("whoami",), "pass --region"),
        (("jobs", "create", "--new", "--name", "x"), "exclude each other"),
        (("jobs", "create"), "Missing option '--model', or the key 'model' in run.toml"),
        (("reward", "check", "reward.py", "nowhere"), "nowhere"),
        (("reward", "check", "reward.txt", "reward.py"), "There is no file reward.txt. A reward is file.py:name"),
        (("rollouts", "show", "nowhere"), "There is no file or folder 'nowhere', and no deployed reward of this name"),
        (("rollouts", "show", "nowhere.jsonl"), "There is no folder or file 'nowhere.jsonl'"),
        (("policy", "caller", "--account", "123456789012"), "No region: pass --region"),
        (("completion",), "Choose from: bash, zsh, fish"),
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert said in " ".join(done.err.split())
    as_json = command(*arguments, "-o", "json") if "-o" not in arguments else None
    if as_json is not None:
        error = as_json.error
        assert as_json.out == ""
        assert set(error) == {"type", "code", "message", "remedy", "request_id"}
        assert said in error["message"]
        assert error["remedy"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("reward check {file} {file} --max-false-positives 0.01", "--max-false-positives limits what --accuracy"),
        ("reward score {file} {file} --line 2", "Add --answer, or leave out --line"),
        ("rehearse {file} --reward {file} --prompts 4", "Add --samples, or leave out --prompts"),
        ("doctor --live --model x", "are used only by --create-job"),
        ("doctor --live --judge x", "have no effect with --live"),
        ("jobs watch job-1 -o csv", "Use -o jsonl"),
        ("jobs watch job-1 -o jsonl --rollouts folder", "--rollouts needs a view for people"),
    ],
)
def test_an_option_without_effect_is_refused(words: str, said: str) -> None:
    done = command(*[word.format(file=__file__) for word in words.split()])
    assert (done.code, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_results_that_are_no_tables_have_csv(service: LocalService) -> None:
    found = list(csv.DictReader(io.StringIO(command("policy", "managed", "-o", "csv").out)))
    assert [row["name"] for row in found] == [one.name for one in access.MANAGED_POLICIES]
    [row] = csv.DictReader(io.StringIO(command("whoami", "-o", "csv").out))
    assert row["region"] == service.region
    command("files", "upload", "train.jsonl")
    assert "file" in {row["kind"] for row in csv.DictReader(io.StringIO(command("inventory", "-o", "csv").out))}


def test_a_noun_without_a_verb_prints_its_help() -> None:
    for path, found, _ in every_command():
        if isinstance(found, click.Group) and path != PROGRAM:
            noun = path.split()[1:]
            assert command(*noun) == Done(2, "", command(*noun, "--help").out), path


def test_errors_of_the_service_have_their_request_id(service: LocalService) -> None:
    assert service.region
    done = command("jobs", "get", "job-none", "-o", "json")
    assert done.code == 1
    assert (done.error["type"], done.error["code"]) == ("NotFoundError", "not_found")
    assert done.error["request_id"].startswith("local-req-")
    assert "(request local-req-" in command("jobs", "get", "job-none").err


def test_a_file_of_records_is_not_a_reward(service: LocalService) -> None:
    assert service.region
    Path("mine.py").write_text("def lambda_handler(event, context):\n    return []\n")
    swapped = command("reward", "check", "train.jsonl", "mine.py", "-o", "json")
    assert swapped.code == 2
    assert "train.jsonl is not a reward. The reward comes before the file of records." in swapped.error["message"]
    flag = command("rehearse", "train.jsonl", "--reward", "train.jsonl")
    assert (flag.code, "comes before" in flag.err) == (2, False)
    assert "train.jsonl is not a reward. A reward is file.py:name" in " ".join(flag.err.split())
    unknown = command("reward", "check", "nowhere", "train.jsonl")
    assert unknown.err.startswith("error: There is no file or folder 'nowhere', and no deployed reward")
    unknown = command("rollouts", "show", "nowhere")
    assert unknown.err.startswith("error: There is no file or folder 'nowhere', and no deployed reward")


def test_the_region_of_a_policy_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("policy", "caller", "--account", "123456789012")
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(variable, "eu-west-1")
        assert "arn:aws:bedrock-mantle:eu-west-1:123456789012:project/default" in command(*words).out
        monkeypatch.delenv(variable)
    assert ":us-east-1:" in command(*words, "--region", "us-east-1").out
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    of_reward = command("policy", "caller", "--reward", ARN).out
    assert ":us-west-2:" in of_reward
    assert ":eu-west-1:" not in of_reward, "the region of the reward is that of its jobs"


def test_errors_of_the_operating_system_are_in_words(service: LocalService) -> None:
    made = command("init", "train.jsonl")
    assert (made.code, made.out) == (2, "")
    assert "train.jsonl is a file, not a folder. Nothing was written." in " ".join(made.err.split())
    port = urlsplit(service.base_url).port
    taken = command("local", "serve", "--port", port)
    assert taken.code == 2
    assert "Errno" not in taken.err
    assert "cannot be used: " in taken.err


def test_a_model_without_a_time_has_no_date(service: LocalService) -> None:
    assert service.region
    listed = command("models", "list", "-o", "csv")
    assert listed.out.splitlines()[1].endswith(",")
    assert "1970" not in listed.out


def test_the_place_of_a_package_is_printed(service: LocalService) -> None:
    assert service.region
    Path("zipped.py").write_text("def lambda_handler(event, context):\n    return []\n")
    assert command("reward", "package", "zipped.py", "--out", "mine.zip").err == "The zip was written to mine.zip.\n"


def test_a_missing_key_is_advised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(variable, raising=False)
    assert " ".join(command("--auth", "api_key", "whoami").err.split()).endswith(" Set AWS_BEARER_TOKEN_BEDROCK.")


def test_a_lost_endpoint_is_named_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-0123456789")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", "http://127.0.0.1:9/v1")
    problem = command("doctor", "-o", "json").json["findings"][0]
    assert problem["reason"].endswith("127.0.0.1:9 refused the connection.")
    assert problem["remedy"].startswith("Check AWS_ENDPOINT_URL_BEDROCK_MANTLE, and whether")
    given = command("doctor", "--base-url", "http://127.0.0.1:9/v1", "-o", "json").json["findings"][0]
    assert given["remedy"].startswith("Check --base-url, and whether")


def test_the_doctor_says_once_why_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = ("[profile s]", "sso_start_url = https://x.awsapps.com/start", "sso_region = us-west-2",
             "sso_account_id = 123456789012", "sso_role_name = r", "region = us-west-2")  # fmt: skip
    (tmp_path / "aws").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    for variable in ("AWS_ENDPOINT_URL_BEDROCK_MANTLE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    assert command("doctor", "--profile", "s").out.count("SSOTokenLoadError") == 1


def test_a_check_with_errors_exits_with_3(service: LocalService) -> None:
    assert service.region
    Path("few.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    checked = command("data", "check", "few.jsonl", "-o", "quiet")
    assert checked.code == 3
    assert checked.out.split()
    uploaded = command("files", "upload", "few.jsonl", "-o", "json")
    assert (uploaded.code, uploaded.out) == (3, "")
    assert uploaded.error["type"] == "DatasetError"
    Path("zero.py").write_text("def lambda_handler(event, context):\n    return []\n")
    assert command("reward", "check", "zero.py", "train.jsonl").code == 3
    assert command("rehearse", "few.jsonl", "--reward", "zero.py").code == 3
    created = ("jobs", "create", "--model", "openai.gpt-oss-20b", "--training-file", "few.jsonl", "--reward", ARN)
    assert command(*created).code == 3
    assert command(*created, "--dry-run").code == 3


def test_a_cancelled_job_exits_with_4_and_a_time_limit_with_124(slow: str) -> None:
    late = command("jobs", "wait", slow, "--timeout", 0.05, "--poll-interval", 0.02, "-o", "json")
    assert (late.code, [job["id"] for job in late.json]) == (124, [slow])
    assert "resume with bedrock-rft jobs wait" in " ".join(late.err.split())
    watched = command("jobs", "watch", slow, "--timeout", 0.05, "--poll-interval", 0.02, "--style", "none")
    assert watched.code == 124
    cancelled = command("jobs", "cancel", slow, "-y", "-o", "json")
    assert (cancelled.code, cancelled.json[0]["status"]) == (0, "cancelled")
    assert command("jobs", "wait", slow, slow).code == 4
    assert command("jobs", "watch", slow, slow, "--poll-interval", 0.05).code == 4


def test_a_limit_of_watch_is_reported_once_without_python(slow: str) -> None:
    done = command("jobs", "watch", slow, "--style", "plain", "--max-hours", 1e-9, "--timeout", 0.3)
    text = " ".join(done.out.split())
    assert text.count("The limit of 1e-09 hours is reached") == 1
    assert "The limit" not in done.err
    assert "client." not in text
    quiet = command("jobs", "watch", slow, "-o", "quiet", "--max-hours", 1e-9, "--timeout", 0.3)
    assert " ".join(quiet.err.split()).count("The limit of 1e-09 hours is reached") == 1


def test_a_job_that_may_exist_exits_with_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedrock_rft._resources.create_job._SEARCH_DELAYS", (0.0,))
    with Faults() as faults:
        faults.script("POST", "/fine_tuning/jobs", [status(500, {"error": {"message": "lost", "code": "internal"}})])
        environment = {"AWS_BEARER_TOKEN_BEDROCK": "key", "AWS_REGION": "us-west-2"}
        for name, value in {**environment, "AWS_ENDPOINT_URL_BEDROCK_MANTLE": faults.base_url}.items():
            monkeypatch.setenv(name, value)
        done = command(
            "jobs", "create", "--model", "openai.gpt-oss-20b", "--training-file", "file-1", "--reward", ARN,
            "--name", "once", "-o", "json",
        )  # fmt: skip
    assert done.code == 5
    assert done.error["type"] == "AmbiguousCreateError"
    assert done.error["remedy"].startswith("Search with bedrock-rft jobs find once before")


@pytest.fixture
def slow(service: LocalService, tmp_path: Path) -> Any:
    """Yield the id of a job that takes minutes, on a separate service."""
    del service
    with LocalService(reward=score, pace=30.0) as slow_service:
        with Client(**slow_service.client_options()) as client:
            file = client.files.upload((tmp_path / "train.jsonl").read_bytes(), filename="train.jsonl")
            job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=ARN)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in slow_service.environment("api_key").items():
                patch.setenv(name, value)
            yield job.id
