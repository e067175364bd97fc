"""Send many concurrent signed calls to a service that fails now and then, and check every result.

`make soak`, or `python tests/soak.py --calls 10000`: from 64 threads, then from 1,000 tasks. A server in a
separate process checks every signature. In 5 % of the exchanges it resets the connection, responds with 503, or
truncates its response; half of the time it has carried out the request. The exit status is 0 if:

- every call got its own response;
- every creation made one job, or raised `AmbiguousCreateError` and made at most one;
- memory and open files did not grow after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from botocore.credentials import Credentials

import bedrock_rft  # its names load with their first use, and the server uses none
from bedrock_rft.local._http.signature import Credential, InvalidSignatureError, verify

__all__ = ["Outcome", "run", "served"]

KEY, SECRET, TOKEN = "AKIASOAK00000001", "soak-secret", "soak-token"
API_KEY = "soak-api-key"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
JOBS = "/v1/fine_tuning/jobs"
FAULTY = 0.05
CREATIONS = 50  # one of this many calls creates a job
GROWTH = 16  # MiB of memory growth allowed after the warm-up
RETRIES = 6  # 0.05 ** 7 is about one call in a billion


# The service


@dataclass
class Service:
    """Server that counts its requests and faults."""

    dice: random.Random
    faulty: float
    jobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    done: Counter[str] = field(default_factory=Counter[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = top.strip().split("\r\n")
        method, target, _ = request.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        stated = {name.lower(): value for name, value in headers}
        body = await reader.readexactly(int(stated.get("content-length", 0)))
        if target == "/summary":
            return await self._send(writer, 200, {"jobs": self.jobs, "done": self.done})
        self.done["requests"] += 1
        if not self._is_signed(method, target, headers, body):
            self.done["unsigned"] += 1
            return await self._send(writer, 401, {"error": {"code": "invalid_api_key", "message": "no"}})
        fault = self.dice.choice(["reset", "503", "cut"]) if self.dice.random() < self.faulty else ""
        first = self.dice.random() < 0.5  # fail before carrying out the request
        self.done[f"fault {fault}"] += bool(fault)
        if not (fault and first):
            status, answer = self._carry_out(method, target, body)
        else:
            status, answer = 200, {}
        if fault == "reset":
            # With a linger time of 0, close sends a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if fault == "503":
            return await self._send(writer, 503, {"error": {"message": "busy"}})
        return await self._send(writer, status, answer, cut=fault == "cut")

    async def _send(self, writer: asyncio.StreamWriter, status: int, answer: Any, *, cut: bool = False) -> bool:
        body = json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body[: len(body) // 2] if cut else body)
        await writer.drain()
        return not cut

    def _is_signed(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> bool:
        from datetime import datetime, timezone

        if ("authorization", f"Bearer {API_KEY}") in [(name.lower(), value) for name, value in headers]:
            return True
        path, _, query = target.encode().partition(b"?")
        try:
            verify(
                method, path, query, headers, sha256(body).hexdigest(),
                lookup={KEY: Credential(KEY, SECRET, TOKEN)}.get, region="us-west-2", now=datetime.now(timezone.utc),
            )  # fmt: skip
        except InvalidSignatureError:
            return False
        return True

    def _carry_out(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        if path.startswith("/v1/models/"):
            return 200, {"id": path.rpartition("/")[2], "object": "model"}
        if (method, path) == ("POST", JOBS):
            made = {**json.loads(body), "id": f"ftjob-{len(self.jobs)}", "created_at": int(time.time())}
            self.jobs.append({**made, "status": "queued"})
            return 200, self.jobs[-1]
        if path == JOBS:
            asked = parse_qs(query)
            newest = self.jobs[::-1]
            ids = [job["id"] for job in newest]
            start = ids.index(asked["after"][0]) + 1 if "after" in asked else 0
            page = newest[start : start + 100]
            return 200, {"data": page, "has_more": start + 100 < len(newest)}
        number = re.fullmatch(rf"{JOBS}/ftjob-(\d+)", path)
        return (200, self.jobs[int(number[1])]) if number else (404, {})


async def _serve_until_eof(seed: int, faulty: float) -> None:
    service = Service(random.Random(seed), faulty)  # noqa: S311 - chooses faults
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - read by the parent process
    await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def served(seed: int = 0, faulty: float = FAULTY) -> Generator[str, None, None]:
    """Run the service in a separate process, and yield its address up to the port."""
    command = [sys.executable, __file__, "--serve", "--seed", str(seed), "--faulty", str(faulty)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate()


# The callers


@dataclass
class Outcome:
    """Results of a run.

    Attributes:
        way: the kind of callers.
        calls: number of calls.
        lost: calls that raised an unexpected exception.
        wrong: responses that belong to another call.
        asked: creations, with the ids of their jobs.
        made: jobs that exist.
        doubled: creations with more than one job.
        missing: creations that returned a job that does not exist, and jobs of no creation.
        unsure: creations that raised `AmbiguousCreateError`.
        unsigned: requests without a valid signature.
        faults: exchanges that failed on purpose.
        seconds: duration of the run.
        memory: MiB after the warm-up and at the end; empty if the system does not report it.
        files: open files before, and after the client was closed; empty if the system does not report them.
    """

    way: str
    calls: int = 0
    lost: list[str] = field(default_factory=list[str])
    wrong: int = 0
    asked: dict[str, str] = field(default_factory=dict[str, str])
    made: int = 0
    doubled: int = 0
    missing: int = 0
    unsure: int = 0
    unsigned: int = 0
    faults: int = 0
    seconds: float = 0.0
    memory: tuple[float, ...] = ()
    files: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Return True if nothing was lost or duplicated, and nothing grew."""
        flat = not self.memory or self.memory[1] - self.memory[0] < GROWTH
        closed = not self.files or self.files[1] <= self.files[0]
        return flat and closed and not (self.lost or self.wrong or self.doubled or self.missing or self.unsigned)

    def record(self, number: int, answer: Any) -> None:
        """Record a response or an exception."""
        self.calls += 1
        name = f"call-{number}"
        if isinstance(answer, bedrock_rft.AmbiguousCreateError):
            self.unsure += 1
            self.asked[name] = ""
        elif isinstance(answer, BaseException):
            self.lost.append(f"{name}: {answer!r}")
        elif is_creation(number):
            self.asked[name] = answer.id
        else:
            self.wrong += answer.id != name

    def compare(self, summary: dict[str, Any]) -> None:
        """Compare the responses with the jobs of the service."""
        there: dict[str, list[str]] = {}
        for job in summary["jobs"]:
            there.setdefault(job["metadata"]["call"], []).append(job["id"])
        self.made = sum(map(len, there.values()))
        self.doubled = sum(len(ids) > 1 for ids in there.values())
        self.missing = sum(bool(job) and there.get(name) != [job] for name, job in self.asked.items())
        self.missing += len(set(there) - set(self.asked))
        self.unsigned = summary["done"].get("unsigned", 0)
        self.faults = sum(count for name, count in summary["done"].items() if name.startswith("fault "))


def is_creation(number: int) -> bool:
    """Return True if this call creates a job."""
    return number % CREATIONS == 0


def settings(address: str, auth: str) -> dict[str, Any]:
    who: dict[str, Any] = (
        {"api_key": API_KEY} if auth == "api_key" else {"credentials": Credentials(KEY, SECRET, TOKEN)}
    )
    return {"region": "us-west-2", "base_url": f"{address}/v1", "max_retries": RETRIES, "timeout": 60.0, **who}


def job_arguments(number: int) -> dict[str, Any]:
    return {"training_file": "file-1", "reward": ARN, "metadata": {"call": f"call-{number}"}}


def _threads(outcome: Outcome, address: str, auth: str, numbers: range, workers: int, warm: int) -> None:
    with bedrock_rft.Client(**settings(address, auth)) as client, ThreadPoolExecutor(workers) as pool:

        def call(number: int) -> Any:
            try:
                if is_creation(number):
                    return client.jobs.create("openai.gpt-oss-20b", **job_arguments(number))
                return client.models.retrieve(f"call-{number}")
            except Exception as error:  # noqa: BLE001 - every exception is counted
                return error

        for place, answer in enumerate(pool.map(call, numbers)):
            outcome.record(numbers[place], answer)
            if place + 1 == warm:
                outcome.memory = _memory()
        outcome.memory += _memory()


async def _tasks(outcome: Outcome, address: str, auth: str, numbers: range, workers: int, warm: int) -> None:
    waiting = iter(numbers)
    async with bedrock_rft.AsyncClient(**settings(address, auth)) as client:

        async def work() -> None:
            for number in waiting:
                answer: Any
                try:
                    if is_creation(number):
                        answer = await client.jobs.create("openai.gpt-oss-20b", **job_arguments(number))
                    else:
                        answer = await client.models.retrieve(f"call-{number}")
                except Exception as error:  # noqa: BLE001 - every exception is counted
                    answer = error
                outcome.record(number, answer)
                if outcome.calls == warm:
                    outcome.memory = _memory()

        await asyncio.gather(*(work() for _ in range(workers)))
        outcome.memory += _memory()


def run(*, calls: int, workers: int, tasks: bool, auth: str = "aws", seed: int = 0, faulty: float = FAULTY) -> Outcome:
    """Call from a number of concurrent threads or tasks, and compare the results with the jobs of the service."""
    outcome = Outcome(f"{workers:,} {'tasks' if tasks else 'threads'}, {auth}")
    numbers, warm = range(calls), max(calls * 2 // 5, 1)
    with served(seed, faulty) as address:
        warm_up(address, auth, tasks=tasks)
        before, began = _files(), time.monotonic()
        if tasks:
            asyncio.run(_tasks(outcome, address, auth, numbers, workers, warm))
        else:
            _threads(outcome, address, auth, numbers, workers, warm)
        outcome.seconds = time.monotonic() - began
        gc.collect()
        outcome.files = before + _files()
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/summary") as summary:
            outcome.compare(json.loads(summary.read()))
    return outcome


def warm_up(address: str, auth: str, *, tasks: bool) -> None:
    """Make one call, so that modules are loaded before anything is measured."""

    async def call_async() -> None:
        async with bedrock_rft.AsyncClient(**settings(address, auth)) as client:
            await client.models.retrieve("first")

    if tasks:
        asyncio.run(call_async())
    else:
        with bedrock_rft.Client(**settings(address, auth)) as client:
            client.models.retrieve("first")


def _memory() -> tuple[float, ...]:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return (int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20,)
    except (OSError, ValueError):
        return ()


def _files() -> tuple[int, ...]:
    for place in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return (len(list(Path(place).iterdir())),)
    return ()


def _raise_file_limit() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))


COLUMNS = ("calls", "calls/s", "faults", "lost", "wrong", "jobs asked", "made", "doubled", "unsure", "MiB", "files", "")


def row(outcome: Outcome) -> list[str]:
    """Return a line of the table."""
    memory = " → ".join(f"{each:.0f}" for each in outcome.memory) or "not measured"
    files = " → ".join(map(str, outcome.files)) or "not measured"
    return [
        f"{outcome.calls:,}", f"{outcome.calls / outcome.seconds:,.0f}", f"{outcome.faults:,}", str(len(outcome.lost)),
        str(outcome.wrong + outcome.missing), str(len(outcome.asked)), str(outcome.made), str(outcome.doubled),
        str(outcome.unsure), memory, files, "held" if outcome.passed else "BROKEN",
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--auth", choices=("aws", "api_key"), default="aws")
    parser.add_argument("--seed", type=int, default=0, help="which exchanges fail")
    parser.add_argument("--faulty", type=float, default=FAULTY, help="the share of exchanges that fail")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _raise_file_limit()
    if options.serve:
        asyncio.run(_serve_until_eof(options.seed, options.faulty))
        return 0
    outcomes: list[Outcome] = []
    for workers, tasks in ((options.threads, False), (options.tasks, True)):
        given: dict[str, Any] = {name: getattr(options, name) for name in ("calls", "auth", "seed", "faulty")}
        outcomes.append(run(workers=workers, tasks=tasks, **given))
        for problem in outcomes[-1].lost[:5]:
            print(problem)  # noqa: T201 - a script
    table = [["", *COLUMNS], *([outcome.way, *row(outcome)] for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))  # noqa: T201 - a script
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
