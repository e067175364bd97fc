"""Run `bedrock-rft` in this process and as a process of its own, with a local service."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from bedrock_rft import Client
from bedrock_rft._cli.app import root, run
from bedrock_rft._cli.command import PROGRAM
from bedrock_rft.local import LocalService
from support.scripts import run_python

__all__ = ["ARN", "Done", "command", "every_command", "process", "records", "score"]

ARN = "arn:aws:lambda:us-west-2:123456789012:function:sums"


def score(event: Any, _: object) -> list[dict[str, Any]]:
    def right(rollout: dict[str, Any]) -> bool:
        reference = rollout["metadata"]["reference_answer"]
        return bool(rollout["messages"][-1]["content"].split()[-1:] == [str(reference)])

    return [{"id": rollout["id"], "aggregate_reward_score": float(right(rollout))} for rollout in event]


def records(count: int = 100) -> str:
    lines = (
        {"messages": [{"role": "user", "content": f"What is {n} plus {n % 7}?"}], "reference_answer": str(n + n % 7)}
        for n in range(count)
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result as JSON values."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error that was printed as JSON, after any warnings."""
        return json.loads(self.err[self.err.index("{\n") :])["error"]


class _Terminal(io.StringIO):
    """Standard input that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def command(*arguments: object, stdin: str | None = None, terminal: bool = False) -> Done:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        previous = sys.stdin
        stack.callback(setattr, sys, "stdin", previous)
        sys.stdin = (_Terminal if terminal else io.StringIO)(stdin or "")
        code = run([str(each) for each in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def every_command() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield each command and group, with its words and its context."""

    def walk(inner: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
        yield context.command_path, inner, context
        if isinstance(inner, click.Group):
            for name in inner.list_commands(context):
                found = inner.get_command(context, name)
                assert found is not None
                yield from walk(found, click.Context(found, parent=context, info_name=name, terminal_width=78))

    yield from walk(root, click.Context(root, info_name=PROGRAM, terminal_width=78))


def process(
    *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, stdin: str = ""
) -> Done:
    """Run a command as a process of its own, without a terminal."""
    done = run_python("-m", "bedrock_rft", *arguments, cwd=cwd, environment=environment, stdin=stdin)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def shared_service() -> Iterator[LocalService]:
    with LocalService(reward=score) as service:
        yield service


@pytest.fixture
def service(shared_service: LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalService:
    """Point the environment at a local service, in a folder with `train.jsonl`."""
    for name, value in shared_service.environment("aws").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text(records())
    return shared_service


@pytest.fixture
def client(service: LocalService) -> Iterator[Client]:
    with Client(**service.client_options()) as client:
        yield client


@pytest.fixture(scope="session")
def finished_job(shared_service: LocalService) -> str:
    """Return the id of a job that has succeeded."""
    with Client(**shared_service.client_options()) as client:
        file = client.files.upload(records().encode(), filename="shared.jsonl")
        job = client.jobs.create(
            "openai.gpt-oss-20b", training_file=file, reward=ARN, name="finished", hyperparameters={"batch_size": 25}
        )
        return client.jobs.wait(job, poll_interval=0.05).id
