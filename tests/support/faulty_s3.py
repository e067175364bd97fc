"""An S3 on loopback that stores objects, or fails in a way that a test chooses."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Literal

from typing_extensions import Self

__all__ = ["Fault", "FaultyS3"]

Fault = Literal["slow", "trickle", "denied", "full", "missing", "broken", "closed"]

_ERRORS = {
    "denied": (403, "AccessDenied", "User: arn:aws:sts::1:assumed-role/x is not authorized"),
    "full": (503, "SlowDown", "Please reduce your request rate."),
    "missing": (404, "NoSuchBucket", "The specified bucket does not exist"),
    "broken": (500, "InternalError", "We encountered an internal error. Please try again."),
}


class FaultyS3:
    """An endpoint for `AWS_ENDPOINT_URL_S3`.

    Attributes:
        url: its address.
        fault: how it fails; None stores the object.
        objects: the stored bytes by path.
        headers: the headers of the last request.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self._stopped = Event()
        outer = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                outer.headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.fault == "slow":
                    outer._stopped.wait(20)
                if outer.fault == "trickle":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-slow: ")
                    while not outer._stopped.wait(0.2):
                        self.wfile.write(b".")
                if outer.fault in {"slow", "trickle", "closed"}:
                    self.close_connection = True
                elif outer.fault in _ERRORS:
                    status, code, text = _ERRORS[outer.fault]
                    self._send(status, f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode())
                else:
                    outer.objects[self.path] = body
                    self._send(200, b"")

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Print nothing."""

        self._server = _Server(("127.0.0.1", 0), Api)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore that a client gave up."""
