"""A study of Optuna drives a sweep, as the example shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "sweep_optuna.py"


def test_a_study_drives_a_sweep(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    command = [sys.executable, str(EXAMPLE), "--local", "--rounds", "1"]
    done = subprocess.run(  # noqa: S603 - our own example
        command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 of 2 ended") == 1
    values = [float(value) for value in re.findall(r"(?m)^(0\.\d+)  \{", done.stdout)]
    assert len(values) == 2
    assert f"best: {max(values):.3f} with" in done.stdout
