"""The example and the command for watching a job, each in its own process."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from support.live_runs import EXAMPLES, REWARD, records
from support.scripts import run_python

from bedrock_rft import Client
from bedrock_rft.local import LocalService


def test_the_example_shows_a_job_and_its_health(tmp_path: Path) -> None:
    files = ("--csv", tmp_path / "run.csv", "--png", tmp_path / "run.png")
    done = run_python("-W", "error", EXAMPLES / "watch_run.py", "--local", "--pace", 0, *files, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("succeeded  step" in line for line in lines)
    assert any(line.startswith("  critic_rewards_mean") for line in lines)
    assert any("The reward rises" in line for line in lines)
    with (tmp_path / "run.csv").open(encoding="utf-8", newline="") as kept:
        steps = [int(row["step"]) for row in csv.DictReader(kept)]
    assert steps == list(range(1, len(steps) + 1))
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_names_missing_settings(tmp_path: Path) -> None:
    done = run_python(EXAMPLES / "watch_run.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "give the id of a job, or --local" in done.stderr


def test_the_command_resumes_watching_a_job(tmp_path: Path) -> None:
    with LocalService(tmp_path, reward=REWARD) as service, Client(**service.client_options(auth="aws")) as client:
        file = client.files.upload(records())
        arn = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=arn)
        command = ("-m", "bedrock_rft", "jobs", "watch")
        shared = service.environment("aws")
        done = run_python(
            *command,
            job.id,
            "--style",
            "json",
            "--poll-interval",
            0.1,
            "--reward-range",
            0,
            100,
            cwd=tmp_path,
            environment=shared,
        )
        lost = run_python(*command, "local-ftjob-none", "--poll-interval", 0.05, cwd=tmp_path, environment=shared)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "succeeded"
    assert "reward_low" in done.stdout
    assert lost.returncode == 1
    assert lost.stderr.startswith("error: ")
