"""Packages of notebooks with late changes, of source files in several encodings, and of wheels for each runtime."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import ConfigurationError
from bedrock_rft.rewards import Package, check, package
from bedrock_rft.rewards._packaging.requirements import explain_pip_failure, wheel_platforms
from bedrock_rft.rewards._packaging.value_fingerprint import fingerprint_names

EVENT = [{"id": "1", "messages": [{"role": "assistant", "content": "a"}], "metadata": {"reference_answer": "a"}}]
START = "from bedrock_rft.rewards import reward"
GRADE = "@reward\ndef f(r):\n    return {}"


def run_cells(*cells: str) -> dict[str, Any]:
    """Run cells as a notebook does, and return its names."""
    space: dict[str, Any] = {"__name__": "__main__", "In": ["", *cells]}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec", dont_inherit=True), space)  # noqa: S102 - the test's own code
    return space


def packaged_value(made: Package, folder: Path) -> float:
    """Return the value of the first rollout in a clean process."""
    zipfile.ZipFile(io.BytesIO(made.content)).extractall(folder)
    code = (
        f"import sys, json; sys.path.insert(0, {str(folder)!r}); import lambda_function as m; "
        f"print(json.dumps(m.lambda_handler({EVENT!r}, None)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    value: float = json.loads(done.stdout)[0]["aggregate_reward_score"]
    return value


# The cells of a notebook, and the name that the error has.
REFUSED: dict[str, tuple[list[str], str]] = {
    "class attribute": (["class H:\n    W = 0.0", "H.W = 1.0", GRADE.format("H.W")], "H"),
    "setattr": (["class H:\n    W = 0.0", "setattr(H, 'W', 1.0)", GRADE.format("H.W")], "H"),
    "method": (["class H:\n    def g(self): return 0.0", "H.g = lambda self: 1.0", GRADE.format("H().g()")], "H"),
    "function attribute": (["def h():\n    return h.w\nh.w = 0.0", "h.w = 1.0", GRADE.format("h()")], "h"),
    "filled by a function": (["A = dict(x=0.0)\ndef fill(d): d['x'] = 1.0", "fill(A)", GRADE.format("A['x']")], "A"),
    "filled through an alias": (["A = dict(x=0.0)", "B = A\nB['x'] = 1.0", GRADE.format("A['x']")], "A"),
    "shuffled": (
        ["import random\nL = list('abcdef')", "random.Random(3).shuffle(L)", GRADE.format("float(L[0] == 'a')")],
        "L",
    ),
    "made of a changed name": (["A = 0.5", "B = A * 2", "A = 0.25", GRADE.format("B")], "B"),
    "made by a changed helper": (
        ["def w(): return 1.0", "K = w()", "def w(): return 0.0", GRADE.format("K")],
        "K",
    ),
    "seeded": (["import random\nrandom.seed(1)\nK = random.random()", "W = K", GRADE.format("W")], "W"),
    "clock": (["import time\nT = time.time()", GRADE.format("float(T > 0)")], "T"),
    "advanced generator": (
        ["import random\nG = random.Random(1)", "x = G.random()", GRADE.format("G.random()")],
        "G",
    ),
    "object attribute": (
        [
            "class P: pass\nclass H:\n    def __init__(self): self.w = 0.0\nH0 = H()",
            "vars(H0)['w'] = 1.0",
            GRADE.format("H0.w"),
        ],
        "H0",
    ),
    "defaults": (["def h(x=0.0): return x", "h.__defaults__ = (1.0,)", GRADE.format("h()")], "h"),
    "nested list": (["A = list([[0.0]])", "A[0][0] = 1.0", GRADE.format("A[0][0]")], "A"),
    "iterator": (["I = iter([0.0, 1.0])\nN = next(I)", "N = next(I)", GRADE.format("N")], "N"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_late_changes_in_a_notebook_are_refused_by_name(case: str, tmp_path: Path) -> None:
    cells, name = REFUSED[case]
    space = run_cells(START, *cells)
    here = space["f"].handler(EVENT)[0]["aggregate_reward_score"]
    try:
        made = package(space["f"])
    except ConfigurationError as error:
        refusal = str(error)
    else:
        assert packaged_value(made, tmp_path) == here
        assert case == "iterator", "packaged although a value differs"
        return
    assert f"'{name}'" in refusal
    assert "source_main" not in refusal


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
    "several in a line": ["é = 0.25; A = 0.5; B = 0.75", GRADE.format("A")],
    "environment": ["import os\nK = float(os.environ.get('NOT_SET_ANYWHERE', '0.5'))", GRADE.format("K")],
}


@pytest.mark.parametrize("case", KEPT)
def test_a_notebook_is_packaged_with_its_current_values(case: str, tmp_path: Path) -> None:
    space = run_cells(START, *KEPT[case])
    made = package(space["f"])
    assert packaged_value(made, tmp_path) == space["f"].handler(EVENT)[0]["aggregate_reward_score"]


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
ROWS = [{"messages": [{"role": "user", "content": f"{n} + 2?"}], "reference_answer": str(n + 2)} for n in range(8)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain", TEXT.encode()),
        ("bom", TEXT.encode("utf-8-sig")),
        ("crlf", TEXT.replace("\n", "\r\n").encode()),
        ("bom_crlf", TEXT.replace("\n", "\r\n").encode("utf-8-sig")),
        ("latin", b"# -*- coding: latin-1 -*-\n" + TEXT.encode("latin-1")),
        ("cp1252", b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\n" + TEXT.encode("cp1252")),
        ("with.dot", TEXT.encode()),
    ],
)
def test_source_files_are_read_in_their_encoding(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_bytes(content)
    assert check(f"{path}:grade", ROWS, size=4).ok
    made = package(f"{path}:grade")
    event = [{"id": "1", "messages": [{"role": "assistant", "content": "4"}], "reference_answer": "4"}]
    target = tmp_path / "unpacked"
    zipfile.ZipFile(io.BytesIO(made.content)).extractall(target)
    start = f"import sys; sys.path.insert(0, {str(target)!r}); import lambda_function as m"
    code = f"{start}; print(m.lambda_handler({event!r}, None))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "'aggregate_reward_score': 1.0" in done.stdout


def test_included_files_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_bytes("W = 1.0\n".encode("utf-8-sig"))
    (tmp_path / "uses.py").write_text(f"{START}\nfrom helper import W\n{GRADE.format('W')}\n")
    made = package(f"{tmp_path / 'uses.py'}:f", include=[tmp_path / "helper.py"])
    assert packaged_value(made, tmp_path / "unpacked") == 1.0


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
    with pytest.raises(ConfigurationError, match=f"bad.py is not valid Python: it is not written in .*{reason}"):
        package(f"{tmp_path / 'bad.py'}:f")


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_wheel_platforms_follow_the_runtime(processor: str) -> None:
    for runtime in ("python3.10", "python3.11"):
        tags = wheel_platforms(runtime, processor)
        assert tags[0] == f"manylinux_2_26_{processor}"
        assert not any("2_27" in tag or "2_28" in tag for tag in tags)
    for runtime in ("python3.12", "python3.13", "python3.14"):
        assert wheel_platforms(runtime, processor)[0] == f"manylinux_2_28_{processor}"
    tags = wheel_platforms("python3.13", processor)
    assert {f"manylinux_2_17_{processor}", f"manylinux2014_{processor}", f"manylinux_2_24_{processor}"} <= set(tags)
    old = {"manylinux2010_x86_64", "manylinux1_x86_64", "manylinux_2_12_x86_64", "manylinux_2_5_x86_64"}
    assert (old <= set(tags)) == (processor == "x86_64")


def write_wheel(folder: Path, name: str, tag: str, value: str) -> None:
    """Write a wheel with one module whose VALUE names the wheel."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VALUE = {value!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


# The wheels that a release has, and the one that is chosen, by runtime and architecture.
CHOSEN: dict[tuple[str, str], list[tuple[list[str], int]]] = {
    ("python3.11", "x86_64"): [
        (["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux1_x86_64"], 1),
        (["cp311-cp311-manylinux_2_26_x86_64", "cp311-cp311-manylinux2014_x86_64"], 0),
    ],
    ("python3.13", "x86_64"): [
        (["cp313-cp313-manylinux_2_28_x86_64", "cp313-cp313-manylinux2014_x86_64"], 0),
        (["py3-none-any", "cp313-cp313-manylinux_2_24_x86_64"], 1),
        (["py3-none-any", "cp39-abi3-manylinux2010_x86_64"], 1),
        (["cp313-cp313-manylinux_2_34_x86_64", "py3-none-any"], 1),
    ],
    ("python3.10", "arm64"): [(["cp310-cp310-manylinux_2_17_aarch64", "py3-none-any"], 0)],
}


def package_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch, wheels: list[list[str]], **settings: str) -> Package:
    """Package a reward that needs one release for each list of tags."""
    names = [f"tinything{number}" for number in range(len(wheels))]
    for name, tags in zip(names, wheels, strict=True):
        for tag in tags:
            write_wheel(folder, name, tag, tag)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    path = folder / "uses.py"
    path.write_text(f"import {', '.join(names)}\n{START}\n{GRADE.format('1.0')}\n")
    return package(f"{path}:f", requirements=[f"{name}==1.0" for name in names], **settings)


@pytest.mark.parametrize(("runtime", "architecture"), CHOSEN)
def test_wheels_are_chosen_by_their_tags(
    runtime: str, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = CHOSEN[runtime, architecture]
    wheels = [tags for tags, _ in cases]
    made = package_wheels(tmp_path, monkeypatch, wheels, runtime=runtime, architecture=architecture)
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        for number, (tags, chosen) in enumerate(cases):
            assert archive.read(f"tinything{number}.py").decode() == f"VALUE = {tags[chosen]!r}\n"


@pytest.mark.parametrize(
    ("runtime", "architecture", "tags"),
    [
        ("python3.11", "x86_64", ["cp311-cp311-manylinux_2_28_x86_64"]),
        ("python3.13", "arm64", ["cp313-cp313-manylinux_2_28_x86_64"]),
        ("python3.13", "x86_64", ["cp313-cp313-musllinux_1_1_x86_64", "cp312-cp312-manylinux2014_x86_64"]),
    ],
)
def test_a_release_without_a_suitable_wheel_is_refused(
    runtime: str, architecture: str, tags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"pip found no wheel.*PIP_NO_INDEX"):
        package_wheels(tmp_path, monkeypatch, [tags], runtime=runtime, architecture=architecture)


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


def test_an_unreachable_index_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    (tmp_path / "r.py").write_text(f"{START}\n{GRADE.format('1.0')}\n")
    unreachable = r"could not reach the package index|that the package index can be reached"
    with pytest.raises(ConfigurationError, match=unreachable):
        package(f"{tmp_path / 'r.py'}:f", requirements=["tinything==1.0"])
