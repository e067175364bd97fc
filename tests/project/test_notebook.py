"""Run the notebooks of examples/ in a kernel, and compare the kinds of their outputs with the stored ones.

`BEDROCK_RFT_WRITE_NOTEBOOKS=1 pytest tests/project/test_notebook.py` stores the outputs of this run.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from PIL import Image
from support.browser import open_page

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICKSTART = "quickstart.ipynb"
NOTEBOOKS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.ipynb"))
LARGEST = 200_000

# The notebooks share a kernel, which has imported everything after the first one. `%reset` collects garbage twice, and
# need not look at all modules again.
PRELUDE = """
__import__("gc").freeze()
%reset -f
_os = __import__("os")
[_os.environ.pop(name) for name in [*_os.environ] if name.startswith("AWS_")]
_os.chdir({folder!r})
"""


def opened(name: str) -> Any:
    notebook: Any = nbformat.read(EXAMPLES / name, as_version=4)  # type: ignore[no-untyped-call] # without annotations
    nbformat.validate(notebook)
    return cast("Any", notebook)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    manager: Any = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)()
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


def run(name: str, kernel: Any, folder: Path) -> Any:
    """Return a notebook with the outputs of a run beside a copy of the modules of examples/."""
    for module in EXAMPLES.glob("*.py"):
        shutil.copy(module, folder)
    place = (folder / name).parent
    place.mkdir(exist_ok=True)
    notebook = opened(name)
    prelude: Any = nbformat.v4.new_code_cell(PRELUDE.format(folder=str(place)))  # type: ignore[no-untyped-call] # likewise
    notebook.cells.insert(0, prelude)
    runner: Any = NotebookClient(notebook, km=kernel, timeout=100, record_timing=False)
    try:
        runner.execute()
    finally:
        runner.kc.stop_channels()
    del notebook.cells[0]
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    if os.environ.get("BEDROCK_RFT_WRITE_NOTEBOOKS"):
        store(name, notebook)
    return notebook


def store(name: str, notebook: Any) -> None:
    """Write a notebook with its outputs; pictures get a palette, with which they are a third of the size."""
    for output in (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs):
        if "image/png" in output.get("data", ()):
            picture, small = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))), io.BytesIO()
            picture.convert("RGB").quantize(64).save(small, "PNG", optimize=True)
            output.data["image/png"] = base64.b64encode(small.getvalue()).decode()
    nbformat.write(notebook, EXAMPLES / name)  # type: ignore[no-untyped-call] # likewise


def kinds(notebook: Any) -> list[set[str]]:
    """Return the kinds of outputs of each code cell: names of streams, and types of data."""
    found: list[set[str]] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data: list[Mapping[str, Any]] = [output.get("data", {}) for output in cell.outputs]
            names = {output.name if output.output_type == "stream" else output.output_type for output in cell.outputs}
            found.append((names - {"display_data", "execute_result"}) | {kind for each in data for kind in each})
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_stored_with_small_outputs_and_pictures(name: str) -> None:
    stored = opened(name)
    assert (EXAMPLES / name).stat().st_size < LARGEST
    assert stored.cells[0].source.startswith("# ")
    assert any("image/png" in each for each in kinds(stored))
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run_with_the_kinds_of_output_that_are_stored(name: str, kernel: Any, tmp_path: Path) -> None:
    stored = kinds(opened(name))
    done = run(name, kernel, tmp_path)
    assert not any("stderr" in each for each in kinds(done))
    assert kinds(done) == (kinds(opened(name)) if os.environ.get("BEDROCK_RFT_WRITE_NOTEBOOKS") else stored)
    if name == QUICKSTART:
        look_at_the_quickstart(done, tmp_path)


def look_at_the_quickstart(done: Any, folder: Path) -> None:
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "AWS credentials, SigV4" in "".join(one.text for one in outputs if one.get("name") == "stdout")
    assert (folder / "evaluation.jsonl").read_bytes().count(b'"answered"') == 2 * 40 * 2
    html = "\n".join(one.data["text/html"] for one in outputs if "text/html" in one.get("data", ()))
    for said in (
        "160 records",
        "Check of 0.9 * correct + 0.1 * marked",
        "no model was trained",
        "The mean reward rose",
        "step 20 of 20",
        "Evaluation of 2 models on 40 prompts, 2 each",
        "tuned is better than base",
    ):
        assert said in html

    seen = open_page(f"<!doctype html><meta charset='utf-8'><body>{html}</body>", folder, height=4000)
    assert seen.requests == ()
    assert "<script" not in seen.dom
    assert seen.dom.count("<polyline") >= 12, "the curves of the rehearsal and of the job"
    assert seen.dom.count("<rect") >= 4, "the bars of the evaluation"
    assert seen.picture.stat().st_size > 100_000
