"""The examples about datasets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.scripts import EXAMPLES, run_python


def run(name: str, *arguments: object, code: int = 0) -> str:
    done = run_python(EXAMPLES / f"{name}.py", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_examples_write_and_check_files(tmp_path: Path) -> None:
    output = run("datasets_write", tmp_path)
    assert "200 records" in output
    assert "180 to train in all.train.jsonl" in output
    assert "ok" in run("datasets_check", tmp_path / "all.train.jsonl")
    assert "20 records, at least 100" in run("datasets_check", tmp_path / "all.validation.jsonl", code=1)


def test_the_example_writes_frames(tmp_path: Path) -> None:
    for line in run("datasets_frames", tmp_path).splitlines():
        assert line.endswith(("is not installed", ": 100 records"))


def test_the_example_converts_other_formats(tmp_path: Path) -> None:
    output = run("datasets_convert", tmp_path)
    assert "SFT chat: {'messages': [{'role': 'user', 'content': '2 + 2?'}], 'reference_answer': '4'}" in output
    assert "5 records" in output


def test_datasets_import_no_large_library() -> None:
    code = (
        "import sys\nfrom bedrock_rft.datasets import validate, write, split, convert\n"
        "validate(b'{}'); print({'pandas', 'polars', 'datasets', 'openai', 'httpx', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "set()"
