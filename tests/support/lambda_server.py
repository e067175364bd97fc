"""AWS Lambda's API for invoking one function, on loopback."""

from __future__ import annotations

import base64
import io
import json
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any

from typing_extensions import Self

__all__ = ["ARN", "FakeLambda", "ScriptedLambda", "reply"]

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"


class FakeLambda:
    """Lambda endpoint that invokes a handler for any function name; it throttles one of `refuse_every` invocations.

    Attributes:
        url: the value for AWS_ENDPOINT_URL_LAMBDA.
        revision: the revision id of the function.
        done: number of invocations by result.
    """

    def __init__(self, handler: Callable[[Any, Any], Any], *, refuse_every: int = 0) -> None:
        self.revision = "1"
        self.done: Counter[str] = Counter()
        lock, fake = Lock(), self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet for each response, because a second would wait for an acknowledgement

            def do_GET(self) -> None:
                settings = {"FunctionName": "reward", "Timeout": 60, "RevisionId": fake.revision}
                self._send(200, json.dumps(settings).encode())

            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    refused = refuse_every and sum(fake.done.values()) % refuse_every == 0
                    fake.done["refused" if refused else "answered"] += 1
                if refused:
                    self._send(429, b'{"Type": "User", "message": "Rate Exceeded."}', "TooManyRequestsException")
                    return
                output, tail_requested = io.StringIO(), self.headers.get("x-amz-log-type") == "Tail"
                try:
                    with redirect_stdout(output):
                        body, failed = json.dumps(handler(event, None)).encode(), False
                except Exception as error:  # noqa: BLE001 - reported in the response
                    text = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": _stack(error)}
                    body, failed = json.dumps(text).encode(), True
                log = (
                    f"START RequestId: 1 Version: 1\n{output.getvalue()}END RequestId: 1\nREPORT RequestId: 1 Duration"
                )
                self._send(200, body, failed=failed, log=log[-4096:] if tail_requested else "")

            def _send(self, status: int, body: bytes, kind: str = "", *, failed: bool = False, log: str = "") -> None:
                self.send_response(status)
                tail = base64.b64encode(log.encode()).decode()
                for name, value in (
                    ("x-amzn-ErrorType", kind),
                    ("X-Amz-Function-Error", "Unhandled" * failed),
                    ("X-Amz-Log-Result", tail),
                ):
                    if value:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _stack(error: Exception) -> list[str]:
    """Return the stack trace in the format of Lambda's Python runtime, without its own frames."""
    return traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])


class ScriptedLambda:
    """A Lambda endpoint whose response to an invocation a test writes to the connection itself.

    Attributes:
        url: the value for AWS_ENDPOINT_URL_LAMBDA.
        timeout: the function's own timeout in seconds; None denies access to its settings.
    """

    def __init__(self, respond: Callable[[BaseHTTPRequestHandler], None], *, timeout: int | None = 60) -> None:
        self.timeout = timeout
        outer = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if outer.timeout is None:
                    reply(self, 403, b"{}", {"x-amzn-ErrorType": "AccessDeniedException"})
                else:
                    reply(self, 200, json.dumps({"FunctionName": "reward", "Timeout": outer.timeout}).encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                respond(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Send a complete response."""
    request.send_response(status)
    for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
