"""`jobs create`: run.toml, flags, paths and ids, rewards by file, name and ARN, dry runs and names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.aws_gate import Here
from support.command import ARN, Done, command
from support.moto_server import ACCOUNT

from bedrock_rft import Client

MODEL = "openai.gpt-oss-20b"
TOML = f"""
model = "{MODEL}"
training_file = "train.jsonl"
reward = "{ARN}"
[hyperparameters]
batch_size = 25
[metadata]
team = "a"
"""


def create(*arguments: object, code: int = 0) -> Done:
    done = command("jobs", "create", *arguments, "-o", "json")
    assert done.code == code, done.err
    return done


@pytest.fixture
def folder(client: Client, tmp_path: Path) -> Path:
    """Return a folder with run.toml, for a service with the client's file."""
    del client
    (tmp_path / "run.toml").write_text(TOML)
    return tmp_path


def test_a_job_is_created_from_a_file_and_found_again(folder: Path, client: Client) -> None:
    done = create(folder / "run.toml")
    job = client.jobs.retrieve(done.json["id"])
    assert (job.model, job.reward) == (MODEL, ARN)
    metadata = dict[str, Any](job.metadata or {})
    assert metadata["team"] == "a"
    assert metadata["bedrock_rft_marker"].startswith("cli-")
    assert client.files.retrieve(job.training_file).filename == "train.jsonl"
    again = create(folder / "run.toml")
    assert again.json["id"] == job.id
    found = " ".join(command("jobs", "create", "run.toml").err.split())
    assert f"Job {job.id} was created earlier. --new creates another job" in found
    assert create("run.toml", "--batch-size", 20).json["id"] != job.id, "flags come first"
    other = create("run.toml", "--new")
    assert other.json["id"] != job.id
    assert other.json["training_file"] == job.training_file, "an identical file is not sent again"
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text().replace("plus", "and"))
    assert create("run.toml").json["id"] != job.id, "the content of the file differs"


def test_a_body_for_openai_creates_one_job(folder: Path, client: Client) -> None:
    file = client.files.upload("train.jsonl")
    reinforcement: dict[str, Any] = {
        "grader": {"type": "lambda", "lambda": {"function": ARN}},
        "hyperparameters": {"n_epochs": 2, "batch_size": "auto"},
    }
    method = {"type": "reinforcement", "reinforcement": reinforcement}
    body: dict[str, Any] = {"model": MODEL, "training_file": file.id, "method": method, "suffix": None}
    path = folder / "body.json"
    path.write_text(json.dumps(body))
    before = len(list(client.jobs.list()))
    dry = create(path, "--dry-run").json
    sent = dry["request"]["method"]["reinforcement"]
    assert (sent["grader"], sent["hyperparameters"]) == (reinforcement["grader"], {"n_epochs": 2})
    assert len(list(client.jobs.list())) == before
    job = client.jobs.retrieve(create(path).json["id"])
    assert (job.model, job.training_file, job.reward) == (MODEL, file.id, ARN)
    assert create(path).json["id"] == job.id
    assert create(path, "--model", "qwen.qwen3-32b").json["id"] != job.id
    assert len(list(client.jobs.list())) == before + 2
    path.write_text(job.model_dump_json(by_alias=True))  # as `jobs get` prints it, with the marker of the first one
    again = client.jobs.retrieve(create(path, "--new").json["id"])
    assert (again.reward, again.training_file) == (ARN, file.id)
    assert len(list(client.jobs.list())) == before + 3
    path.write_text(json.dumps({**body, "suffix": "mine"}))
    assert "suffix is not supported" in create(path, code=2).error["message"]


def test_a_job_is_created_from_flags_and_ids(client: Client, folder: Path) -> None:
    file = client.files.upload((folder / "train.jsonl").read_bytes(), filename="given.jsonl")
    done = create(
        "--model", MODEL, "--training-file", file.id, "--validation-file", "train.jsonl", "--reward", ARN,
        "--name", "flags-1", "--metadata", "a=b=c", "--hyperparameter", "batch_size=50",
    )  # fmt: skip
    job = client.jobs.retrieve(done.json["id"])
    assert job.training_file == file.id
    assert job.validation_file
    assert dict[str, Any](job.metadata or {}) == {"a": "b=c", "bedrock_rft_marker": "flags-1"}
    assert command("jobs", "find", "flags-1", "-o", "quiet").out == f"{job.id}\n"
    given = ("--model", MODEL, "--training-file", file.id, "--reward", ARN, "--name", "flags-1")
    again = command("jobs", "create", *given, "--validation-file", "train.jsonl")
    assert f"Job {job.id} with the name 'flags-1' was created earlier" in " ".join(again.err.split())
    differs = create("--model", MODEL, "--training-file", file.id, "--reward", ARN, "--name", "flags-1",
                     "--batch-size", 10, code=2)  # fmt: skip
    assert f"The name 'flags-1' belongs to job {job.id}, which differs" in differs.error["message"]
    assert "upload(" not in differs.error["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = ", "is not valid TOML"),
        ("modle = 'x'", "unknown key 'modle'. Did you mean 'model'?"),
        ("model = 5", "'model' must be text"),
        ("hyperparameters = 5", "must be a table"),
        ("[metadata]\na = 5", "must be text in quotes"),
        ("model = 'x'\ntraining_file = 'none.jsonl'\nreward = 'arn:aws:x'", "There is no file"),
        (TOML.replace("batch_size = 25", "epochs = 2"), "did you mean 'n_epochs'?"),
        (TOML.replace(ARN, "none.py:f"), "none.py"),
    ],
)
def test_mistakes_in_the_file_are_named(folder: Path, text: str, said: str) -> None:
    (folder / "run.toml").write_text(text)
    assert said in create("run.toml", code=2).error["message"]


def test_paths_belong_to_the_folder_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert create(folder / "run.toml", "--metadata", "from=elsewhere").json["model"] == MODEL


def test_a_dry_run_sends_nothing_and_prints_the_request(folder: Path, client: Client) -> None:
    before = len(list(client.jobs.list())), len(list(client.files.list()))
    (folder / "reward.py").write_text(REWARD)
    done = create("run.toml", "--reward", "reward.py", "--dry-run", "--metadata", "dry=1", code=3)
    found = done.json
    assert found["ok"] is False, "the real run fails as well"
    assert {"request", "data", "reward", "doctor"} <= set(found)
    assert found["request"]["training_file"] == f"<the id of {folder / 'train.jsonl'} after its upload>".replace(
        f"{folder}/", ""
    )
    function = found["request"]["method"]["reinforcement"]["grader"]["lambda"]["function"]
    assert function == "<the ARN of reward.py, deployed as reward-correct>"
    assert (len(list(client.jobs.list())), len(list(client.files.list()))) == before
    (problem,) = [one for one in found["doctor"]["findings"] if one["code"] == "not_deployable"]
    assert "The real run would not create a job, because reward.py" in problem["summary"]
    assert "A job on the local service needs no deployment" in problem["reason"]
    assert "pass any function's ARN, such as --reward 'arn:aws:lambda:" in problem["reason"]
    assert found["doctor"]["reward"] == "reward.py, which is not deployed yet"
    assert "plan" not in found
    refused = create("run.toml", "--reward", "reward.py", code=2)
    assert "needs no deployment" in refused.error["message"], "before it asks whether to deploy"
    assert "--yes" not in refused.error["message"]


def test_a_dry_run_on_the_local_service_does_not_invoke_the_arn(folder: Path) -> None:
    found = create(folder / "run.toml", "--dry-run").json
    assert found["ok"] is True
    (finding,) = found["reward"]["findings"]
    assert (finding["level"], finding["code"]) == ("unknown", "reward_not_checked")
    assert f"call its own reward, whatever the ARN, so {ARN} was not invoked" in finding["reason"]


@pytest.mark.parametrize(
    "words",
    [
        ("reward", "check", ARN, "train.jsonl"),
        ("reward", "score", ARN, "train.jsonl", "--answer", "1"),
        ("rehearse", "train.jsonl", "--reward", ARN),
        ("eval", "run", "train.jsonl", "--model", MODEL, "--reward", ARN),
    ],
)
@pytest.mark.usefixtures("folder")
def test_with_the_local_service_no_function_of_aws_is_invoked(words: tuple[str, ...]) -> None:
    done = command(*words, "-o", "json")
    assert done.code == 2
    assert f"so {ARN} was not invoked: lambda.us-west-2.amazonaws.com is AWS" in done.error["message"]
    assert "to bedrock-rft reward check" in done.error["message"]


@pytest.mark.usefixtures("folder")
def test_reading_names_no_change_of_an_account() -> None:
    (missing,) = command("inventory", "-o", "json").json["incomplete"]
    assert "lambda.us-west-2.amazonaws.com is AWS, so nothing was sent there" in missing
    assert "changed" not in missing
    assert "deployment" not in missing


def test_a_dry_run_has_the_plan_of_the_deployment(here: Here, folder: Path) -> None:
    (folder / "reward.py").write_text(REWARD)
    found = create("run.toml", "--reward", "reward.py", "--dry-run").json
    assert {(one["action"], one["kind"]) for one in found["plan"]["steps"]} >= {
        ("create", "role"),
        ("create", "function"),
    }
    assert "not_deployable" not in {one["code"] for one in found["doctor"]["findings"]}
    assert set(here.gate.writes) == {"SimulatePrincipalPolicy"}, "which reads only"
    shown = command("jobs", "create", "run.toml", "--reward", "reward.py", "--dry-run").out
    assert "Deploy reward-correct: 4 to create" in shown
    assert "access." not in shown


def test_a_new_project_runs_on_the_local_service_with_any_arn(folder: Path) -> None:
    assert command("init", "new").code == 0
    refused = create("new/run.toml", "-y", code=2)
    assert "pass any function's ARN" in refused.error["message"]
    job = create("new/run.toml", "--reward", ARN).json["id"]
    assert command("jobs", "wait", job).code == 0
    codes = {each["code"] for each in command("jobs", "health", job, "-o", "json").json["findings"]}
    assert "too_few_steps" not in codes, "the generated job has enough steps to be judged"
    assert (folder / "new").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jobs", "watch", ""), "job is an empty id"),
        (("eval", "run", "train.jsonl", "--reward", "reward.py", "--model", ""), "has an empty id"),
    ],
)
def test_an_empty_shell_variable_is_named(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    (folder / "reward.py").write_text(REWARD)
    done = command(*arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())


REWARD = """
from bedrock_rft import rewards

correct = rewards.Numeric()
"""


def test_a_reward_file_is_deployed_after_a_confirmation(here: Here, folder: Path, client: Client) -> None:
    (folder / "reward.py").write_text(REWARD)
    refused = create("run.toml", "--reward", "reward.py", code=2)
    assert "Deploy reward.py to Lambda as the function reward-correct" in refused.error["message"]
    assert here.gate.writes == []
    done = create("run.toml", "--reward", "reward.py", "--reward-name", "sums", "-y")
    job = client.jobs.retrieve(done.json["id"])
    assert job.reward == f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:sums:1"
    assert create("run.toml", "--reward", "reward.py").json["id"] == job.id, "its code is the same"
    by_name = create("run.toml", "--reward", "sums")
    assert client.jobs.retrieve(by_name.json["id"]).reward == job.reward
    unknown = create("run.toml", "--reward", "nothing", code=2)
    assert "There is no function 'nothing' in us-west-2" in unknown.error["message"]


def test_the_name_of_a_reward_may_be_left_out_if_there_is_one(folder: Path) -> None:
    (folder / "two.py").write_text(REWARD + "other = rewards.Exact()\n")
    done = command("reward", "check", "two.py", "train.jsonl")
    assert done.code == 2
    assert "two.py does not name one reward. It has correct, other." in " ".join(done.err.split())
    (folder / "two.py").write_text(REWARD + "other = rewards.Exact()\nlambda_handler = other.handler\n")
    assert command("reward", "score", "two.py", "train.jsonl", "--answer", "0", "-o", "json").json[0]["score"] == 1.0
    (folder / "none.py").write_text("x = 1\n")
    assert "No reward and no handler" in command("reward", "package", "none.py", "--out", "x.zip").err
