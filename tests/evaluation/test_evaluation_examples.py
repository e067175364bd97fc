"""Run examples/evaluate.py and examples/rehearse.py as a user would."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.scripts import EXAMPLES, run_python


def run(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_python("-W", "error", EXAMPLES / name, *arguments, cwd=cwd)


def test_evaluate(tmp_path: Path) -> None:
    done = run("evaluate.py", "--local", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Evaluation of 6 models on 12 prompts, 4 each" in done.stdout
    assert "tuned against openai.gpt-oss-20b: " in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "Better" in (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert (tmp_path / "evaluation.jsonl").read_bytes().count(b'"answered"') == 6 * 12 * 4


def test_rehearse(tmp_path: Path) -> None:
    data = tmp_path / "train.jsonl"
    assert run("word_problems.py", "--count", 120, "--out", data, cwd=tmp_path).returncode == 0
    done = run("rehearse.py", "--local", "--data", data, "--samples", 2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "15 steps: 1 epoch, 8 prompts a step" in done.stdout
    assert "64 answers" in done.stdout
    assert "<svg" in (tmp_path / "rehearsal.html").read_text(encoding="utf-8")
    (tmp_path / "reward.py").write_text("def handler(event, context):\n    return []\n")
    broken = run("rehearse.py", "--data", data, "--reward", "reward.py:handler", cwd=tmp_path)
    assert broken.returncode == 1
    assert "left out" in broken.stdout
    missing = run("rehearse.py", "--data", "none.jsonl", cwd=tmp_path)
    assert (missing.returncode, missing.stderr[:6]) == (2, "error:")


def test_prompts_are_selected(tmp_path: Path) -> None:
    done = run("select_prompts.py", "--local", "--samples", 1, "--low", 0, "--high", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Difficulty of 150 prompts\n")
    assert "\nselected.jsonl: kept " in done.stdout
    kept = (tmp_path / "selected.jsonl").read_bytes().splitlines()
    assert f"kept {len(kept)} of 150 records" in done.stdout
    assert (tmp_path / "selected.selection.json").exists()
    assert run("select_prompts.py", cwd=tmp_path).returncode == 2
