"""The examples about rewards run as a newcomer starts them."""

from __future__ import annotations

import re
from pathlib import Path

from support.scripts import EXAMPLES, run_python

from bedrock_rft import datasets
from bedrock_rft.datasets import TrainingRecord


def run(name: str, *arguments: object, cwd: Path, code: int = 0) -> str:
    done = run_python("-W", "error", EXAMPLES / name, *arguments, cwd=cwd)
    assert (done.returncode, done.stderr if code == 0 else "") == (code, "")
    assert max(map(len, done.stdout.splitlines()), default=0) <= 80
    return done.stdout


def test_the_gsm8k_example_checks_packages_and_rehearses(tmp_path: Path) -> None:
    said = run("reward_gsm8k.py", "--local", cwd=tmp_path)
    assert (tmp_path / "reward.zip").stat().st_size > 10_000
    assert re.findall(r"^(\d\.\d\d)  '", said, re.MULTILINE) == ["1.00", "0.94", "0.00"]
    assert said.count(": ok\n") == 2, "of the reward, and of the zip by itself"
    assert re.search(r"^  right answers +after ####$", said, re.MULTILINE)
    assert "source_main.py" in said
    assert "The rehearsal succeeded." in said
    means = [float(mean) for mean in re.findall(r"^  step +\d+  (\d\.\d\d)", said, re.MULTILINE)]
    assert len(means) >= 6
    assert means[-1] > means[0] + 0.3


def test_the_gsm8k_example_stops_if_the_check_finds_errors(tmp_path: Path) -> None:
    datasets.write(
        tmp_path / "train.jsonl", (TrainingRecord.of(f"Spell {n}.", reference_answer="word") for n in range(99))
    )
    said = run("reward_gsm8k.py", "--data", "train.jsonl", cwd=tmp_path, code=1)
    assert "ERROR" in said
    assert not (tmp_path / "reward.zip").exists()


def test_the_judge_example_runs_on_this_machine(tmp_path: Path) -> None:
    said = run("reward_judge.py", "--local", cwd=tmp_path)
    assert re.findall(r"^(\d\.\d\d)  ", said, re.MULTILINE) == ["0.98", "0.76", "0.00"]
    assert "judge_cost_usd" in said
    assert ": ok\n" in said
    assert "Its role needs bedrock:InvokeModel on: us.amazon.nova-lite-v1:0" in said
    assert (tmp_path / "reward.zip").exists()
