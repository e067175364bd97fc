"""Fake Bedrock runtime on loopback: the Converse operation with scripted answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Reply = tuple[int, str, Any]
"""Status, error code, and the text of the model or the whole body."""


class Runtime:
    """Requests received and answers to give."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.models: list[str] = []
        self.answer: Callable[[int], Reply] = lambda _: (200, "", '{"score": 5}')
        self.url = ""
        self.delay = 0.0
        self.most = 0
        self._under_way = 0
        self._lock = threading.Lock()

    def take(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Answer one request."""
        with self._lock:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self.asked.append(json.loads(body))
            self.models.append(unquote(path.split("/")[2]))
            number = len(self.asked)
        time.sleep(self.delay)
        status, code, said = self.answer(number)
        with self._lock:
            self._under_way -= 1
        if status != 200:
            return status, code, json.dumps({"message": f"no: {said}"}).encode()
        if isinstance(said, str):
            said = {
                "output": {"message": {"role": "assistant", "content": [{"text": said}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100},
                "metrics": {"latencyMs": 1},
            }
        return status, code, json.dumps(said).encode()


@contextmanager
def runtime() -> Generator[Runtime]:
    """Serve on a loopback port for the duration of a `with` block."""
    found = Runtime()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, code, content = found.take(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if code:
                self.send_header("x-amzn-ErrorType", code)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
