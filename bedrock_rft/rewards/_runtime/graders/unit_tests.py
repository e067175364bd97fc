"""`PassesTests`: a grader that runs the answer's Python code against tests, in a separate process with limits.

This is not a sandbox, and does not prevent cheating. The limits and the empty environment stop accidents. Code that
intends harm can use the network and read what the function's user can read. The tests run in the same process as the
answer: its patches are undone before each test, and objects that pass any comparison fail, but code that knows this
module can change its result.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import marshal
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.extraction import fenced_blocks, strip_thoughts
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout, Score, finite_float

_MAX_CHARACTERS = 200_000
_PYTHON = frozenset({"python", "py", "python3", "py3", "pycon"})
_START = """
import marshal, sys, types
guards, runner, task = marshal.load(sys.stdin.buffer)
module = types.ModuleType("unit_test_guards")
exec(guards, vars(module))
space = {"__name__": "__main__", "guards": module}
exec(runner, space)
space["main"](task)
"""
_LIMITS = {"RLIMIT_FSIZE": 1024 * 1024, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 64, "RLIMIT_NPROC": 0}
_INPUT_KEYS = ("input", "stdin", "inputs")
_OUTPUT_KEYS = ("output", "stdout", "outputs", "expected_output")


@dataclass(frozen=True, eq=False, repr=False)
class PassesTests(Leaf):
    """Score the share of tests that the answer's Python code passes.

    The tests are the reference. A test has one of these forms, and a list of tests may also be JSON text:

    - Python text with assertions, `test_*` functions, pytest or unittest classes, or HumanEval's `check(candidate)`,
      which is called with the function that the field `entry_point` names, otherwise with the answer's last function.
      pytest itself is replaced by a small module with `raises`, `approx` and `mark.parametrize`.
    - `{"input": …, "output": …}`: text for stdin and the expected stdout. `{"inputs": […], "outputs": […]}` has several
      tests; with `fn_name`, the inputs are arguments and the outputs return values of that function.

    The code is taken from the answer's fenced Python blocks: those that define the names that the tests use. Without
    fences, the code is the content of `<answer>…</answer>`, or the whole answer. Top-level statements that fail, such
    as a demonstration that reads stdin or ends the program, do not stop the rest. `__name__` is not `"__main__"`,
    except for tests with stdin.

    Everything runs in a process with an empty environment and a temporary folder, with limits on time, memory and file
    size, and without child processes, if the system supports that (not on Windows). The standard library and the
    packages installed next to this package are available: in Lambda, the `requirements` of `package`.

    The tests run in the same process as the answer, so a determined answer can cheat, for example from a thread,
    through the frames of its callers, or with objects that behave differently when they are tried. These cheats fail:
    patches of loaded modules, of builtins, of unittest and pytest and of modules that the tests import; builtins that
    the answer defines; objects that are equal to, near, below or above anything, or contain anything. If you expect
    answers that cheat, look at the best-scored answers of a run.

    Attributes:
        tests: the record field with the tests, or None for the reference.
        setup: Python code that runs before the answer's code, such as imports.
        all_or_nothing: return 1 only if every test passes, otherwise 0.
        seconds: the time limit for all tests of an answer.
        memory: the memory limit in megabytes.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, there are no tests, or a test that passes asserts nothing.
    """

    tests: str | None = None
    setup: str = ""
    all_or_nothing: bool = False
    seconds: float = 5.0
    memory: int = 256
    name: str = "tests"

    def __post_init__(self) -> None:
        super().__post_init__()
        if finite_float(self.seconds, "seconds") <= 0 or self.memory < 1:
            raise ValueError("seconds and memory must be above 0")

    def grade(self, rollout: Rollout) -> Score:
        tests = _parse_tests(rollout.reference if self.tests is None else rollout.extra.get(self.tests))
        entry_point = rollout.extra.get("entry_point")
        entry_point = entry_point if isinstance(entry_point, str) else ""
        used = [entry_point, *(test.get("function", "") for test in tests)]
        used += [name for test in tests for name in _names(test.get("code", ""))[1]]
        code = find_code(rollout.answer, {*used} - {""})
        if not code.strip():
            return Score(0.0)
        task = {"setup": self.setup, "code": code, "tests": tests, "entry_point": entry_point}
        passed = 0 if _parse_code(code) is None else self._run(task, len(tests))
        share = passed / len(tests)
        return Score(float(share == 1) if self.all_or_nothing else share, metrics={f"{self.name}_passed": passed})

    def _run(self, task: dict[str, Any], count: int) -> int:
        """Run the code and return the number of tests that it passes."""
        token = secrets.token_hex(16)
        limits = {**_LIMITS, "RLIMIT_CPU": int(self.seconds) + 1, "RLIMIT_AS": self.memory * 1024 * 1024}
        task = {**task, "limits": limits, "paths": _package_paths(), "token": token}
        with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as folder:
            output = _run_process(task, folder, self.seconds)
        written_token, _, report = output.decode("utf-8", "replace").partition(" ")
        if not secrets.compare_digest(written_token.encode(), token.encode()):
            return 0
        passed, _, fault = report.partition(" ")
        if fault:
            raise ValueError(f"a test cannot be used: {fault}")
        return min(int(passed), count)


def find_code(text: str, names: Iterable[str] = ()) -> str:
    """Return the Python code in an answer: the blocks that define `names` and what these use, or the last block."""
    text = strip_thoughts(text[-_MAX_CHARACTERS:])
    _, opened, tagged = text.rpartition("<answer>")
    if opened:
        tagged = tagged.partition("</answer>")[0]
        text = tagged if fenced_blocks(tagged) or not fenced_blocks(text) else text
    blocks = fenced_blocks(text)
    if not blocks:
        return text
    named = [code for language, code in blocks if language in _PYTHON]
    unnamed = [code for language, code in blocks if not language]
    selected = _select_blocks(named, names) or _select_blocks([*unnamed, *named], names)
    if selected:
        return "\n\n".join(selected)
    candidates = named or unnamed
    return next((code for code in reversed(candidates) if _parse_code(code) is not None), (candidates or [""])[-1])


def _select_blocks(blocks: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the blocks that define the names, and what these need, in order. The last definition counts."""
    missing = set(names)
    selected: list[str] = []
    for code in reversed(blocks):
        defined, used = _names(code)
        if defined & missing:
            missing = (missing - defined) | used
            selected.insert(0, code)
    return selected


def _parse_code(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(code: str) -> tuple[set[str], set[str]]:
    """Return the names that the top level of code defines (without imports), and the names that the code needs."""
    tree = _parse_code(code) or ast.Module([], [])
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in tree.body if isinstance(node, definitions)}
    assignments = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign))]
    stored = [name for node in assignments for name in ast.walk(node) if isinstance(name, ast.Name)]
    defined |= {name.id for name in stored if isinstance(name.ctx, ast.Store)}
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)}
    return defined, {name for name in loaded - defined if not hasattr(builtins, name)}


def _parse_tests(value: Any) -> list[dict[str, Any]]:
    """Return tests in one form: `{"code": …}`, `{"stdin": …, "stdout": …}` or `{"function": …, "arguments": …, …}`."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    items: Sequence[Any] = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value]
    tests = [test for item in items for test in _parse_test(item)]
    if not tests:
        raise ValueError("there are no tests in the reference")
    return tests


def _parse_test(item: Any) -> list[dict[str, Any]]:
    if isinstance(item, str) and item.strip():
        fenced = item.lstrip().startswith(("```", "~~~"))
        code = "\n\n".join(code for _, code in fenced_blocks(item)) if fenced else item
        if _parse_code(code) is None:
            raise ValueError("a test is not valid Python")
        return [{"code": code}]
    if isinstance(item, Mapping):
        fields = cast("Mapping[str, Any]", item)
        given = next((fields[key] for key in _INPUT_KEYS if key in fields), None)
        expected = next((fields[key] for key in _OUTPUT_KEYS if key in fields), None)
        function = fields.get("fn_name")
        if isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):  # pyright: ignore[reportUnknownArgumentType]
            pairs = list(zip(cast("list[object]", given), cast("list[object]", expected), strict=True))
            if function:
                return [{"function": function, "arguments": one, "result": other} for one, other in pairs]
            return [{"stdin": _to_lines(one), "stdout": _to_lines(other)} for one, other in pairs]
        if isinstance(given, str) and isinstance(expected, str):
            return [{"stdin": given, "stdout": expected}]
    raise ValueError(
        "tests must be text with assertions, pairs of input and output, or a list of these; "
        f"one test is {type(cast('object', item)).__name__} in another form, or empty"
    )


def _to_lines(value: Any) -> str:
    return "\n".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)


def _package_paths() -> list[str]:
    """Return the folders of installed packages, including those packaged for Lambda."""
    task_root = os.environ.get("LAMBDA_TASK_ROOT")
    folders = ("site-packages", "dist-packages")
    found = [path for path in sys.path if path and Path(path).name in folders]
    return [*found, *(path for path in (task_root, "/opt/python") if path and Path(path).is_dir())]


@cache
def _compile_runner() -> tuple[types.CodeType, ...]:
    files = [Path(__file__).with_name(f"unit_test_{name}.py") for name in ("guards", "runner")]
    return tuple(compile(file.read_bytes(), file.name, "exec") for file in files)


def _run_process(task: dict[str, Any], folder: str, seconds: float) -> bytes:
    """Start `unit_test_runner.py` in a new process and return its output."""
    posix = os.name == "posix"
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1", **threads}
    if not posix:  # Windows cannot start a process without these variables
        environment = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "PATH") if name in os.environ}
    with subprocess.Popen(  # noqa: S603 - running the answer is the purpose of this grader
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=posix,
    ) as process:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                sent = (*_compile_runner(), json.loads(json.dumps(task)))
                return process.communicate(marshal.dumps(sent), timeout=seconds)[0]
        finally:
            with contextlib.suppress(OSError):  # ends the processes that it started as well
                if posix:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
        return process.communicate()[0]
