"""Server with fixed responses over loopback HTTP, in its own process, so that it costs neither side time.

It checks no request. `GET` of a job returns one job, `GET …/events` pages of a log, `POST /files`
reads and discards the body. It prints its port, and stops when its standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

EVENTS = 10_000
LARGEST_PAGE = 100
DEFAULT_PAGE = 20

JOB: dict[str, Any] = {
    "id": "ftjob-5e0d6a5c0c3f4d0b",
    "object": "fine_tuning.job",
    "created_at": 1771440000,
    "error": None,
    "estimated_finish": None,
    "fine_tuned_model": None,
    "finished_at": None,
    "hyperparameters": {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.0},
    "integrations": [],
    "metadata": {"owner": "benchmarks"},
    "method": {
        "type": "reinforcement",
        "reinforcement": {
            "grader": {
                "type": "lambda",
                "lambda": {"function": "arn:aws:lambda:us-west-2:123456789012:function:reward"},
            },
            "hyperparameters": {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.0},
        },
    },
    "model": "openai.gpt-oss-20b",
    "organization_id": "org-123",
    "result_files": [],
    "seed": 42,
    "status": "running",
    "trained_tokens": None,
    "training_file": "file-abc123",
    "validation_file": None,
}

FILE = {
    "id": "file-abc123",
    "object": "file",
    "bytes": 1,
    "created_at": 1771440000,
    "filename": "train.jsonl",
    "purpose": "fine-tune",
    "status": "processed",
}


def event(step: int) -> dict[str, Any]:
    """Return an event with the metrics of a training step."""
    return {
        "id": event_id(step),
        "object": "fine_tuning.job.event",
        "created_at": 1771440000 + step,
        "level": "info",
        "message": f"Step {step}/{EVENTS}: training metrics",
        "type": "metrics",
        "data": {
            "step": step,
            "total_steps": EVENTS,
            "critic_rewards_mean": 0.4375 + step / (4 * EVENTS),
            "actor_pg_loss": 0.1015,
            "actor_entropy": 0.6236 - step / (2 * EVENTS),
            "actor_grad_norm": 0.000867,
            "critic_advantages_mean": 0.0136,
            "response_length_mean": 519.09 + step / 100,
        },
    }


def event_id(step: int) -> str:
    """Return an id in the service's format for events."""
    return f"ftevent-00000000-0000-4000-8000-{step:012d}"


NEWEST_FIRST = [json.dumps(event(step)).encode() for step in range(EVENTS, 0, -1)]
PLACE = {event_id(step): EVENTS - step for step in range(EVENTS, 0, -1)}


def page(query: str) -> bytes:
    """Return the page of events after the cursor."""
    fields = parse_qs(query)
    size = min(int(fields.get("limit", [str(DEFAULT_PAGE)])[0]), LARGEST_PAGE)
    start = PLACE[fields["after"][0]] + 1 if "after" in fields else 0
    more = b"true" if start + size < EVENTS else b"false"
    return b'{"object":"list","data":[%b],"has_more":%b}' % (b",".join(NEWEST_FIRST[start : start + size]), more)


class Canned(BaseHTTPRequestHandler):
    """Handler of a keep-alive connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a job, or a page of its events."""
        parts = urlsplit(self.path)
        self._answer(page(parts.query) if parts.path.endswith("/events") else json.dumps(JOB).encode())

    def do_POST(self) -> None:
        """Read and discard the body."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self._skip_chunks()
        else:
            self._skip(int(self.headers["Content-Length"]))
        self._answer(json.dumps(FILE).encode())

    def _skip_chunks(self) -> None:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            self._skip(size)
            self.rfile.readline()
        self.rfile.readline()

    def _skip(self, left: int) -> None:
        while left:
            got = len(self.rfile.read1(min(left, 1 << 20)))
            if not got:
                raise ConnectionError("The body ended early.")
            left -= got

    def _answer(self, body: bytes) -> None:
        # One write, because a second small packet would wait for an acknowledgement.
        head = (
            f"HTTP/1.1 {HTTPStatus.OK.value} OK\r\nContent-Type: application/json\r\n"
            f"x-request-id: req_canned\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # without waiting for open connections


if __name__ == "__main__":
    main()
