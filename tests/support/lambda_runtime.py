"""AWS's runtime interface client for Python, run over a Runtime API on loopback as Lambda runs it."""

from __future__ import annotations

import io
import json
import os
import queue
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

from typing_extensions import Self

from bedrock_rft.rewards import Package

__all__ = ["LambdaRuntime", "Response", "find_interpreter"]

_MAX_RESPONSE_BYTES = 6_291_556
_PREFIX = "/2018-06-01/runtime"
_ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
_FIND = """
import importlib.metadata, json
import awslambdaric.bootstrap, botocore, runtime_client  # compiled for this Python
names = "awslambdaric simplejson snapshot-restore-py botocore jmespath python-dateutil urllib3 six".split()
found = {str(dist.locate_file(file.parts[0])) for dist in map(importlib.metadata.distribution, names)
         for file in dist.files if file.parts[0] != ".."}
print(json.dumps(sorted(found)))
"""


class Response(NamedTuple):
    """One message of the runtime: `response`, `too_large`, `error`, `init_error` or `exited`, with its JSON body."""

    kind: str
    body: Any


@cache
def find_interpreter(runtime: str) -> tuple[str, list[str]] | None:
    """Return the interpreter of a Lambda runtime and the paths of awslambdaric and the libraries that Lambda has."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = sys.executable if runtime == own else shutil.which(runtime)
    if interpreter is not None:
        done = subprocess.run([interpreter, "-c", _FIND], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return interpreter, json.loads(done.stdout)
    return None


class LambdaRuntime:
    """A process of awslambdaric with an unpacked package, in an environment that has nothing else."""

    def __init__(
        self,
        package: Package,
        folder: Path,
        runtime: str,
        *,
        handler: str | None = None,
        source: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process with further variables; `source` replaces the file that has the handler."""
        found = find_interpreter(runtime)
        assert found is not None, runtime
        interpreter, paths = found
        task, libraries = folder / "task", folder / "runtime"
        libraries.mkdir(parents=True)
        for path in map(Path, paths):
            (libraries / path.name).symlink_to(path)
        with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
            archive.extractall(task)
        if source is not None:
            (task / "lambda_function.py").write_text(source, encoding="utf-8")
        self._log = folder / "log"
        self._responses: queue.Queue[Response] = queue.Queue()
        self._events: queue.Queue[tuple[bytes, float]] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _runtime_api(self._events, self._responses))
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": "reward",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(package.memory),
            "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "ASIATESTTESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nothing listens there
            "LAMBDA_TASK_ROOT": str(task),
            "PYTHONPATH": str(libraries),
            "PATH": os.defpath,
            **(variables or {}),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [interpreter, "-S", "-s", "-B", "-m", "awslambdaric", handler or package.handler],
                cwd=task,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """The output of the process so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def log_events(self) -> list[str]:
        """The output as Lambda sends it to CloudWatch: the lines of one event are separated by carriage returns."""
        return [line for line in self._log.read_bytes().decode("utf-8", "replace").split("\n") if line]

    def invoke(self, event: object, *, timeout: float = 30.0) -> Response:
        """Send an event and return the response; end the process after the timeout in seconds, as Lambda does."""
        self._events.put((json.dumps(event).encode(), time.time() + timeout))
        return self.wait(timeout)

    def wait(self, timeout: float) -> Response:
        """Return the next message of the runtime, or the end of the process."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                return self._responses.get(timeout=0.02)
            except queue.Empty:
                if self._process.poll() is not None and self._responses.empty():
                    return Response("exited", self._process.returncode)
        self._process.kill()
        return Response("exited", "timeout")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()


def _runtime_api(
    events: queue.Queue[tuple[bytes, float]], responses: queue.Queue[Response]
) -> type[BaseHTTPRequestHandler]:
    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            assert self.path == f"{_PREFIX}/invocation/next", self.path
            body, deadline = events.get()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid4()))
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", _ARN)
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self._read_body()
            kind = "init_error" if self.path == f"{_PREFIX}/init/error" else self.path.rpartition("/")[2]
            too_large = kind == "response" and len(body) > _MAX_RESPONSE_BYTES
            responses.put(Response("too_large" if too_large else kind, json.loads(body)))
            accepted = b'{"status":"OK"}'
            self.send_response(413 if too_large else 202)
            self.send_header("Content-Length", str(len(accepted)))
            self.end_headers()
            self.wfile.write(accepted)

        def _read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Print nothing."""

    return Api
