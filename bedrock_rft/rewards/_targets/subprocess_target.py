"""A handler in a file, or in a Lambda's zip, run in a process of its own: it may hang, crash or eat memory there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._targets.target import Outcome, failure

__all__ = ["SubprocessTarget", "clean_environment"]

_START = 20.0
_WORKER = str(Path(__file__).with_name("subprocess_worker.py"))


class SubprocessTarget:
    """A handler in a file, or in a Lambda's zip, run in a process of its own with an empty environment."""

    def __init__(self, path: Path | bytes, handler: str, name: str, timeout: float, memory: int) -> None:
        """Take a `.py` file, a `.zip`, or the bytes of one; nothing is started yet."""
        self.name, self.timeout, self.memory = name, timeout, memory
        self._stack = contextlib.ExitStack()
        self._handler = handler
        self._packaged = isinstance(path, bytes) or path.suffix == ".zip"
        self._path = self._unpacked(path) if isinstance(path, bytes) or self._packaged else path
        self._process: subprocess.Popen[bytes] | None = None
        self._ask: Any = None
        self._told: Any = None

    def _unpacked(self, archive: Path | bytes) -> Path:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reward-")))
        try:
            with zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else archive) as file:
                file.extractall(folder)
        except (OSError, zipfile.BadZipFile) as error:
            self._stack.close()
            raise ConfigurationError(f"{self.name} cannot be unpacked: {error}") from error
        module, _, self._handler = self._handler.rpartition(".")
        return folder / f"{module.replace('.', '/')}.py"

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        try:
            said = self._exchange(event)
        except RewardError as error:
            return Outcome(None, time.monotonic() - began, error=error)
        seconds = time.monotonic() - began
        printed = str(said.get("printed", ""))
        if "failed" in said:
            return Outcome(None, seconds, printed, failure(str(said["failed"]), str(said["text"])))
        return Outcome(_stand_in(said.get("kind"), said.get("result")), seconds, printed)

    def ready(self) -> dict[str, Any]:
        """Start it, and return what it tells of the handler.

        Raises:
            RewardError: the handler cannot be loaded.
        """
        return self._start()

    def _exchange(self, event: object) -> dict[str, Any]:
        if self._process is None:
            self._start()
        line = json.dumps({"event": event, "seconds": self.timeout}).encode() + b"\n"
        return self._line(line, self.timeout, "did not answer within")

    def _start(self) -> dict[str, Any]:
        # Without bytecode: what is isolated takes no word of it from the environment, and a module that was edited
        # within a second would run as it was before.
        alone = ["-I", "-B", "-S"] if self._packaged else ["-I", "-B"]
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="check-", ignore_cleanup_errors=True))
        arguments = [str(self._path), self._handler, str(self.memory * 1024 * 1024)]
        self._process = subprocess.Popen(  # noqa: S603 - the reward under check
            [sys.executable, *alone, _WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=clean_environment(folder),
            start_new_session=os.name == "posix",
        )
        self._ask, self._told = self._process.stdin, self._process.stdout
        said = self._line(b"", _START, "was not loaded within")
        if "failed" in said:
            self._stop()
            raise failure(str(said["failed"]), str(said["text"]))
        return said

    def _line(self, line: bytes, seconds: float, late: str) -> dict[str, Any]:
        """Send a line and take one."""
        found: list[bytes] = []

        def talk() -> None:
            with contextlib.suppress(OSError, ValueError):
                self._ask.write(line)
                self._ask.flush()
                found.append(self._told.readline())

        thread = threading.Thread(target=talk, name="reward-check", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._stop()
            thread.join(5)
            raise RewardError(
                f"The reward handler {late} {seconds:g} seconds. Make it faster, or raise its timeout.", code="timeout"
            )
        if not found or not found[0]:
            code = self._stop(patience=0.2)  # one that is ending by itself tells how
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise RewardError(
                f"The reward handler ended its process ({how}). In a Lambda the whole batch would be lost; look for "
                "os._exit, a crash in native code, or too much memory.",
                code="died",
            )
        return cast("dict[str, Any]", json.loads(found[0]))

    def _stop(self, *, patience: float = 0.0) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        code = process.wait()
        for end in (self._ask, self._told):
            with contextlib.suppress(OSError):
                end.close()
        return code

    def close(self) -> None:
        """End the process and remove its folders."""
        self._stop()
        self._stack.close()


def clean_environment(folder: str) -> dict[str, str]:
    """An environment without anything of the user's: no keys, no proxies with passwords, no home."""
    if os.name == "posix":
        return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ}
    return {**kept, "TEMP": folder, "TMP": folder, "PYTHONDONTWRITEBYTECODE": "1"}


def _stand_in(kind: object, result: Any) -> Any:
    """What the process could not send, as something of its kind."""
    if kind == "coroutine":
        return _waiting()
    if kind in ("generator", "async_generator"):
        return iter(())
    return b"" if kind == "bytes" else result


async def _waiting() -> None:
    pass
