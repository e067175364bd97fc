"""A reward in a file or a package, invoked in a subprocess because it may hang, crash or exhaust its memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._packaging.archive import unpack_zip
from bedrock_rft.rewards._targets.fingerprint import digest, fingerprint_file
from bedrock_rft.rewards._targets.target import Outcome, handler_error, timeout_error

_START_TIMEOUT = 20.0
_WORKER = str(Path(__file__).with_name("subprocess_worker.py"))


class SubprocessTarget:
    """A handler in a `.py` file or in the zip of a Lambda function, run in a subprocess with an empty environment."""

    arn = None

    def __init__(
        self,
        source: Path | bytes,
        handler: str,
        name: str,
        timeout: float,
        memory: int,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare the subprocess; the first invocation starts it."""
        self.name, self.timeout, self.memory = name, timeout, memory
        self._stack = contextlib.ExitStack()
        self._source, self._source_handler, self._handler = source, handler, handler
        self._environment = environment
        self._packaged = isinstance(source, bytes) or source.suffix == ".zip"
        self._path = self._unpack(source) if isinstance(source, bytes) or self._packaged else source
        self._process: Any = None  # Popen[bytes] with pipes
        self._load_failure: tuple[str, str] | None = None

    def _unpack(self, archive: Path | bytes) -> Path:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reward-")))
        try:
            unpack_zip(archive, folder, self.name)
        except ConfigurationError:
            self._stack.close()
            raise
        module, _, self._handler = self._handler.rpartition(".")
        return folder / f"{module.replace('.', '/')}.py"

    @property
    def fingerprint(self) -> str:
        if isinstance(self._source, bytes):
            return digest([self._source, self._source_handler.encode()])
        return fingerprint_file(self._source, self._source_handler)

    def invoke(self, event: object) -> Outcome:
        if self._load_failure is not None:  # do not load again, because loading takes long and would fail again
            return Outcome(None, 0.0, error=handler_error(*self._load_failure))
        began = time.monotonic()
        line = json.dumps({"event": event, "seconds": self.timeout}).encode() + b"\n"
        try:
            if self._process is None:
                self.start()
            response = self._exchange_line(line, self.timeout, "did not answer")
        except RewardError as error:
            return Outcome(None, time.monotonic() - began, error=error)
        seconds = time.monotonic() - began
        printed = str(response.get("printed", ""))
        if "failed" in response:
            return Outcome(None, seconds, printed, handler_error(str(response["failed"]), str(response["text"])))
        result = _replacement(response.get("kind"), response.get("result"))
        return Outcome(result, seconds, printed, errors=response.get("errors") or {})

    def start(self) -> dict[str, Any]:
        """Start the subprocess and return its description of the handler: `reward`, `models` and `wrong`."""
        # Bytecode is not used: if a module was edited within one second, the old bytecode would run.
        flags = ["-I", "-B", "-S"] if self._packaged else ["-I", "-B"]
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="check-", ignore_cleanup_errors=True))
        arguments = [str(self._path), self._handler, str(self.memory * 1024 * 1024)]
        if self._packaged:  # a package sees no installed packages but those that are part of every Lambda runtime
            arguments += [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
        self._process = subprocess.Popen(  # noqa: S603 - the reward under check
            [sys.executable, *flags, _WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=clean_environment(folder) if self._environment is None else self._environment,
            start_new_session=os.name == "posix",
        )
        response = self._exchange_line(b"", _START_TIMEOUT, "was not loaded")
        if "failed" in response:
            self._stop()
            self._load_failure = str(response["failed"]), str(response["text"])
            raise handler_error(*self._load_failure)
        return response

    def fingerprint_names(self, fingerprint_module_path: str, module: str, names: Sequence[str]) -> dict[str, str]:
        """Run `value_fingerprint.py` in the started process, and return fingerprints of names of a module there."""
        arguments = {"fingerprint_module_path": fingerprint_module_path, "module": module, "names": names}
        request = json.dumps(arguments).encode() + b"\n"
        found: dict[str, str] = self._exchange_line(request, self.timeout, "did not answer").get("result", {})
        return found

    def _exchange_line(self, line: bytes, seconds: float, overrun: str) -> dict[str, Any]:
        """Send a line and return the response. Raise `RewardError` if the process is too slow or ends."""
        received: list[bytes] = []
        process = self._process

        def talk() -> None:
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write(line)
                process.stdin.flush()
                received.append(process.stdout.readline())

        thread = threading.Thread(target=talk, name="reward-check", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._stop()
            thread.join(5)
            raise timeout_error(overrun, seconds)
        if not received or not received[0]:
            code = self._stop(grace=0.2)  # a process that is ending by itself sets its own exit code
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise RewardError(
                f"The reward handler ended its process ({how}). In Lambda the whole batch would be lost; look for "
                "os._exit, a crash in native code, or too much memory.",
                code="died",
            )
        return cast("dict[str, Any]", json.loads(received[0]))

    def _stop(self, *, grace: float = 0.0) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if grace:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        code: int = process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        return code

    def close(self) -> None:
        """End the process and remove its folders."""
        self._stop()
        self._stack.close()


def clean_environment(folder: str) -> dict[str, str]:
    """Return environment variables without the user's keys, proxies and home."""
    if os.name == "posix":
        return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ}
    return {**kept, "TEMP": folder, "TMP": folder, "PYTHONDONTWRITEBYTECODE": "1"}


def _replacement(kind: object, result: Any) -> Any:
    """Return the result, or an object of the same kind as a result that the process could not send."""
    if kind == "coroutine":
        import asyncio

        return asyncio.sleep(0)
    return {"generator": iter(()), "bytes": b""}.get(str(kind), result)
