"""2,000 prompts asked at once, 64 at a time, of a service that loses one request in twenty: what an evaluation keeps.

`python tests/soak_evaluation.py --prompts 2000`, in both colours, a process for each, against the local service in a
process of its own. The exit status says whether all of this held:

- every prompt has its answer and its score;
- nothing that was answered was asked again, counted where the answers pass;
- memory after the first quarter is what it is at the end, but for the answers themselves.
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

Colour = Literal["blocking", "async"]
COLOURS: tuple[Colour, ...] = ("blocking", "async")
MODEL = "openai.gpt-oss-20b"
FAULTY = 0.05
AT_ONCE = 64
GROWTH = 16  # MiB that memory may grow by from the first quarter on


@reward
def right(rollout: Rollout) -> bool:
    """Whether the answer ends in the reference."""
    return rollout.answer.strip(" .}").endswith(str(rollout.reference))


def records(count: int) -> list[dict[str, Any]]:
    """Prompts, no two of them alike."""
    return [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}], "reference_answer": str(n + n)}
        for n in range(count)
    ]


def serve(data: str) -> None:
    """The service, behind what loses requests, until the standard input ends; told in one line each."""
    with LocalService() as service, FlakyProxy(service.base_url, share=FAULTY) as proxy:
        with Client(**service.client_options("api_key")) as client:
            client.files.upload(data)
        key = service.client_options("api_key")["api_key"]
        told = {"base_url": proxy.base_url, "region": service.region, "api_key": key}
        print(json.dumps(told), flush=True)  # noqa: T201 - for the process that started this one
        sys.stdin.read()
    print(json.dumps(proxy.done), flush=True)  # noqa: T201 - as above


@contextlib.contextmanager
def served(data: Path) -> Generator[tuple[dict[str, Any], dict[str, int]], None, None]:
    """How to reach the service; and, once it has ended, what passed and what was lost."""
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


def resident() -> float:
    """MiB in memory, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def run(data: Path, colour: Colour, prompts: int) -> list[str]:
    """Evaluate, and say what did not hold."""
    memory: list[float] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "asked" and done == total // 4:
            memory.append(resident())

    settings: dict[str, Any] = {
        "models": [MODEL],
        "reward": right,
        "concurrency": AT_ONCE,
        "progress": progress,
        "resume": data.with_suffix(f".{colour}"),
    }

    async def in_loop(options: dict[str, Any]) -> Evaluation:
        async with AsyncClient(**options) as client:
            return await client.evaluate(data, **settings)

    began = time.monotonic()
    with served(data) as (options, done):
        if colour == "async":
            report = asyncio.run(in_loop(options))
        else:
            with Client(**options) as client:
                report = client.evaluate(data, **settings)
        memory.append(resident())
    result, lost = report.models[0], sum(done.values()) - done["passed"]
    grown = memory[-1] - memory[0]
    print(  # noqa: T201 - this is a command
        f"{colour}: {result.answers:,} answers to {prompts:,} prompts in {time.monotonic() - began:.1f} s; "
        f"{done['passed']:,} answered, {lost:,} requests lost; memory {memory[-1]:.0f} MiB, {grown:+.1f} MiB"
    )
    checks = {
        "an answer is missing": result.answers == prompts and not result.failed,
        "something was asked twice": done["passed"] == prompts,
        "too few requests were lost for this to show anything": lost > prompts * FAULTY / 2,
        "memory grew": grown < GROWTH,
        "not everything is in the file": settings["resume"].read_bytes().count(b"\n") == 2 * prompts,
    }
    return [f"{colour}: {what}" for what, held in checks.items() if not held]


def main() -> int:
    """Both colours, one after the other; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description="Evaluate on many prompts through faults.")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--colour", choices=COLOURS, help="one of them, in this process")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "many.jsonl")
        datasets.write(data, records(options.prompts))
        if options.colour:
            troubles = run(data, options.colour, options.prompts)
        else:
            again = [sys.executable, __file__, "--prompts", str(options.prompts), "--colour"]
            ended = {one: subprocess.run([*again, one], check=False).returncode for one in COLOURS}  # noqa: S603 - ours
            troubles = [colour for colour, status in ended.items() if status]
    for trouble in troubles:
        print(f"FAILED {trouble}", file=sys.stderr)  # noqa: T201 - as above
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
