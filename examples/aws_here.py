"""IAM, Lambda, STS and CloudWatch Logs emulated on this machine, to rehearse a deployment without AWS.

    pip install 'moto[awslambda]' flask flask-cors

moto stores the roles and functions. Functions are really executed: each version runs in a separate process that can
import only the standard library and the contents of its zip, as in Lambda. A process handles one event at a time. Its
output, and a REPORT line for each invocation, go to the function's log.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from typing_extensions import Self

ACCOUNT = "123456789012"
INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")

WORKER = """
import contextlib, importlib, io, json, sys, traceback
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].rpartition(".")
answers, sys.stdout = sys.stdout, sys.stderr
handler = None

def peak():
    try:  # not getrusage, which on Linux also counts the process that started this one
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        return 0

for line in sys.stdin:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            handler = handler or getattr(importlib.import_module(module), name)
            told = {"result": json.dumps(handler(json.loads(line), None))}
    except Exception as error:
        told = {"error": {"errorType": type(error).__name__, "errorMessage": str(error)}}
        lines = [f"[ERROR] {type(error).__name__}: {error}", "Traceback (most recent call last):"]
        lines += "".join(traceback.format_tb(error.__traceback__)[1:]).splitlines()
        print("\\r".join(lines), file=said)
    print(json.dumps({**told, "log": said.getvalue(), "memory": peak()}), file=answers, flush=True)
"""


class Lambda:
    """One version of a function: its unpacked zip and the process that runs its handler."""

    def __init__(self, content: bytes, handler: str) -> None:
        self._stack = contextlib.ExitStack()
        self._busy = threading.Lock()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lambda-", ignore_cleanup_errors=True))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        self._process = subprocess.Popen(  # noqa: S603 - the function that was deployed
            [sys.executable, "-I", "-S", "-c", WORKER, folder, handler],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ
            },  # Windows cannot start a process without it
            cwd=folder,
        )
        self._stack.callback(self._stop)

    def invoke(self, event: bytes) -> dict[str, Any]:
        """Invoke the handler with one event."""
        with self._busy:
            if self._process.stdin is None or self._process.stdout is None:
                raise RuntimeError("The process has no pipes.")
            self._process.stdin.write(json.dumps(json.loads(event or b"null")).encode() + b"\n")
            self._process.stdin.flush()
            told = self._process.stdout.readline()
        ended = {
            "error": {"errorType": "Runtime.ExitError", "errorMessage": "The process ended."},
            "log": "",
            "memory": 0,
        }
        found: dict[str, Any] = json.loads(told) if told else ended
        return found

    def close(self) -> None:
        """End the process and remove the unpacked files."""
        self._stack.close()

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def write_log(function: Any, region: str, told: dict[str, Any], seconds: float, start: float | None) -> None:
    """Write the lines of one invocation to the function's log, as Lambda does."""
    from moto.logs.models import logs_backends

    logs, group, stream = logs_backends[ACCOUNT][region], f"/aws/lambda/{function.function_name}", function.code_sha_256
    if group not in logs.groups:
        logs.create_log_group(group, {})
    if stream not in logs.groups[group].streams:
        logs.create_log_stream(group, stream)
    request, now, memory = uuid4(), int(time.time() * 1000), function.memory_size
    report = (
        f"REPORT RequestId: {request}\tDuration: {seconds * 1000:.2f} ms\tBilled Duration: {seconds * 1000:.0f} ms\t"
    )
    report += f"Memory Size: {memory} MB\tMax Memory Used: {told['memory']} MB\t"
    report += f"Init Duration: {start * 1000:.2f} ms\t" if start is not None else ""
    first, last = f"START RequestId: {request} Version: {function.version}", f"END RequestId: {request}"
    texts = [first, *told["log"].split("\n"), last, report]
    logs.put_log_events(group, stream, [{"timestamp": now, "message": text} for text in texts if text])


class Emulation:
    """WSGI application for all of the services. It executes functions, and passes other requests on to `moto`."""

    def __init__(self) -> None:
        from moto.moto_server import werkzeug_app as moto

        self.moto: Any = moto.DomainDispatcherApplication(moto.create_backend_app)
        self._running: dict[tuple[str, str], Lambda] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        asked = INVOKE.fullmatch(environ["PATH_INFO"])
        return self.moto(environ, start) if asked is None else self._invoke(unquote(asked[1]), environ, start)

    def close(self) -> None:
        """End the processes of all functions."""
        for one in self._running.values():
            one.close()

    def _invoke(self, name: str, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        from moto.awslambda.models import lambda_backends

        region = re.findall(r"/([a-z0-9-]+)/lambda/aws4_request", environ["HTTP_AUTHORIZATION"])[0]
        event = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            function = lambda_backends[ACCOUNT][region].get_function(name)
        except Exception as error:  # noqa: BLE001 - moto raises different errors for a missing function
            body = json.dumps({"Type": "User", "Message": str(error)}).encode()
            start(
                "404 Not Found", [("x-amzn-errortype", "ResourceNotFoundException"), ("content-length", f"{len(body)}")]
            )
            yield body
            return
        begun = time.monotonic()
        with self._lock:
            key = (function.code_sha_256, str(function.handler))
            cold = key not in self._running
            if cold:
                self._running[key] = Lambda(function.code_bytes, key[1])
        ready = time.monotonic()
        told = self._running[key].invoke(event)
        seconds = time.monotonic() - ready
        with self._lock:
            write_log(function, region, told, seconds, ready - begun if cold else None)
        body = told["result"].encode() if "result" in told else json.dumps(told["error"]).encode()
        log = base64.b64encode(told["log"][-4000:].encode()).decode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("x-amz-log-result", log)]
        start("200 OK", headers if "result" in told else [*headers, ("x-amz-function-error", "Unhandled")])
        yield body


class AwsHere:
    """The emulated services, for the duration of a `with` block."""

    def __init__(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - as the class it overrides
                pass

        self._emulation = Emulation()
        self._server = make_server("127.0.0.1", 0, self._emulation, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that keep botocore on this machine."""
        return {
            **{f"AWS_ENDPOINT_URL_{service}": self.url for service in ("LAMBDA", "IAM", "STS", "CLOUDWATCH_LOGS")},
            "AWS_ACCESS_KEY_ID": "AKIAREHEARSAL0000001",
            "AWS_SECRET_ACCESS_KEY": "rehearsal-only",
        }

    def empty(self) -> None:
        """Delete every role and function. moto keeps them per process, not per server."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")  # noqa: S310 - of this machine
        with urllib.request.urlopen(request):  # noqa: S310 - as above
            pass

    def __enter__(self) -> Self:
        self._thread.start()
        self.empty()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._emulation.close()
