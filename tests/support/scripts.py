"""Run Python scripts and modules, each in a process of its own.

On Linux, the processes are forked from one that has imported the package, because its imports and those of its
libraries take longer than most scripts. On other systems, each is a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"

_IMPORTED = ("bedrock_rft.local._service.service", "bedrock_rft._cli.app", "openai", "botocore.session")
_LOCK = threading.Lock()


def run_python(
    *arguments: object,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `python [-W error]` with `SCRIPT …`, `-m MODULE …` or `-c CODE …`, with these additions to the environment.

    A `-c` needs nothing of a new interpreter: everything in `_IMPORTED` has been imported already.
    """
    words = [str(each) for each in arguments]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **(environment or {})}
    # The interpreter itself reads its own variables, when it starts.
    own = {name for name in env if name.startswith("PYTHON") and env[name] != os.environ.get(name)}
    if sys.platform != "linux" or own - {"PYTHONIOENCODING"}:
        return subprocess.run(  # noqa: S603 - ours
            [sys.executable, *words], cwd=cwd, env=env, input=stdin, capture_output=True, encoding="utf-8",
            timeout=timeout, check=False,
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin, encoding="utf-8")
        job = {"words": words, "cwd": str(cwd or Path.cwd()), "environment": env, "files": [str(one) for one in files]}
        code = _fork(json.dumps(job), timeout)
        out, err = (path.read_bytes().decode().replace("\r\n", "\n") for path in files[1:])
    return subprocess.CompletedProcess([sys.executable, *words], code, out, err)


def _fork(job: str, timeout: float) -> int:
    """Run a job in a fork of the server, and return its exit status."""
    with _LOCK:
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        timer = threading.Timer(timeout, os.killpg, [server.pid, signal.SIGKILL])
        timer.start()
        try:
            server.stdin.write(f"{job}\n")
            server.stdin.flush()
            answer = server.stdout.readline()
        finally:
            timer.cancel()
        if not answer:
            _server.cache_clear()
            raise TimeoutError(f"no end within {timeout} s: {job[:200]}")
        return int(answer)


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        server.communicate()


def _serve() -> None:
    """Fork once for each line of standard input, and print the exit status of the fork."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 - the answer


def _become(words: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    """Act like a new interpreter with these words on its command line."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(files):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    encoding, _, errors = environment["PYTHONIOENCODING"].partition(":")
    streams: list[Any] = [
        open(number, mode, encoding=encoding, errors=policy, closefd=False)  # noqa: SIM115 - for the process
        for number, mode, policy in ((0, "r", None), (1, "w", errors or None), (2, "w", "backslashreplace"))
    ]
    sys.stdin, sys.stdout, sys.stderr = streams
    if words[0] == "-W":
        warnings.simplefilter(words[1])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        sys.warnoptions.append(words[1])
        words = words[2:]
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path[0] = cwd
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path[0] = cwd
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - of our tests
    else:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
