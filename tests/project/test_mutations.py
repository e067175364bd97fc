"""Break rules of the package on purpose: the rows that guard a rule fail, and no others."""

from __future__ import annotations

import json
from pathlib import Path

from support.fault_matrix import FAILED, PASSED
from support.mutations import MUTATIONS
from support.scripts import run_python


def test_a_broken_rule_fails_its_rows_and_no_others() -> None:
    script = Path(__file__).parents[1] / "support" / "mutations.py"
    done = run_python(script, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
    # The clients take turns over the parameters of a row, so that some rows ran with one identity.
    assert {rule: {row: set(results) for row, results in rows.items()} for rule, rows in found.items()} == {
        each.rule: {row: {FAILED} for row in each.red.split()} | {row: {PASSED} for row in each.green.split()}
        for each in MUTATIONS
    }
