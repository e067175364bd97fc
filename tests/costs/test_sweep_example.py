"""A study of Optuna drives a sweep, as the example shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.scripts import EXAMPLES, run_python


def test_a_study_drives_a_sweep(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    done = run_python("-W", "error", EXAMPLES / "sweep_optuna.py", "--local", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("2 of 2 ended") == 2
    values = [float(value) for value in re.findall(r"(?m)^(0\.\d+)  \{", done.stdout)]
    assert len(values) == 4
    assert f"best: {max(values):.3f} with" in done.stdout
