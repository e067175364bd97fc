"""Packages: their contents, reproducible bytes, and that they work without anything installed."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import importlib.util
import io
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft import ConfigurationError, datasets
from bedrock_rft._cli.app import run as main
from bedrock_rft.rewards import (
    Format,
    Handler,
    JsonEqual,
    JsonSchema,
    Judge,
    Matches,
    Numeric,
    Package,
    PassesTests,
    check,
    package,
    reward,
)
from bedrock_rft.rewards._packaging import package as packaging
from bedrock_rft.rewards._packaging import requirements as _package_vendor
from bedrock_rft.rewards._packaging.archive import LARGEST, LARGEST_UNZIPPED, build_zip, validate_file_name
from bedrock_rft.rewards._packaging.requirements import check_releases, explain_pip_failure
from bedrock_rft.rewards._packaging.secret_scan import check_file_name, check_secrets

PLAIN = {"id": "a", "metadata": {"reference_answer": "4"}}
WRAPPED = {"id": "b", "reference_answer": {"text": "4"}}
ASKED = [
    {**shape, "messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "It is 4."}]}
    for shape in (PLAIN, WRAPPED)
]
# Nothing but one zip after the other on the path, nothing installed, nothing in the environment.
ALONE = """
import json, sys
from importlib import import_module
results, given = [], json.loads(sys.argv[1])
for path, handler in given["zips"]:
    sys.path.insert(0, path)
    module, name = handler.split(".")
    results.append(getattr(import_module(module), name)(given["event"], None))
    assert not {"pydantic", "openai", "httpx", "botocore"} & set(sys.modules)
    sys.path.remove(path)
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(path):
            del sys.modules[name]
print(json.dumps(results))
"""
NUMBER = itertools.count()
ENVIRONMENT = {
    name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ
}  # Windows starts without nothing


def alone(folder: Path, *packages: Package, event: object = ASKED) -> list[Any]:
    """Return the result of each package in a clean process."""
    zips = [(str(made.write(folder / f"reward-{next(NUMBER)}.zip")), made.handler) for made in packages]
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-I", "-S", "-B", "-c", ALONE, json.dumps({"zips": zips, "event": event})],
        env=ENVIRONMENT,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    results: list[Any] = json.loads(done.stdout)
    return results


def scores(results: list[dict[str, Any]]) -> list[float]:
    return [result["aggregate_reward_score"] for result in results]


def names(made: Package) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def text(made: Package, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        return archive.read(name).decode()


def module(folder: Path, source: str, name: str | None = None) -> ModuleType:
    """A module of the user's, in a file, imported."""
    path = folder / f"{name or f'mine_{next(NUMBER)}'}.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Shell:
    """The part of IPython's shell that runs a cell magic."""

    def __init__(self, space: dict[str, Any]) -> None:
        self._space = space

    def run_cell_magic(self, magic: str, _: str, body: str) -> None:
        if magic == "time":
            exec(body, self._space)  # noqa: S102 - ours


def notebook(*cells: str) -> dict[str, Any]:
    """Run cells as IPython does: in one namespace, which keeps their texts as `In`."""
    written = ["", *map(textwrap.dedent, cells)]
    space: dict[str, Any] = {"__name__": "__main__", "In": written, "get_ipython": lambda: Shell(space)}
    for cell in written:
        try:
            code = compile(cell, "<ipython-input>", "exec", dont_inherit=True)
        except SyntaxError:
            continue
        exec(code, space)  # noqa: S102 - ours
    return space


COMPOSED = 0.9 * Numeric() + 0.1 * Format(boxed=True, name="boxed") - 0.25 * Matches("sorry", flags=2)


@pytest.fixture(scope="module")
def composed() -> Package:
    return package(Handler(COMPOSED, floor=-0.5, concurrency=3))


def test_a_combined_reward_needs_nothing_installed(composed: Package, tmp_path: Path) -> None:
    event: list[Any] = [*ASKED, {"id": "c", "messages": []}, {"id": "d", "messages": 7}]
    (results,) = alone(tmp_path, composed, event=event)
    assert results == Handler(COMPOSED, floor=-0.5)(event)
    assert scores(results) == [0.9, 0.9, -0.5, -0.5]
    assert composed.handler == "lambda_function.lambda_handler"
    assert (composed.runtime, composed.architecture, composed.models, composed.requirements) == (
        "python3.13",
        "x86_64",
        (),
        (),
    )
    assert composed.timeout >= 60
    assert "bedrock_rft/rewards/_checking/check.py" not in names(composed)
    assert "bedrock_rft/errors.py" not in names(composed)


def test_every_combination_is_written_as_code(tmp_path: Path) -> None:
    number, tidy = Numeric(tolerance=0.5, relative=0.25), Format(tags=("think",))
    total = (number + -1 * tidy).clip(-0.5, 0.75).gate(number, at_least=0.5, otherwise=-0.125, lazy=True).named("all")
    total = 2 * total + 0.5 * (number + tidy).named("inner") + number.named("again")
    made = package(total)
    (results,) = alone(tmp_path, made)
    assert results == total.handler(ASKED)
    assert results[0]["metrics_list"][0]["name"] == "numeric"


BUILT = "0.9 * Numeric() + 0.1 * Format(tags=('a', 'b'), boxed=True) + 0.0 * JsonEqual()"


def test_a_script_is_not_run_again_and_builds_the_same_bytes_as_this_process(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from bedrock_rft import ConfigurationError\n"
        "from bedrock_rft.rewards import Format, JsonEqual, Numeric, package, reward\n"
        "@reward\ndef right(rollout): return rollout.answer == rollout.reference\n"
        "print('started')\n"
        "package(right).write('reward.zip')\n"
        f"print(package({BUILT}).code_sha256)\n"
        "error = ConfigurationError('x')\n"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    built = package(0.9 * Numeric() + 0.1 * Format(tags=("a", "b"), boxed=True) + 0.0 * JsonEqual())
    assert (done.stdout, done.stderr) == (f"started\n{built.code_sha256}\n", "")
    with zipfile.ZipFile(tmp_path / "reward.zip") as archive:
        carried = archive.read("source_main.py").decode()
    assert "ConfigurationError" not in carried
    assert "print" not in carried


def test_a_zip_has_sorted_entries_with_a_fixed_time(composed: Package) -> None:
    assert composed.code_sha256 == base64.b64encode(hashlib.sha256(composed.content).digest()).decode()
    with zipfile.ZipFile(io.BytesIO(composed.content)) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert [(one.name, one.size) for one in composed.files] == [(entry.filename, entry.file_size) for entry in entries]


def test_only_scripts_have_execute_permission() -> None:
    content, _ = build_zip({"own.py": b"", "lib/fast.so": b"", "start.sh": b"", "notes.txt": b""})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        modes = {entry.filename: oct(entry.external_attr >> 16) for entry in archive.infolist()}
    assert modes == {
        "own.py": "0o100644", "notes.txt": "0o100644", "lib/fast.so": "0o100755", "start.sh": "0o100755",
    }  # fmt: skip


def test_the_repr_is_short_and_the_text_fits_the_terminal(composed: Package, tmp_path: Path) -> None:
    assert len(repr(composed)) <= 80
    assert "content" not in repr(composed)
    assert all(len(line) <= 80 for line in str(composed).splitlines())
    assert composed.code_sha256 in str(composed)
    assert "lambda_function.py" in str(composed)
    assert pickle.loads(pickle.dumps(composed)) == composed  # noqa: S301 - ours
    assert composed.write(tmp_path / "a.zip").read_bytes() == composed.content
    assert os.listdir(tmp_path) == ["a.zip"]  # noqa: PTH208 - names
    with pytest.raises(ConfigurationError, match="cannot be written"):
        composed.write(tmp_path / "none" / "a.zip")


MINE = '''
from __future__ import annotations
import re, pandas_that_is_not_there as pd
from typing import TYPE_CHECKING
from bedrock_rft.rewards import Numeric, Rollout, Score, after_marker, reward
import bedrock_rft.datasets

if TYPE_CHECKING:
    from nowhere import Nothing

SECRET_FREE = 7
_NUMBER = re.compile(r"[0-9]+")
LIMIT: int = 5
LIMIT += 10
numeric = Numeric()

def unused(): return pd.read_csv("x")

class Words:
    """Kept."""
    least = LIMIT
    def count(self, text: Nothing) -> int:
        return len(found_in(text))

def found_in(text): return [word for word in _NUMBER.findall(text) if len(word) < LIMIT]

@reward
def has_number(rollout: Rollout) -> float:
    """Whether there is a number."""
    def inner(): return Words().count(rollout.answer)
    return float(inner() > 0)

@reward(weights={"a": 0.75, "b": 0.25})
def parts(rollout: Rollout) -> dict[str, float]:
    return {"a": 1.0, "b": float(has_number(rollout))}

@reward
async def waits(rollout: Rollout) -> Score:
    return Score(1.0 if rollout.answer else 0.0)

short = reward(name="short")(lambda rollout: len(rollout.answer) < LIMIT)

def plain(rollout): return 0.5

def lambda_handler(event, context):
    return [{"id": entry["id"], "aggregate_reward_score": SECRET_FREE / 7} for entry in event]

if __name__ == "__main__":
    pd.anything()
'''


def test_functions_are_packaged_with_the_names_that_they_use_only(tmp_path: Path) -> None:
    source = MINE.replace(", pandas_that_is_not_there as pd", "").replace("pd.read_csv", "open")
    mine = module(tmp_path, source, "mine")
    total = 0.5 * mine.has_number + 0.25 * mine.parts + 0.125 * mine.short + 0.125 * mine.waits + 0 * mine.numeric
    total += 0.5 * reward(name="half")(mine.plain) + mine.has_number.named("again")
    made, function = package(total), package(mine.lambda_handler)
    assert alone(tmp_path, made, function) == [total.handler(ASKED), mine.lambda_handler(ASKED, None)]
    carried = text(made, "source_mine.py")
    assert carried.startswith("from __future__ import annotations\n")
    for absent in ("unused", "SECRET_FREE", "datasets", "nowhere", "after_marker", "lambda_handler", "__main__"):
        assert absent not in carried
    assert names(function) == {"lambda_function.py", "source_mine.py"}


def test_notebook_cells_are_packaged_as_they_ran_last(tmp_path: Path) -> None:
    space = notebook(
        "from bedrock_rft.rewards import *",
        "FLOOR = 0.25\nSHIFT = FLOOR",
        "@reward\ndef right(rollout):\n    return SHIFT",
        "%%bash this cell never ran",
        "get_ipython().run_cell_magic('time', '', 'FLOOR = 0.375\\nTIMED = 0.0\\n')",
        "get_ipython().run_cell_magic('bash', '', 'FLOOR = 7\\n')",
        "FLOOR = 0.5",
        "SHIFT = FLOOR + 0.25",
        "@reward\ndef right(rollout):\n    return SHIFT + helper() + TIMED",
        "def helper(): return 0.125",
        "get_ipython().run_cell_magic('bash', '', 'SHIFT = 7\\n')",
        "total = 1.0 * right + 0.0 * Numeric()\n_ = right",
    )
    made = package(space["total"])
    assert scores(alone(tmp_path, made)[0]) == [0.875, 0.875]
    assert "SHIFT = FLOOR\n" not in text(made, "source_main.py")
    assert "0.25\n" in text(made, "source_main.py")


def test_a_file_is_packaged_whole_with_included_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "words.txt").write_text("four\n")
    (tmp_path / "helping.py").write_text("from pathlib import Path\nWORDS = 'deep/words.txt'\n")
    (tmp_path / "stray.py").write_text("SECRET = 1\n")
    (tmp_path / "my-reward.py").write_text(
        "from bedrock_rft.rewards import Judge, Numeric\nfrom helping import WORDS\n"
        "judge = Judge('a.model', 'good?')\ntotal = 0.5 * Numeric()\n"
        "def lambda_handler(event, context): return [WORDS]\n"
    )
    made = package("my-reward.py:total", include=["helping.py", "deep/words.txt"])
    assert {"my-reward.py", "helping.py", "deep/words.txt", "bedrock_rft/rewards/_runtime/scoring.py"} <= names(made)
    assert "stray.py" not in names(made)
    assert made.models == ("a.model",), "what its file keeps at the top level may be asked too"
    (tmp_path / "alone.py").write_text("def lambda_handler(event, context): return ['alone']\n")
    targets = ("alone.py:lambda_handler", module(tmp_path, (tmp_path / "alone.py").read_text(), "alone"))
    found = [package(target, include={"data/a.txt": tmp_path / "deep" / "words.txt"}) for target in targets]
    for one in found:
        assert names(one) == {"lambda_function.py", "alone.py", "data/a.txt"}, "this package goes in where it is used"
    (tmp_path / "lambda_function.py").write_text("def answer(event, context): return ['direct']\n")
    direct = package("lambda_function.py:answer")
    assert (names(direct), direct.handler) == ({"lambda_function.py"}, "lambda_function.answer")
    example = package(f"{Path(__file__).parents[2] / 'examples' / 'reward.py'}:lambda_handler")
    graded, *others, exampled = alone(tmp_path, made, *found, direct, example)
    assert others == [["alone"], ["alone"], ["direct"]]
    assert (scores(graded), scores(exampled)) == ([0.5, 0.5], [1.0, 1.0])


def test_a_package_knows_the_models_and_limits_of_its_graders() -> None:
    judge = Judge("anthropic.claude-3-haiku-20240307-v1:0", "right?", scale=(1, 5), input_price=0.25)
    other = Judge("us.amazon.nova-lite-v1:0", {"a": "one", "b": "two"}, weights={"a": 2.0}, name="other")
    made = package(0.5 * judge + 0.5 * other.gate(Numeric(), lazy=True), models=["one.more"])
    assert made.models == (judge.model, other.model, "one.more")
    assert "us.amazon.nova-lite-v1:0" in str(made)
    heavy = package(PassesTests(memory=1024), runtime="python3.14", architecture="arm64")
    assert heavy.memory > 1024
    assert heavy.timeout > made.timeout
    assert (heavy.runtime, heavy.architecture) == ("python3.14", "arm64")


def closure() -> Any:
    threshold = 3

    @reward
    def long_enough(rollout: Any) -> bool:
        return len(rollout.answer) > threshold

    return long_enough


class Called:
    def __call__(self, rollout: Any) -> float:
        return len(rollout.answer)


HEAD = "from bedrock_rft.rewards import reward, Numeric\n"
CASES: dict[str, tuple[str, str]] = {
    "filled later": (
        "WORDS = set()\nWORDS.add('a')\n@reward\ndef r(x): return len(WORDS)",
        "'WORDS' is changed after it is assigned",
    ),
    "item set later": ("T = {}\nT['a'] = 1\n@reward\ndef r(x): return len(T)", "'T' is changed after it is assigned"),
    "in a loop": ("for k in range(3): pass\n@reward\ndef r(x): return k", "'k' is assigned inside 'for'"),
    "in with": ("with open(__file__) as f: D = f.read()\n@reward\ndef r(x): return len(D)", "inside 'with'"),
    "in main": (
        "if __name__ != 'x': K = 1\n@reward\ndef r(x): return K",
        "'K' is assigned inside 'if __name__'",
    ),
    "not defined": ("@reward\ndef r(x): return nothing", "'r' uses 'nothing', which is not defined"),
    "injected": ("globals()['K'] = 1\n@reward\ndef r(x): return K", "'r' uses 'K', but no statement"),
    "value changed": (
        "K = 1\ndef bump():\n    global K\n    K = 2\nbump()\n@reward\ndef r(x): return K",
        "'K' no longer has the value that was assigned",
    ),
    "a client": (
        "from bedrock_rft import Client\ncalled = Client\n@reward\ndef r(x): return float(called is None)",
        "imports 'bedrock_rft.Client', but a Lambda package contains only rewards",
    ),
    "a check": (
        "from bedrock_rft.rewards import check\n@reward\ndef r(x): return float(check is None)",
        "imports 'bedrock_rft.rewards.check'",
    ),
    "a package": (
        "import pytest\n@reward\ndef r(x): return float(pytest is None)",
        "imports 'pytest', which is neither in the standard library nor in the package. Add requirements=['pytest==",
    ),
    "a file of its own": (
        "import mine_helper\n@reward\ndef r(x): return mine_helper.K",
        "imports 'mine_helper', which is neither in the standard library nor in the package. Add include=['",
    ),
    "inside the function": (
        "@reward\ndef r(x):\n    import numpy_like\n    return 1",
        "line 5, imports 'numpy_like', which is neither",
    ),
    "reads a file here": (
        "E = open('list.txt').read() if __name__ == 'source_bad' else ''\n@reward\ndef r(x): return len(E)",
        "cannot be loaded. The reward handler cannot be loaded: FileNotFoundError",
    ),
    "a partial": (
        "import functools\ndef f(x, y): return y\nr = 1.0 * reward(name='p')(functools.partial(f, y=1))",
        "is not a function with source code",
    ),
    "a lambda without a name": ("r = 1.0 * reward(name='l')(lambda x: 1.0)", "is not at the top level"),
}


@pytest.mark.parametrize("case", CASES)
def test_code_that_cannot_be_packaged_is_refused_by_name(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "mine_helper.py").write_text("K = 1\n")
    source, words = CASES[case]
    bad = module(tmp_path, HEAD + source, "bad")
    with pytest.raises(ConfigurationError) as caught:
        package(bad.r)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_a_reward_changes_itself_start_again(tmp_path: Path) -> None:
    mine = module(
        tmp_path,
        HEAD + "CACHE = {}\nSEEN = []\nCOUNT = 0\n@reward\ndef r(rollout):\n    global COUNT\n"
        "    COUNT += 1\n    SEEN.append(1)\n    CACHE[rollout.answer] = 1\n"
        "    return COUNT / 4 + len(SEEN) + len(CACHE)\n",
    )
    before = mine.r.handler(ASKED)
    mine.r.handler(ASKED)
    assert alone(tmp_path, package(mine.r)) == [before]
    both = module(tmp_path, HEAD + "C = {}\nC[1] = 1\n@reward\ndef r(rollout):\n    C[2] = 1\n    return len(C)\n")
    with pytest.raises(ConfigurationError, match="'C' is changed after it is assigned"):
        package(both.r)


def test_a_custom_grader_is_packaged_with_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from dataclasses import dataclass\nfrom bedrock_rft.rewards._runtime.reward import Leaf\n"
        "@dataclass(frozen=True, eq=False, repr=False)\nclass Starts(Leaf):\n    word: str\n    name: str = 'starts'\n"
        "    def grade(self, rollout): return rollout.answer.startswith(self.word)\n"
        "named = Starts('It')\n"
    )
    (tmp_path / "own_grader.py").write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    mine = importlib.import_module("own_grader")
    monkeypatch.delitem(sys.modules, "own_grader")
    monkeypatch.setitem(sys.modules, "own_grader", mine)
    totals = (1.0 * mine.named, 0.5 * mine.Starts("It", name="other") + 0.5 * mine.named)
    for total, results in zip(totals, alone(tmp_path, *map(package, totals)), strict=True):
        assert results == total.handler(ASKED)
        assert scores(results) == [1.0, 1.0]


def test_closures_and_objects_are_refused_by_name() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'closure.<locals>.long_enough' uses 'threshold' of the enclosing function"
    ):
        package(closure())
    with pytest.raises(ConfigurationError, match="not a function with source code"):
        package(reward(name="object")(Called()))
    with pytest.raises(ConfigurationError, match="cannot be written as source"):
        package(Numeric(tolerance=__import__("fractions").Fraction(1, 2)))
    space = notebook("from bedrock_rft.rewards import *", "@reward\ndef r(x): return 1.0", "total = 1.0 * r")
    space["In"].append("@reward\ndef r(x): return 0.0")
    exec(space["In"][-1], space)  # noqa: S102 - ours
    with pytest.raises(ConfigurationError, match="'r' was assigned again after the reward was made"):
        package(space["total"])
    typed: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(x): return 1", typed)  # noqa: S102 - ours
    with pytest.raises(ConfigurationError, match="cannot be read"):
        package(reward(name="typed")(typed["f"]))


SECRETS: dict[str, str] = {
    "an AWS access key": "AKIA" + "QYLPMN5HFAKE1234",
    "an AWS secret key": "aws_secret_access_key = '" + "Zq3" * 13 + "A'",
    "an AWS session token": "IQoJb3JpZ2lu" + "X2VjEFAKEFAKEFAKEFAKE",
    "a Bedrock API key": "ABSK" + "QmVkcm9ja0FQSUtleUZBS0U=",
    "an OpenAI or Anthropic key": "sk-proj-" + "fakefakefakefakefake1234",
    "a GitHub token": "ghp_" + "fakefakefakefakefakefakefakefake1234",
    "a Hugging Face token": "hf_" + "fakefakefakefakefakefakefakefake12",
    "a Slack token": "xoxb-" + "1234567890-fake",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIfake",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJmYWtlIn0.c2lnbmF0dXJlZmFrZQ",
    "a password in a URL": "https://user:" + "fakepassword@example.com/",
    "a path of this machine": "/home/" + "someone/data/train.txt",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_refused_without_repeating_it(kind: str, tmp_path: Path) -> None:
    secret = SECRETS[kind]
    (tmp_path / "notes.txt").write_text(f"first\nsecond {secret}\n")
    (tmp_path / "mine.py").write_text(f'"""Mine.\n\n{secret}\n"""\ndef lambda_handler(event, context): return []\n')
    mine = module(tmp_path, f"from bedrock_rft.rewards import reward\n@reward\ndef r(x): return len({secret!r})")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: package(Numeric(), include=[tmp_path / "notes.txt"]), "notes.txt, line 2,"),
        (lambda: package(f"{tmp_path / 'mine.py'}:lambda_handler"), "mine.py, line 3,"),
        (lambda: package(mine.r), "line 4,"),
        (lambda: package(Matches(secret)), "lambda_function.py, line 5,"),
    ]
    for call, place in calls:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert f"contains text that looks like {kind}" in str(caught.value)
        assert place in str(caught.value)
        assert secret.split("\n")[0] not in str(caught.value)


@pytest.mark.parametrize("kind", SECRETS)
def test_a_finding_is_allowed_only_by_its_own_entry(kind: str) -> None:
    first = SECRETS[kind]
    other = re.sub(r"\w(?=\W*$)", "7", first)
    with pytest.raises(ConfigurationError) as caught:
        check_secrets({"notes.txt": f"first\n{first}\n".encode()})
    found = re.search(r"if it is not one, pass allow=\['(notes\.txt:[a-z-]+:[0-9a-f]{8})'\]\.$", str(caught.value))
    assert found, str(caught.value)
    # The entry does not depend on the line.
    check_secrets({"notes.txt": f"further\ndown\n{first}\n".encode()}, allow=[found[1]])
    with pytest.raises(ConfigurationError, match=f"contains text that looks like {kind}"):
        check_secrets({"notes.txt": f"first\n{first}\n{other}\n".encode()}, allow=[found[1]])
    with pytest.raises(ConfigurationError, match=f"other.txt, line 2, contains text that looks like {kind}"):
        check_secrets({"other.txt": f"first\n{first}\n".encode()}, allow=[found[1]])


def test_a_file_with_an_allowed_finding_is_packaged(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(SECRETS["a GitHub token"])
    with pytest.raises(ConfigurationError) as caught:
        package(Numeric(), include=[file])
    entry = str(caught.value).split("'")[-2]
    assert "notes.txt" in names(package(Numeric(), include=[file], allow=[entry]))


def test_an_allow_entry_without_a_finding_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"allow has entries without a finding: \*, x.py:aws-secret-key:00000000\. "
    ):
        package(Numeric(), allow=["x.py:aws-secret-key:00000000", "*"])
    with pytest.raises(ConfigurationError, match="allow must be a list"):
        package(Numeric(), allow="*")


def test_text_that_resembles_a_path_is_accepted() -> None:
    check_secrets({"a.py": b"tree.find('/root/item/name'); url = 'https://example.com/home/user/x'; '/tmp/x'"})
    with pytest.raises(ConfigurationError, match="a path of this machine"):
        check_secrets({"a.py": b"open('file:///home/someone/x')"})
    with pytest.raises(ConfigurationError, match="a path of this machine"):
        check_secrets({"a.py": f"open('{Path.cwd()}/x')".encode()})


def test_a_zip_contains_no_value_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = [f"fake-{name}-0123456789" for name in ("key", "token", "password")]
    for name, fake in zip(("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "MY_PASSWORD"), fakes, strict=True):
        monkeypatch.setenv(name, fake)
    mine = module(
        tmp_path,
        "import os\nfrom bedrock_rft.rewards import reward\nKEY = os.environ.get('OPENAI_API_KEY', 'none')\n"
        "PASSWORD = os.environ.get('MY_PASSWORD', '')\n"
        "@reward\ndef r(x): return float(KEY == 'none' and not PASSWORD)",
    )
    made = package(mine.r + Judge("a.model", "good?"))
    for fake in [*fakes, str(tmp_path), str(Path.cwd()), str(Path.home() / "x")]:
        assert fake.encode() not in made.content
        assert fake not in f"{made}{made!r}"
    assert "os.environ.get" in text(made, next(name for name in names(made) if name.startswith("source_")))


@pytest.mark.parametrize(
    "name",
    [
        ".env", "prod.env", ".aws/credentials", "credentials", ".netrc", "_netrc", "id_rsa", "key.pem", "a/b.key",
        ".git/config", "__pycache__/a.pyc", "a.pyc", "train.jsonl", "data.csv", "x.parquet", "w.npy", "m.pkl",
        "n.ipynb", "venv/a.py", ".venv/lib/a.py", "node_modules/a.js", "lib/site-packages/a.py", "a.zip", "x.sqlite",
        ".ipynb_checkpoints/a.py",
    ],
)  # fmt: skip
def test_files_that_do_not_belong_in_lambda_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n")
    with pytest.raises(ConfigurationError, match="is not packaged"):
        package(Numeric(), include={name: path})
    with pytest.raises(ConfigurationError, match="is not packaged"):
        check_file_name(name)
    if "/" not in name:
        with pytest.raises(ConfigurationError, match="is not packaged"):
            package(Numeric(), include={"innocent.txt": path})


def test_links_folders_and_missing_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("a")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real" / "a.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    for given_, words in (
        (["link.txt"], "is a symbolic link"),
        (["linked/a.txt"], "is a symbolic link"),
        ([tmp_path / "linked" / "a.txt"], "is a symbolic link"),
        ({"a.txt": tmp_path / "linked" / ".." / "real" / "a.txt"}, "is a symbolic link"),
        (["pipe"], "is not a regular file"),
        ({"zero": "/dev/zero"}, "is not a regular file"),
        ([tmp_path / "link.txt"], "is a symbolic link"),
        (["real"], "is a folder"),
        (["none.txt"], "cannot be read: No such file"),
        (["../up.txt"], "cannot be a name in a package"),
        ({"/abs.txt": "real/a.txt"}, "cannot be a name"),
        ({"a\\b.txt": "real/a.txt"}, "cannot be a name"),
        ("real/a.txt", "include must be a list of files"),
        ({"json.py": "real/a.txt"}, "would hide the module 'json'"),
        ({"bedrock_rft/x.txt": "real/a.txt"}, "would hide the module 'bedrock_rft'"),
        ({"lambda_function.py": "real/a.txt"}, "already has a file"),
        ({"a": "real/a.txt", "a/b": "real/a.txt"}, "'a/b' would be in a folder with the same name as a file"),
        ({"A.txt": "real/a.txt", "a.txt": "real/a.txt"}, "already has a file 'a.txt'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            package(Numeric(), include=given_)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: package(7), "of type int"),
        (lambda: package("nowhere.py:x"), "There is no file"),
        (lambda: package("arn:aws:lambda:us-west-2:123456789012:function:x"), "already packaged"),
        (lambda: package(os), "not a file with a 'lambda_handler'"),
        (lambda: package(len), "not a function with source code"),
        (
            lambda: package(Numeric(), runtime="python3.8"),
            "runtime is 'python3.8', which is not supported. Use one of python3.10",
        ),
        (lambda: package(Numeric(), architecture="x86"), "architecture is 'x86'"),
        (lambda: package(Numeric(), requirements="a==1"), "requirements must be a list"),
        (lambda: package(Numeric(), requirements=["a>=1"]), "not of the form 'name==version'"),
        (lambda: package(Numeric(), requirements=["a @ https://x/y.whl"]), "not of the form"),
        (lambda: package(Numeric(), requirements=["--index-url=http://x"]), "not of the form"),
        (lambda: package(Numeric(), requirements=["a==1", "A==2"]), "occurs twice"),
        (lambda: package(Numeric(), requirements=["not-installed-anywhere"]), "has no version"),
    ],
)
def test_unsupported_arguments_are_explained(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def lambda_handler(event, context) return 1", "line 1, is not valid Python"),
        ("from .near import x\ndef lambda_handler(event, context): return x", "has a relative import"),
        ("def other(event, context): return 1", "has no attribute 'lambda_handler'"),
        ("lambda_handler = 7", "is int, not a function"),
        ("raise ValueError('as it loads')", "ValueError: as it loads"),
        (
            "from bedrock_rft.rewards import Numeric\nlambda_handler = Numeric()",
            "is a reward, which Lambda cannot call",
        ),
        ("async def lambda_handler(event, context): return []", "it is async, which Lambda does not await"),
        ("def lambda_handler(): return []", r"it must take \(event, context\): too many positional"),
        (b"# \xff\n", "the text is not in UTF-8"),
    ],
)
def test_a_file_that_does_not_load_is_refused(source: str | bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "lambda_function.py"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(ConfigurationError, match=words):
        package(f"{path}:lambda_handler")


def test_libraries_that_lambda_has_may_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "asks.py"
    path.write_text(
        "import dateutil.tz, jmespath\n"
        "try:\n    import orjson_like as json\nexcept ImportError:\n    import json\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import Nothing\n"
        "def lambda_handler(event, context):\n    import boto3, botocore.session\n    return [json.dumps(1)]\n"
    )
    assert names(package(f"{path}:lambda_handler")) == {"asks.py", "lambda_function.py"}


def test_packages_beyond_the_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bedrock_rft.rewards._packaging import archive as _package_zip

    (tmp_path / "b.bin").write_bytes(b"0" * 300_000)
    monkeypatch.setattr(_package_zip, "_STORED", 100_000)
    assert len(package(Numeric(), include=[tmp_path / "b.bin"]).content) < 100_000
    monkeypatch.setattr(_package_zip, "LARGEST_UNZIPPED", 200_000)
    with pytest.raises(ConfigurationError, match=r"kB unpacked; the limit of Lambda"):
        package(Numeric(), include=[tmp_path / "b.bin"])


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Two files of the package are named 'a\.txt'"):
        build_zip({"A.txt": b"1", "a.txt": b"2"})


def test_the_limits_are_those_of_lambda() -> None:
    assert (LARGEST, LARGEST_UNZIPPED) == (52_428_800, 262_144_000)


def wheel(folder: Path, name: str, version: str, tag: str, files: dict[str, str]) -> None:
    """A wheel as small as one can be."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        archive.writestr(f"{info}/RECORD", "")


def test_requirements_beyond_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_bytes(b"x" * 600)
    (tmp_path / "b.py").write_bytes(b"x" * 600)
    assert [name for name, _ in _package_vendor._read_files(tmp_path)] == ["a.py", "b.py"]
    monkeypatch.setattr(_package_vendor, "LARGEST_UNZIPPED", 1000)
    with pytest.raises(ConfigurationError, match="unpack to more than Lambda's"):
        _package_vendor._read_files(tmp_path)


def work_in_hostile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with files that pip would take for its own; return the path that their code creates."""
    here, ran = tmp_path / "here", tmp_path / "ran"
    here.mkdir()
    for name in ("pip.py", "sitecustomize.py", "tempfile.py"):
        (here / name).write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nraise SystemExit('ran')\n")
    (here / "tinything==1.5.tar.gz").write_bytes(b"not an archive")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.setenv("PYTHONSTARTUP", str(here / "pip.py"))
    return ran


def test_requirements_are_installed_for_the_platform_of_lambda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(
        wheels, "tinything", "1.5", "py3-none-any", {"tinything/__init__.py": "VALUE = 0.5\n", "tinything/a.csv": "1"}
    )
    wheel(
        wheels, "native", "3.0", "cp313-cp313-manylinux2014_aarch64", {"native.cpython-313-aarch64-linux-gnu.so": "x"}
    )
    for tag in ("py3-none-any", "cp313-cp313-manylinux_2_28_x86_64", "cp313-cp313-manylinux2014_x86_64"):
        wheel(wheels, "several", "1.0", tag, {"several.py": f"TAG = {tag!r}\n"})
    validator = Path(fastjsonschema.__file__).parent
    files = {f"fastjsonschema/{path.name}": path.read_text() for path in validator.glob("*.py")}
    wheel(wheels, "fastjsonschema", fastjsonschema.VERSION, "py3-none-any", files)
    ran = work_in_hostile_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "../wheels")
    monkeypatch.setenv("PIP_USER", "1")
    source = (
        "from bedrock_rft.rewards import reward\n@reward\ndef tiny(rollout):\n    import several, tinything\n"
        "    return tinything.VALUE * (several.TAG == 'cp313-cp313-manylinux_2_28_x86_64')\n"
    )
    schema = JsonSchema({"type": "object", "required": ["n"], "properties": {"n": {"minimum": 4}}})
    total = 0.5 * schema + 1.0 * module(tmp_path, source, "uses").tiny
    made = package(total, requirements=["tinything==1.5", "several==1.0"])
    validated = f"fastjsonschema=={fastjsonschema.VERSION}"
    assert made.requirements == (validated, "several==1.0", "tinything==1.5"), "a grader names its own"
    texts = ('{"n": 4}', '{"n": 3}', "no")
    event = [{"id": text, "messages": [{"role": "assistant", "content": text}]} for text in texts]
    (results,) = alone(tmp_path, made, event=event)
    assert scores(results) == [1.0, 0.5, 0.5]
    brought = {name for name in names(made) if "tiny" in name}
    info = "tinything-1.5.dist-info"
    assert brought == {"tinything/__init__.py", "tinything/a.csv"} | {
        f"{info}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt")
    }, "no scripts, no bytecode, no record of where it was installed"
    (tmp_path / "tinies.py").write_text(
        "import tinything\ndef lambda_handler(event, context): return [tinything.VALUE]\n"
    )
    target, both = f"{tmp_path / 'tinies.py'}:lambda_handler", ["tinything==1.5", "native==3.0"]
    arm = package(target, requirements=both, architecture="arm64")
    assert "native.cpython-313-aarch64-linux-gnu.so" in names(arm)
    assert {name: text(arm, name) for name in brought} == {name: text(made, name) for name in brought}
    with pytest.raises(ConfigurationError, match=r"each of native==3\.0, tinything==1\.5 for python3\.13 on x86_64"):
        package(target, requirements=both)
    assert not ran.exists(), "pip runs nothing of the working folder"
    with pytest.raises(ConfigurationError, match="imports 'tinything', which is neither"):
        package(target)
    installed = {name: text(made, name).encode() for name in brought}

    def install(*_: object, **__: object) -> dict[str, bytes]:
        return installed

    monkeypatch.setattr(packaging, "install_requirements", install)
    with pytest.raises(ConfigurationError, match=r"requirement also has a file 'tinything/__init__\.py'"):
        package(target, requirements=both[:1], include={"tinything/__init__.py": tmp_path / "tinies.py"})


def test_an_unreachable_index_is_named_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:fakepassword@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    unreachable = r"could not reach the package index|that the package index can be reached"
    with pytest.raises(ConfigurationError, match=unreachable) as caught:
        package(Numeric(), requirements=["tinything==1"])
    assert "tinything==1" in str(caught.value)
    assert "fakepassword" not in str(caught.value)
    said = "ERROR: nothing at https://user:fakepassword@example.com/simple"  # as an older pip prints it
    assert "nothing at https://example.com/simple" in explain_pip_failure(said, ["a==1"], "python3.13", "x86_64")


def test_dependencies_of_requirements_must_be_named() -> None:
    there = {"needy-2.0.dist-info/METADATA": b"", "tiny_thing-1.5.dist-info/METADATA": b"", "needy.py": b""}
    with pytest.raises(ConfigurationError, match=r"depend on tiny-thing==1\.5\. Name these too.*'tiny-thing==1\.5'\]"):
        check_releases(["Needy[all]==2.0"], there)
    check_releases(["needy==2.0", "Tiny.Thing==1.5"], there)
    check_releases(["needy==2", "tiny-thing==v1.5.0"], there)
    with pytest.raises(
        ConfigurationError, match=r"something other than needy==2\.1, other==1\. Check the package index"
    ):
        check_releases(["needy==2.1", "tiny-thing==1.5", "other==1"], there)


@given(
    st.text(max_size=30) | st.lists(st.sampled_from(["a", "..", ".", "", "é", "C:", "~", " ", "x.py"])).map("/".join)
)
def test_names_that_lead_out_of_the_zip_are_refused(name: str) -> None:
    try:
        kept = validate_file_name(name)
    except ConfigurationError:
        return
    content, files = build_zip({name: b"x"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
        assert entry.filename == kept == files[0].name
    inside = os.path.normpath(os.path.join("/top", kept))  # noqa: PTH118 - names, on no disk
    assert inside.startswith(("/top/", "\\top\\"))
    assert kept.isprintable()


@given(
    st.binary(max_size=200),
    st.sampled_from([secret for kind, secret in SECRETS.items() if "key" in kind]),
    st.binary(max_size=50),
)
def test_a_secret_is_found_anywhere_in_a_file(before: bytes, secret: str, after: bytes) -> None:
    content = before + b"\n" + secret.encode() + b"\n" + after
    with pytest.raises(ConfigurationError, match="contains text that looks like"):
        check_secrets({"a.bin": content})


def test_the_runtime_imports_nothing_outside_itself() -> None:
    files = packaging.runtime_files()
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    assert "bedrock_rft.rewards._runtime.graders.answer_match" in modules
    for name, content in files.items():
        if name == "bedrock_rft/rewards/__init__.py":
            continue  # its other names are loaded lazily, and only if the whole package is installed
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("bedrock_rft"):
                assert node.module in modules, (name, node.module)
    check_secrets(files)


def records() -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} and {n}?"}], "reference_answer": str(2 * n)}
        for n in range(3, 15)
    ]


def test_check_accepts_a_package(tmp_path: Path) -> None:
    made = package(0.9 * Numeric() + 0.1 * Format(marker="####"))
    report = check(made, records(), size=4)
    assert report.ok, str(report)
    assert report.target == "package of 0.9 * Numeric() + 0.1 * Format(marker='####')"
    assert report.form == "after ####"
    zipped_report = check(made.write(tmp_path / "r.zip"), records(), size=4)
    assert zipped_report.scores == report.scores


def test_the_command_packages_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from bedrock_rft.rewards import Numeric\ntotal = 0.5 * Numeric()\n")
    out = tmp_path / "reward.zip"
    (tmp_path / "note.txt").write_text("a")
    assert main(["reward", "package", f"{path}:total", "--out", str(out), "--include", str(tmp_path / "note.txt")]) == 0
    shown = capsys.readouterr().out
    assert "note.txt" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    data = tmp_path / "train.jsonl"
    datasets.write(data, records())
    assert main(["reward", "check", str(out), str(data), "--size", "4"]) == 0
    assert main(["reward", "package", f"{path}:none", "--out", str(out)]) == 2
    assert "has no attribute 'none'" in capsys.readouterr().err
