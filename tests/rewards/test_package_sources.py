"""Packages of notebooks with late changes, of source files in several encodings, and of wheels for each runtime."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging import tags

from bedrock_rft import ConfigurationError
from bedrock_rft.rewards import Package, check, package
from bedrock_rft.rewards._packaging.requirements import explain_pip_failure, wheel_platforms
from bedrock_rft.rewards._packaging.value_fingerprint import fingerprint_names

EVENT = [{"id": "1", "messages": [{"role": "assistant", "content": "4"}], "metadata": {"reference_answer": "4"}}]
START = "from bedrock_rft.rewards import reward"
GRADE = "@reward\ndef f(r):\n    return {}"


def run_cells(*cells: str) -> dict[str, Any]:
    """Run cells as a notebook does, and return its names."""
    space: dict[str, Any] = {"__name__": "__main__", "In": ["", *cells]}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec", dont_inherit=True), space)  # noqa: S102 - the test's own code
    return space


def metric_values(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return the metrics of the first rollout."""
    return {metric["name"]: metric["value"] for metric in results[0]["metrics_list"]}


def packaged_values(made: Package, folder: Path) -> dict[str, float]:
    """Return the metrics of the first rollout in a clean process."""
    zipfile.ZipFile(io.BytesIO(made.content)).extractall(folder)
    code = (
        f"import sys, json; sys.path.insert(0, {str(folder)!r}); import lambda_function as m; "
        f"print(json.dumps(m.lambda_handler({EVENT!r}, None)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    return metric_values(json.loads(done.stdout))


# The cells of a notebook, and the name that the error has. Nothing has to run to find these changes.
REFUSED: dict[str, tuple[list[str], str]] = {
    "class attribute": (["class H:\n    W = 0.0", "H.W = 1.0", GRADE.format("H.W")], "H"),
    "method": (["class H:\n    def g(self): return 0.0", "H.g = lambda self: 1.0", GRADE.format("H().g()")], "H"),
    "function attribute": (["def h():\n    return h.w\nh.w = 0.0", "h.w = 1.0", GRADE.format("h()")], "h"),
    "defaults": (["def h(x=0.0): return x", "h.__defaults__ = (1.0,)", GRADE.format("h()")], "h"),
    "nested list": (["A = list([[0.0]])", "A[0][0] = 1.0", GRADE.format("A[0][0]")], "A"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_late_changes_in_a_notebook_are_refused_by_name(case: str) -> None:
    cells, name = REFUSED[case]
    with pytest.raises(ConfigurationError, match=f"'{name}' is changed after it is assigned") as caught:
        package(run_cells(START, *cells)["f"])
    assert "source_main" not in str(caught.value)


# The names that have other values if the cells run again, the cells, and an expression that uses the names.
CHANGED: list[tuple[str, list[str], str]] = [
    ("Set", ["class Set:\n    W = 0.0", "setattr(Set, 'W', 1.0)"], "Set.W"),
    ("filled", ["filled = dict(x=0.0)\ndef fill(d): d['x'] = 1.0", "fill(filled)"], "filled['x']"),
    ("aliased", ["aliased = dict(x=0.0)", "alias = aliased\nalias['x'] = 1.0"], "aliased['x']"),
    (
        "shuffled",
        ["import random\nshuffled = list('abcdef')", "random.Random(3).shuffle(shuffled)"],
        "float(shuffled[0] == 'a')",
    ),
    ("made_of_a_changed_name", ["A = 0.5", "made_of_a_changed_name = A * 2", "A = 0.25"], "made_of_a_changed_name"),
    (
        "made_by_a_changed_helper",
        ["def w(): return 1.0", "made_by_a_changed_helper = w()", "def w(): return 0.0"],
        "made_by_a_changed_helper",
    ),
    ("seeded copied", ["import random\nrandom.seed(1)\nseeded = random.random()", "copied = seeded"], "copied"),
    ("clock", ["import time\nclock = time.time()"], "float(clock > 0)"),
    ("advanced", ["import random\nadvanced = random.Random(1)", "x = advanced.random()"], "advanced.random()"),
    (
        "with_a_new_attribute",
        [
            "class P: pass\nclass H:\n    def __init__(self): self.w = 0.0\nwith_a_new_attribute = H()",
            "vars(with_a_new_attribute)['w'] = 1.0",
        ],
        "with_a_new_attribute.w",
    ),
    ("taken", ["iterator = iter([0.0, 1.0])\ntaken = next(iterator)", "taken = next(iterator)"], "taken"),
]


def test_names_with_other_values_when_the_cells_run_again_are_refused() -> None:
    cells = [cell for _, lines, _ in CHANGED for cell in lines]
    grade = GRADE.format(" + ".join(expression for *_, expression in CHANGED))
    with pytest.raises(ConfigurationError, match="give other values when they are run again") as caught:
        package(run_cells(START, *cells, grade)["f"])
    reported = re.findall(r"'(\w+)'", str(caught.value).partition(" give other values")[0])
    assert sorted(reported) == sorted(name for names, *_ in CHANGED for name in names.split())
    assert "source_main" not in str(caught.value)


KEPT: dict[str, list[str]] = {
    "cached in a later cell": [
        "import functools",
        "def h(): return 1.0",
        "h = functools.lru_cache(None)(h)",
        GRADE.format("h()"),
    ],
    "decorated in a later cell": ["def f(r): return 1.0", "f = reward(f)"],
    "added to in a later cell": ["K = 0.5", "K += 0.5", GRADE.format("K")],
    "two star imports": ["from math import *\nfrom cmath import *", GRADE.format("float(abs(sqrt(-1)))")],
    "star import after a function": [
        "def comb(a, b): return 0.0",
        "from math import *",
        GRADE.format("float(comb(1, 1))"),
    ],
    "function after a star import": ["from math import *", "def comb(a, b): return 0.25", GRADE.format("comb(1, 1)")],
    "defined again": ["A = 0.5", "A = 0.75", GRADE.format("A")],
    "plain values": [
        (
            "import re, collections, decimal\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass P:\n    x: float = 0.5\n    def double(self): return 2 * self.x\n"
            "A = {'k': [1, (2, {3})], 'p': P(0.25)}\nR = re.compile('a')\nC = collections.Counter('aab')\nD = "
            "decimal.Decimal('0.5')"
        ),
        GRADE.format("A['p'].double() * float(D) * C['a'] * bool(R.match('a'))"),
    ],
    "its own cache": ["CACHE = {}", "@reward\ndef f(r):\n    CACHE[r.answer] = 1.0\n    return float(len(CACHE))"],
    "subclass": ["class A:\n    w = 0.5\nclass B(A):\n    def g(self): return self.w", GRADE.format("B().g()")],
    "closure": ["def make(w):\n    def inner(): return w\n    return inner\nh = make(0.5)", GRADE.format("h()")],
    "partial": ["import functools\ndef g(a, b): return a * b\nh = functools.partial(g, 0.5)", GRADE.format("h(b=0.5)")],
    "grader": ["from bedrock_rft.rewards import Exact\nE = Exact(ignore_case=False)", GRADE.format("E(r).value")],
    "enum": ["import enum\nclass W(enum.Enum):\n    LOW = 0.25", GRADE.format("W.LOW.value")],
    "comprehension": ["Q = ['a', 'b']\nA = [x.upper() for x in Q if (y := x)]", GRADE.format("float(A[0] == 'A')")],
    "one of several in a line": ["é = In; A = 0.5; B = In", GRADE.format("A")],
    "a later line of an earlier cell": ["x = 1\nBASE = 0.25", "TOP = BASE", GRADE.format("TOP")],
    "attributes, keywords and local variables": [
        "n = [0]\nn.append(1)\nkey = [0]\nkey.append(1)",
        "@reward\ndef f(r):\n    n = 1\n    return max([key for key in (1, 2)], default=n) / len(dict(key=1, n=2))",
    ],
    "environment": ["import os\nK = float(os.environ.get('NOT_SET_ANYWHERE', '0.5'))", GRADE.format("K")],
}


def test_notebooks_are_packaged_with_their_current_values(tmp_path: Path) -> None:
    """Each notebook is a separate module in the same package."""
    total: Any = sum(run_cells(START, *cells)["f"].named(case) for case, cells in KEPT.items())
    values = packaged_values(package(total), tmp_path)
    assert values == metric_values(total.handler(EVENT))
    assert values.keys() >= KEPT.keys()


def test_fingerprints_of_values() -> None:
    def fingerprint(value: Any) -> str:
        return fingerprint_names({"__name__": "m", "x": value}, ["x"])["x"]

    recursive: list[Any] = [1]
    recursive.append(recursive)
    values = [
        0,
        0.0,
        False,
        "0",
        b"0",
        None,
        [],
        (),
        {},
        set[int](),
        [0],
        {"a": 0},
        {"a": 1},
        recursive,
        len,
        print,
        dict,
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"x", "y", "z"}) == fingerprint({"z", "y", "x"})
    assert fingerprint_names({"__name__": "m"}, ["missing"]) == {}
    first, second, third = (random.Random(seed) for seed in (1, 2, 3))  # noqa: S311 - values
    assert fingerprint([first, second]) != fingerprint([first, third])


TEXT = (
    "from bedrock_rft.rewards import Numeric, reward\n\n# caf\u00e9\n\n\n@reward\ndef grade(r):\n"
    "    return Numeric()(r).value * ('\u00e9' == chr(233))\n"
)
ENCODED = {
    "plain": TEXT.encode(),
    "bom": TEXT.encode("utf-8-sig"),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "bom_crlf": TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
    "latin": b"# -*- coding: latin-1 -*-\n" + TEXT.encode("latin-1"),
    "cp1252": b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\n" + TEXT.encode("cp1252"),
}
ROWS = [{"messages": [{"role": "user", "content": f"{n} + 2?"}], "reference_answer": str(n + 2)} for n in range(8)]


def test_source_files_are_read_in_their_encoding(tmp_path: Path) -> None:
    for name, content in ENCODED.items():
        (tmp_path / f"{name}.py").write_bytes(content)
    grades = " + ".join(f"{name}.grade.named('{name}')" for name in ENCODED)
    main = f"import {', '.join(ENCODED)}\n\n# caf\u00e9\ntotal = {1 / len(ENCODED)} * ({grades})\n"
    (tmp_path / "with.dot.py").write_bytes(main.replace("\n", "\r\n").encode("utf-8-sig"))
    target = f"{tmp_path / 'with.dot.py'}:total"
    assert check(target, ROWS, size=4).ok
    made = package(target, include=[tmp_path / f"{name}.py" for name in ENCODED])
    values = packaged_values(made, tmp_path / "unpacked")
    assert {name: values[name] for name in ENCODED} == dict.fromkeys(ENCODED, 1.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"# coding: latin-1\nx = 1\n".replace(b"latin-1", b"no-such"), "declared encoding"),
        (b"# coding: ascii\nx = '\xe9'\n", "declared encoding"),
        (b"x = '\xe9'\n", "UTF-8"),
    ],
)
def test_source_files_in_another_encoding_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"bad.py is not valid Python: the text is not in .*{reason}"):
        package(f"{tmp_path / 'bad.py'}:f")


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_wheel_platforms_follow_the_runtime(processor: str) -> None:
    for runtime in ("python3.10", "python3.11"):
        found = wheel_platforms(runtime, processor)
        assert found[0] == f"manylinux_2_26_{processor}"
        assert not any("2_27" in tag or "2_28" in tag for tag in found)
    for runtime in ("python3.12", "python3.13", "python3.14"):
        assert wheel_platforms(runtime, processor)[0] == f"manylinux_2_28_{processor}"
    found = wheel_platforms("python3.13", processor)
    assert {f"manylinux_2_17_{processor}", f"manylinux2014_{processor}", f"manylinux_2_24_{processor}"} <= set(found)
    old = {"manylinux2010_x86_64", "manylinux1_x86_64", "manylinux_2_12_x86_64", "manylinux_2_5_x86_64"}
    assert (old <= set(found)) == (processor == "x86_64")


# The wheels that a release has, and the one that pip chooses, or None, by runtime and architecture.
CHOSEN: dict[tuple[str, str], list[tuple[list[str], int | None]]] = {
    ("3.11", "x86_64"): [
        (["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux1_x86_64"], 1),
        (["cp311-cp311-manylinux_2_26_x86_64", "cp311-cp311-manylinux2014_x86_64"], 0),
        (["cp311-cp311-manylinux_2_28_x86_64"], None),
    ],
    ("3.13", "x86_64"): [
        (["cp313-cp313-manylinux_2_28_x86_64", "cp313-cp313-manylinux2014_x86_64"], 0),
        (["py3-none-any", "cp313-cp313-manylinux_2_24_x86_64"], 1),
        (["py3-none-any", "cp39-abi3-manylinux2010_x86_64"], 1),
        (["cp313-cp313-manylinux_2_34_x86_64", "py3-none-any"], 1),
        (["cp313-cp313-musllinux_1_1_x86_64", "cp312-cp312-manylinux2014_x86_64"], None),
    ],
    ("3.10", "aarch64"): [(["cp310-cp310-manylinux_2_17_aarch64", "py3-none-any"], 0)],
    ("3.13", "aarch64"): [(["cp313-cp313-manylinux_2_28_x86_64"], None)],
}


@pytest.mark.parametrize(("version", "processor"), CHOSEN)
def test_wheels_are_chosen_by_their_tags(version: str, processor: str) -> None:
    """pip takes the wheel whose tag comes first in the order of the platforms that it is given."""
    python, platforms = tuple(map(int, version.split("."))), wheel_platforms(f"python{version}", processor)
    supported = [
        *map(str, tags.cpython_tags(python, platforms=platforms)),
        *map(str, tags.compatible_tags(python, f"cp{version.replace('.', '')}", platforms)),
    ]
    for wheels, chosen in CHOSEN[version, processor]:
        ranks = {supported.index(tag): number for number, tag in enumerate(wheels) if tag in supported}
        assert (ranks[min(ranks)] if ranks else None) == chosen, wheels


def test_failures_of_pip_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_NO_INDEX", "PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)

    def explain(output: str) -> str:
        return explain_pip_failure(output, ["a==1"], "python3.13", "x86_64")

    assert "python -m ensurepip" in explain("python: No module named pip")
    offline = explain(
        "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: No matching distribution"
    )
    assert offline.startswith("pip could not reach the package index to download a==1")
    assert "no-index in pip.conf" in explain(
        "Ignoring indexes: https://x\nERROR: No matching distribution found for a==1"
    )
    assert "PIP_NO_INDEX" not in explain("ERROR: No matching distribution found for a==1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:fakepassword@127.0.0.1:9/simple")
    configured = explain("ERROR: No matching distribution found for a==1")
    assert "pip is configured by PIP_INDEX_URL" in configured
    assert "fakepassword" not in configured
