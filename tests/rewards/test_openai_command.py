"""`bedrock-rft reward from-openai` and the measured mistakes of `bedrock-rft reward check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft._cli.app import run
from bedrock_rft._cli.job_file import JobSettings, read_job_file
from bedrock_rft.rewards import Rollout

CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.reference_answer }}",
    "operation": "eq",
}
MODEL: dict[str, Any] = {
    "type": "score_model",
    "name": "judged",
    "model": "o4-mini",
    "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.json").write_text(json.dumps({"method": {"type": "reinforcement", "reinforcement": {"grader": CHECK}}}))
    Path("model.json").write_text(json.dumps(MODEL))
    rows = [{"messages": [{"role": "user", "content": f"{n}?"}], "reference_answer": str(n)} for n in range(1000, 1020)]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_job_becomes_a_reward_file_that_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reward", "from-openai", "job.json", "--out", "mine.py"]) == 0
    out, err = capsys.readouterr()
    assert out == "mine.py\n"
    assert "bedrock-rft reward check mine.py:lambda_handler train.jsonl" in err
    space: dict[str, Any] = {}
    exec(Path("mine.py").read_text(encoding="utf-8"), space)  # noqa: S102 - the SDK wrote it
    assert space["total"](Rollout.of("?", "4", "4")).value == 1
    assert run(["reward", "from-openai", "job.json", "--out", "mine.py"]) == 2
    assert "mine.py exists already" in capsys.readouterr().err
    limits = ["--accuracy", "--size", "4", "--max-false-negatives", "0.9"]
    assert run(["reward", "check", "mine.py:lambda_handler", "train.jsonl", *limits]) == 0
    assert "with a thousands separator" in capsys.readouterr().out
    limits[-1] = "0.1"
    assert run(["reward", "check", "mine.py:lambda_handler", "train.jsonl", *limits]) == 3
    assert "of right answers fail" in capsys.readouterr().out


def test_the_letter_o_names_the_file_or_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    for number, arguments in enumerate((["-o", "f0.py", "-o", "json"], ["-ojson", "--out", "f1.py"], ["-of2.py"])):
        assert run(["reward", "from-openai", "job.json", *arguments]) == 0
        shown = capsys.readouterr().out
        assert (json.loads(shown)["files"] if number < 2 else shown.split()) == [f"f{number}.py"]
        assert Path(f"f{number}.py").exists()
    assert run(["-o", "json", "reward", "from-openai", "job.json", "-o", "f0.py"]) == 2
    assert "f0.py exists already" in json.loads(capsys.readouterr().err)["error"]["message"]


def test_a_judge_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reward", "from-openai", "model.json"]) == 2
    assert "'o4-mini' is not on Bedrock" in capsys.readouterr().err
    assert not Path("reward.py").exists()
    for number, judge in enumerate(("amazon.nova-pro-v1:0", "o4-mini=amazon.nova-pro-v1:0")):
        assert run(["reward", "from-openai", "model.json", "--judge", judge, "--out", f"r{number}.py"]) == 0
        assert 'model="amazon.nova-pro-v1:0"' in Path(f"r{number}.py").read_text(encoding="utf-8")


def test_a_job_of_openai_is_a_file_of_settings(capsys: pytest.CaptureFixture[str]) -> None:
    arn = "arn:aws:lambda:us-west-2:123456789012:function:reward"
    settings: dict[str, Any] = {"n_epochs": 2, "batch_size": "auto"}
    reinforcement: dict[str, Any] = {"grader": CHECK, "hyperparameters": settings}
    job: dict[str, Any] = {
        "object": "fine_tuning.job",
        "id": "ftjob-1",
        "model": "o4-mini-2025-04-16",
        "training_file": "file-1",
        "metadata": {"team": "a"},
        "method": {"type": "reinforcement", "reinforcement": reinforcement},
        "seed": 7,
    }
    Path("job.json").write_text(json.dumps(job))
    kept: dict[str, Any] = {"hyperparameters": {"n_epochs": 2}, "metadata": {"team": "a"}, "training_file": "file-1"}
    assert read_job_file("job.json") == JobSettings(**kept)
    assert run(["jobs", "create", "job.json"]) == 2
    assert "--model" in capsys.readouterr().err
    reinforcement["grader"] = {"type": "lambda", "lambda": {"function": arn}}
    Path("body.json").write_text(
        json.dumps({**job, "object": None, "seed": None, "id": None, "model": "qwen.qwen3-32b"})
    )
    assert read_job_file("body.json") == JobSettings(model="qwen.qwen3-32b", reward=arn, **kept)
    Path("body.json").write_text(json.dumps({**job, "object": None, "id": None}))
    assert run(["jobs", "create", "body.json"]) == 2
    assert "seed is not supported" in capsys.readouterr().err
    for text in ("[]", "{"):
        Path("bad.json").write_text(text)
        assert run(["jobs", "create", "bad.json"]) == 2
    assert "not valid JSON" in capsys.readouterr().err
