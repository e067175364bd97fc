"""Start fresh processes, so that one measurement does not affect the next.

The parent process imports the standard library only: on Linux the peak memory of a new process begins at its
parent's, and a large parent would hide growth.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# Settings of the shell that would change the server or the speed of a side.
_FOREIGN = ("AWS_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_", "PYTHONDONT", "PYTHONDEVMODE")

# Example keys from the AWS documentation, without access.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@functools.cache
def environment() -> dict[str, str]:
    """Return the environment with static AWS credentials, and without other settings of AWS or OpenAI."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    return kept | _CREDENTIALS


def answer(script: str, *arguments: str) -> Any:
    """Run a script of this directory, and return the JSON that it prints."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def lifetime(code: str) -> float:
    """Return the milliseconds from starting Python with some code to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(), stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000


def time_to_line(code: str, *arguments: str) -> float:
    """Return the milliseconds from starting Python with some code to the line that it prints."""
    began = time.perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout else b""
        ended = time.perf_counter()
    if not line or process.returncode:
        raise RuntimeError(f"The process failed: {code}")
    return (ended - began) * 1000


@contextlib.contextmanager
def turns(script: str, *arguments: str) -> Generator[Callable[[], Any], None, None]:
    """Run a script of this directory turn by turn; yield a function that runs a turn and returns its JSON."""
    command = [sys.executable, str(HERE / script), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:

        def turn() -> Any:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("The process has no pipes.")
            process.stdin.write("\n")
            return json.loads(process.stdout.readline())

        yield turn


@contextlib.contextmanager
def serving() -> Generator[str, None, None]:
    """Run a server with fixed responses, and yield its base URL."""
    command = [sys.executable, str(HERE / "_server.py")]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        port = int(server.stdout.readline()) if server.stdout else 0
        yield f"http://127.0.0.1:{port}/v1"
        # Leaving the block closes its standard input, which ends it.
