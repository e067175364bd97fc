"""Tests of deployments from a shell and with the example."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.aws_gate import Here
from support.deploy_setup import ARN, DATA, ROLE, read_settings
from support.fake_secrets import ACCESS_KEY, SECRET
from support.moto_server import EXAMPLES, REGION
from support.scripts import run_python

from bedrock_rft._cli.app import run as main

REWARD = f"{EXAMPLES / 'reward.py'}:lambda_handler"


@pytest.fixture
def shell(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    """Prepare a folder with some data, and AWS credentials in the environment."""
    import json

    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in DATA))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", REGION)
    return here


def test_a_shell_plans_deploys_and_destroys(shell: Here, capsys: pytest.CaptureFixture[str]) -> None:
    deploy = [REWARD, "--name", "sums", "--timeout", "60", "--tag", "team=a=b"]
    assert main(["reward", "plan", *deploy, "--judge", "amazon.nova-lite-v1:0"]) == 0
    planned = capsys.readouterr().out
    assert planned.startswith("Deploy sums: 4 to create\n")
    assert "amazon.nova-lite-v1:0" in planned
    assert shell.gate.writes == []
    assert main(["reward", "deploy", *deploy, "--data", "train.jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("Deploy sums: 4 created", f"{ARN}:1")
    assert f"Check of {ARN}:1: ok" in lines
    assert read_settings(shell, "1")["Timeout"] == 60
    assert shell.service("lambda").list_tags(Resource=ARN)["Tags"]["team"] == "a=b"
    assert main(["reward", "destroy", "sums", "--force", "--plan"]) == 0
    assert main(["reward", "destroy", f"{ARN}:1", "--force", "--yes"]) == 0
    assert "Destroy sums: 3 deleted" in capsys.readouterr().out


def test_the_commands_print_errors_and_exit_with_a_status(shell: Here, capsys: pytest.CaptureFixture[str]) -> None:
    blind = Path("blind.py")
    answers = "[{'id': one['id'], 'aggregate_reward_score': 1.0} for one in event]"
    blind.write_text(f"def lambda_handler(event, context):\n    return {answers}\n")
    deploy = ["reward", "deploy", "blind.py:lambda_handler", "--name", "sums", "--data", "train.jsonl"]
    assert main(deploy) == 3
    assert "is deployed, but its check found" in " ".join(capsys.readouterr().err.split())
    assert main([*deploy, "--no-check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{ARN}:1"
    assert main([*deploy, "--tag", "team"]) == 2
    assert capsys.readouterr().err.startswith("error: --tag team is not KEY=VALUE.\n")
    shell.gate.refuse("GetFunction", 403, "AccessDeniedException", "no")
    assert main(deploy) == 1
    assert f"policy deployer --reward {ARN} --role {ROLE}'" in " ".join(capsys.readouterr().err.split())


def test_the_example_runs_completely_on_this_machine(tmp_path: Path) -> None:
    done = run_python("-W", "error", EXAMPLES / "deploy_reward.py", "--local", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 or "arn:" in line for line in lines)
    for said in ("4 to create", "4 created", "Check of ", "again: nothing changed", "3 deleted"):
        assert said in done.stdout
    assert "AKIA" not in done.stdout
