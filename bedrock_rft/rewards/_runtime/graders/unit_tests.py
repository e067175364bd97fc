"""A grader of programs: the answer's code is run against tests, in a process of its own with limits.

This is no sandbox. Limits and an empty environment keep accidents and clumsy cheating out; code that sets out to do
harm can use the network and read what the function's user can read, and code that knows of this module can forge its
verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.rewards._runtime.reward import Leaf, validate_name
from bedrock_rft.rewards._runtime.rollout import Rollout, Score, finite_float

__all__ = ["PassesTests", "code_in"]

_FENCE = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)```", re.DOTALL)
_LONGEST = 200_000
_PYTHON = frozenset({"python", "py", "python3", ""})

# Reads code and tests from its standard input, limits itself, and tells how many tests passed where the code does not
# write, with a password: what the code prints, or how it exits, counts for nothing.
_RUNNER = """
def main():
    import json, os, sys
    task = json.loads(sys.stdin.buffer.read())
    report, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    try:
        import resource
    except ImportError:
        resource = None
    for name, most in task["limits"].items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
    passed, space = 0, {"__name__": "__main__"}
    write, leave = os.write, os._exit
    try:
        exec(compile(task["code"], "answer.py", "exec"), space)
        for test in task["tests"]:
            try:
                exec(compile(test, "tests.py", "exec"), space)
            except Exception:
                continue
            passed += 1
        write(report, f"{task['word']} {passed}".encode())
    except BaseException:
        pass
    leave(0)
main()
"""


@dataclass(frozen=True, eq=False, repr=False)
class PassesTests(Leaf):
    """The share of tests that the answer's Python code passes, each run after the code in the same process.

    The code is the last fenced Python block of the answer, or all of it. The tests are the reference: text with
    assertions, which is one test, or a list of such texts. Everything runs in a process of its own with an empty
    environment and a folder of its own, and with limits on time, memory and files, and without processes or threads
    of its own, where the system has such limits (not on Windows). What the code prints, and how it exits, counts for
    nothing.

    Attributes:
        tests: the record field that holds the tests; None for the reference.
        setup: code that runs before the answer's, such as imports.
        all_or_nothing: give 1 only where every test passes.
        seconds: for all of it.
        memory: megabytes.
        name: in `metrics_list`.
    """

    tests: str | None = None
    setup: str = ""
    all_or_nothing: bool = False
    seconds: float = 5.0
    memory: int = 256
    name: str = "tests"

    def __post_init__(self) -> None:
        validate_name(self.name)
        if finite_float(self.seconds, "seconds") <= 0 or self.memory < 1:
            raise ValueError("seconds and memory are more than 0")

    def grade(self, rollout: Rollout) -> Score:
        tests = _listed(rollout.reference if self.tests is None else rollout.extra.get(self.tests))
        code = code_in(rollout.answer)
        if not code.strip():
            return Score(0.0)
        passed = self._passed(f"{self.setup}\n{code}" if self.setup else code, tests)
        share = passed / len(tests)
        return Score(float(share == 1) if self.all_or_nothing else share, metrics={f"{self.name}_passed": passed})

    def _passed(self, code: str, tests: Sequence[str]) -> int:
        word = secrets.token_hex(16)
        task = {"code": code, "tests": list(tests), "limits": self._limits(), "word": word}
        with tempfile.TemporaryDirectory(prefix="answer-", ignore_cleanup_errors=True) as folder:
            said = _run(json.dumps(task).encode(), folder, self.seconds)
        own, _, count = said.decode("ascii", "replace").partition(" ")
        return (
            min(int(count), len(tests))
            if secrets.compare_digest(own.encode(), word.encode()) and count.isdigit()
            else 0
        )

    def _limits(self) -> dict[str, int]:
        memory = self.memory * 1024 * 1024
        return {
            "RLIMIT_CPU": int(self.seconds) + 1,
            "RLIMIT_AS": memory,
            "RLIMIT_FSIZE": 1024 * 1024,
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_NPROC": 0,
        }


def code_in(text: str) -> str:
    """The code in an answer: its last fenced Python block, else its last block of no named language, else all of it."""
    blocks = [(match.group(1).lower(), match.group(2)) for match in _FENCE.finditer(text[-_LONGEST:])]
    named = [code for language, code in blocks if language in _PYTHON]
    if named:
        return named[-1]
    return "" if blocks else text[-_LONGEST:]


def _listed(tests: Any) -> list[str]:
    listed = [tests] if isinstance(tests, str) else cast("Sequence[Any]", tests) if isinstance(tests, list) else []
    found = [test for test in listed if isinstance(test, str) and test.strip()]
    if not found or len(found) < len(listed):
        raise ValueError("the tests are text with assertions, or a list of such texts")
    return found


def _run(task: bytes, folder: str, seconds: float) -> bytes:
    """Run code and tests, and return what was told."""
    posix = os.name == "posix"
    environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    if not posix:  # Windows starts no process without these
        environment = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "PATH") if name in os.environ}
    process = subprocess.Popen(  # noqa: S603 - running the answer is what this is for
        [sys.executable, "-I", "-S", "-c", _RUNNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=posix,
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(task, timeout=seconds)[0]
    finally:
        with contextlib.suppress(OSError):  # and whatever it started
            if posix:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    return process.communicate()[0]
