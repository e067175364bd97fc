"""Evaluate 2,000 prompts, 64 at a time, on a service that fails one request in twenty, and check the results.

`python tests/soak_evaluation.py --prompts 2000`, with the sync and the async client, each in a new process, against the
local service in a separate process. The exit status is 0 if:

- every prompt has its answer and its score;
- no answered prompt was sent again, as counted by the proxy;
- memory hardly grew after the first quarter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

from support.flaky_proxy import FlakyProxy

from bedrock_rft import AsyncClient, Client, datasets
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.local import LocalService
from bedrock_rft.rewards import Rollout, reward

__all__ = ["run"]

ClientKind = Literal["sync", "async"]
CLIENT_KINDS: tuple[ClientKind, ...] = ("sync", "async")
MODEL = "openai.gpt-oss-20b"
FAULTY = 0.05
AT_ONCE = 64
GROWTH = 16  # MiB of memory growth allowed after the first quarter


@reward
def is_right(rollout: Rollout) -> bool:
    """Return True if the answer ends with the reference."""
    return rollout.answer.strip(" .}").endswith(str(rollout.reference))


def records(count: int) -> list[dict[str, Any]]:
    """Return distinct prompts."""
    return [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}], "reference_answer": str(n + n)}
        for n in range(count)
    ]


def serve(data: str) -> None:
    """Run the service behind a flaky proxy until standard input ends; print its settings, then the counts."""
    with LocalService() as service, FlakyProxy(service.base_url, share=FAULTY) as proxy:
        with Client(**service.client_options("api_key")) as client:
            client.files.upload(data)
        key = service.client_options("api_key")["api_key"]
        settings = {"base_url": proxy.base_url, "region": service.region, "api_key": key}
        print(json.dumps(settings), flush=True)  # noqa: T201 - read by the parent process
        sys.stdin.read()
    print(json.dumps(proxy.done), flush=True)  # noqa: T201 - as above


@contextlib.contextmanager
def served(data: Path) -> Generator[tuple[dict[str, Any], dict[str, int]], None, None]:
    """Run the service in a separate process; yield its settings, and counts that are filled when it has ended."""
    command = [sys.executable, __file__, "--serve", str(data)]
    done: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), done
        finally:
            process.stdin.close()
            done.update(json.loads(process.stdout.readline() or "{}"))


def memory_in_mib() -> float:
    """Return the resident memory in MiB, or 0 if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def run(data: Path, kind: ClientKind, prompts: int) -> list[str]:
    """Evaluate all prompts, and return a line for each failed check."""
    memory: list[float] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "asked" and done == total // 4:
            memory.append(memory_in_mib())

    settings: dict[str, Any] = {
        "models": [MODEL],
        "reward": is_right,
        "concurrency": AT_ONCE,
        "progress": progress,
        "resume": data.with_suffix(f".{kind}"),
    }

    async def in_loop(options: dict[str, Any]) -> Evaluation:
        async with AsyncClient(**options) as client:
            return await client.evaluate(data, **settings)

    began = time.monotonic()
    with served(data) as (options, done):
        if kind == "async":
            report = asyncio.run(in_loop(options))
        else:
            with Client(**options) as client:
                report = client.evaluate(data, **settings)
        memory.append(memory_in_mib())
    result, lost = report.models[0], sum(done.values()) - done["passed"]
    grown = memory[-1] - memory[0]
    print(  # noqa: T201 - a script
        f"{kind}: {result.answers:,} answers to {prompts:,} prompts in {time.monotonic() - began:.1f} s; "
        f"{done['passed']:,} answered, {lost:,} requests lost; memory {memory[-1]:.0f} MiB, {grown:+.1f} MiB"
    )
    checks = {
        "an answer is missing": result.answers == prompts and not result.failed,
        "a prompt was sent twice": done["passed"] == prompts,
        "too few requests were lost for a valid test": lost > prompts * FAULTY / 2,
        "memory grew": grown < GROWTH,
        "not everything is in the file": settings["resume"].read_bytes().count(b"\n") == 2 * prompts,
    }
    return [f"{kind}: {what}" for what, held in checks.items() if not held]


def main() -> int:
    """Run both clients, one after the other; return 1 if a check failed."""
    parser = argparse.ArgumentParser(description="Evaluate on many prompts through faults.")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--kind", choices=CLIENT_KINDS, help="run one of them, in this process")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "many.jsonl")
        datasets.write(data, records(options.prompts))
        if options.client:
            troubles = run(data, options.client, options.prompts)
        else:
            again = [sys.executable, __file__, "--prompts", str(options.prompts), "--kind"]
            ended = {one: subprocess.run([*again, one], check=False).returncode for one in CLIENT_KINDS}  # noqa: S603 - ours
            troubles = [kind for kind, status in ended.items() if status]
    for trouble in troubles:
        print(f"FAILED {trouble}", file=sys.stderr)  # noqa: T201 - as above
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
