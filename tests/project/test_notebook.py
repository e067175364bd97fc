"""Run the notebook of examples/ in a kernel, and open its output in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from support.browser import open_page

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"


def opened() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call] # without annotations


def test_the_notebook_is_stored_without_output() -> None:
    notebook = opened()
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


def test_the_notebook_runs_and_shows_its_pictures(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "word_problems.py", tmp_path)
    where = {"metadata": {"path": str(tmp_path)}}
    done: Any = NotebookClient(opened(), timeout=100, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = {name: "".join(one.text for one in outputs if one.get("name") == name) for name in ("stdout", "stderr")}
    assert printed["stderr"] == ""
    assert "AWS credentials, SigV4" in printed["stdout"]
    assert (tmp_path / "evaluation.jsonl").read_bytes().count(b'"answered"') == 2 * 60 * 4
    html = "\n".join(one.data["text/html"] for one in outputs if "text/html" in one.get("data", ()))
    for said in (
        "240 records",
        "Check of 0.9 * correct + 0.1 * marked",
        "no model was trained",
        "The mean reward rose",
        "step 30 of 30",
        "Evaluation of 2 models on 60 prompts, 4 each",
        "tuned is better than base",
    ):
        assert said in html

    seen = open_page(f"<!doctype html><meta charset='utf-8'><body>{html}</body>", tmp_path, height=4000)
    assert seen.requests == ()
    assert "<script" not in seen.dom
    assert seen.dom.count("<polyline") >= 12, "the curves of the rehearsal and of the job"
    assert seen.dom.count("<rect") >= 4, "the bars of the evaluation"
    assert seen.picture.stat().st_size > 100_000
