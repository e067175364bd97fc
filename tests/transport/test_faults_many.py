"""Interruptions, forks and many requests at once: each response belongs to its request, and nothing is left open."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from soak import _files, _memory
from support.fault_client import ACCESS_KEY, KEY, SECRET, TOKEN, WAYS, Caller, check_error, create, ctrl_c
from support.fault_server import Faults, always, carried_out, slow, stall, status
from support.scripts import run_python

from bedrock_rft import AsyncClient, Client
from bedrock_rft._transport import http_client
from bedrock_rft.errors import APITimeoutError

row = pytest.mark.row
LONG = 10.0  # seconds: the interrupted requests would take thirty, and a busy machine is slow


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, *request.param)
    yield caller
    caller.check_identity()


@pytest.fixture(params=["api_key", "aws"])
def sync_caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, request.param, "sync")
    yield caller
    caller.check_identity()


def measure_process() -> tuple[float, ...]:
    """Return the memory in MiB and the open files of this process, or an empty tuple on other systems."""
    return (*_memory(), *_files()) if _memory() and _files() else ()


# Ctrl-C.


@row("I01")
def test_ctrl_c_ends_an_upload_and_leaves_no_temporary_file(
    caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    caller.server.script_early("POST", "/files", [ctrl_c(stall, after=0.1)])
    records = [{"text": "x" * 1000}] * 16_000  # more than the buffers of two sockets hold
    before = threading.active_count()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        caller(lambda client: client.files.upload(iter(records), validate=False), timeout=30.0)
    assert len(caller.server.begun) == 1
    assert time.monotonic() - began < LONG
    assert list(tmp_path.rglob("*")) == []
    assert threading.active_count() <= before + 2  # threads of the server


INTERRUPTED = """
from bedrock_rft import Client
with Client() as client:
    client.files.upload(({"text": "x" * 1000} for _ in range(16_000)), validate=False)
"""


@row("I01")
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_a_program_within_two_seconds(sync_caller: Caller, tmp_path: Path) -> None:
    """The signal ends the program with one traceback and no file left. Try three times, as the machine may be busy."""
    sync_caller.server.script_early("POST", "/files", always(stall))
    took = 10.0
    for _ in range(3):
        begun = len(sync_caller.server.begun)
        with subprocess.Popen(  # noqa: S603 - runs a fixed script
            [sys.executable, "-c", INTERRUPTED], env={**environment(sync_caller), "TMPDIR": str(tmp_path)},
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            while len(sync_caller.server.begun) == begun and process.poll() is None:
                time.sleep(0.01)
            assert len(list(tmp_path.rglob("*"))) <= 1  # the upload, unless the system hides temporary files
            at = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
            took = min(took, time.monotonic() - at)
        assert process.returncode == -signal.SIGINT, said
        assert said.count("Traceback") == 1
        assert said.splitlines()[-1] == "KeyboardInterrupt"
        assert not [secret for secret in (KEY, SECRET, TOKEN) if secret in said]
        assert list(tmp_path.rglob("*")) == []
        if took < 2:
            break
    assert took < 2


@row("I04")
def test_the_marker_is_logged_if_ctrl_c_interrupts_a_creation(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bedrock_rft")
    caller.server.script("POST", "/fine_tuning/jobs", [ctrl_c(carried_out(slow(3)), after=0.1)])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        caller(create, timeout=30.0)
    assert time.monotonic() - began < LONG
    [job] = caller.server.jobs
    assert job.fields["metadata"]["bedrock_rft_marker"] in caplog.text


@row("I01")
def test_ctrl_c_ends_a_retry(caller: Caller) -> None:
    caller.server.script("GET", "/models/.*", [status(503, b""), ctrl_c(slow(3), after=0.1)])
    with pytest.raises(KeyboardInterrupt):
        caller(lambda client: client.models.retrieve("m"), timeout=30.0)
    assert len(caller.server.requests) == 2


# Forks.

FORKED = """
import os, sys, warnings
from bedrock_rft import Client
warnings.simplefilter("ignore", DeprecationWarning)  # other threads do not matter here

def ask(client, who):
    for number in range(20):
        assert client.models.retrieve(f"{who}-{number}").id == f"{who}-{number}"
        assert client.openai.models.retrieve(f"{who}-{number}").id == f"{who}-{number}"

with Client() as client:
    ask(client, "before")
    children = []
    for name in ("one", "two"):
        child = os.fork()
        if not child:
            try:
                ask(client, name)
                client.close()
            except BaseException as error:
                print(name, repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    ask(client, "parent")
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    ask(client, "after")
print(codes)
"""


def environment(caller: Caller) -> dict[str, str]:
    """Return the environment of a process with this identity."""
    identity = (
        {"AWS_BEARER_TOKEN_BEDROCK": KEY}
        if caller.mode == "api_key"
        else {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    )
    place = {"AWS_ENDPOINT_URL_BEDROCK_MANTLE": caller.server.base_url, "AWS_REGION": "us-west-2"}
    return {**os.environ, **identity, **place}


@row("T02")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_forked_processes_share_no_connection(sync_caller: Caller, tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(FORKED, encoding="utf-8")
    done = run_python(script, environment=environment(sync_caller), timeout=50)
    assert (done.stdout, done.stderr) == ("[0, 0]\n", "")
    users: dict[int, set[str]] = {}
    for request in sync_caller.server.requests:
        users.setdefault(request.peer, set()).add(request.path.split("/")[-1].split("-")[0])
    assert sorted(sorted(names) for names in users.values()) == [["after", "before", "parent"], ["one"], ["two"]]


# Many calls.


def settings(caller: Caller) -> dict[str, Any]:
    identity = {"api_key": KEY} if caller.mode == "api_key" else {"credentials": Credentials(ACCESS_KEY, SECRET, TOKEN)}
    return {"base_url": caller.server.base_url, "region": "us-west-2", "timeout": 30.0, **identity}


@row("T04", quiet=True)
@pytest.mark.skipif(not measure_process(), reason="the system does not say what a process takes")
def test_a_thousand_calls_use_one_connection_and_no_more_memory(caller: Caller) -> None:
    """The async client sends fewer requests, because the sync one uses the same code."""
    many = 1000 if caller.client_kind == "sync" else 300

    async def run_async() -> tuple[list[str], list[tuple[float, ...]]]:
        async with AsyncClient(**settings(caller)) as client:
            said, taken = [], list[tuple[float, ...]]()
            for count in (100, many):
                said = [(await client.models.retrieve(f"m{number}")).id for number in range(count)]
                taken.append(measure_process())
        return said, taken

    def run_sync() -> tuple[list[str], list[tuple[float, ...]]]:
        with Client(**settings(caller)) as client:
            said, taken = [], list[tuple[float, ...]]()
            for count in (100, many):
                said = [client.models.retrieve(f"m{number}").id for number in range(count)]
                taken.append(measure_process())
        return said, taken

    said, (warm, end) = asyncio.run(run_async()) if caller.client_kind == "async" else run_sync()
    assert said == [f"m{number}" for number in range(many)]
    assert end[0] - warm[0] < 10  # MiB: 10 KiB a call
    assert end[1] <= warm[1]  # open files
    assert caller.server.connections == 1


@row("T08")
def test_waiting_for_a_free_connection_times_out(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_MAX_CONNECTIONS", 2)
    caller.server.script("GET", "/models/.*", always(slow(1.0)))
    given: dict[str, Any] = {**settings(caller), "timeout": 0.3, "max_retries": 0}
    names = [f"m{number}" for number in range(6)]

    async def run_async() -> list[Any]:
        async with AsyncClient(**given) as client:
            return await asyncio.gather(*map(client.models.retrieve, names), return_exceptions=True)

    def run_sync() -> list[Any]:
        with Client(**given) as client, ThreadPoolExecutor(6) as pool:
            return [asked.exception() for asked in [pool.submit(client.models.retrieve, name) for name in names]]

    errors = asyncio.run(run_async()) if caller.client_kind == "async" else run_sync()
    assert {type(error) for error in errors} == {APITimeoutError}
    waited = [error for error in errors if "no free connection" in str(error)]
    assert 2 <= len(waited) <= 4
    assert {error.sent for error in waited} == {False}
    for error in waited:
        check_error(error)


@row("T06")
@pytest.mark.skipif(not measure_process(), reason="the system does not say what is open")
def test_closed_clients_leave_no_open_files_or_threads(caller: Caller) -> None:
    def ask(client: Any) -> Any:
        return client.models.retrieve("m")

    def count_open() -> tuple[int, int]:
        gc.collect()  # an unclosed resource warns, and warnings are errors
        return int(measure_process()[1]), threading.active_count()

    caller(ask)  # opens files that the process opens only once
    gc.freeze()  # so that a collection need not visit the modules of the process
    before = count_open()
    for _ in range(30):
        caller(ask)
    deadline = time.monotonic() + LONG  # the server of this process needs time to notice closed connections
    while count_open() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count_open() <= before
    gc.unfreeze()
    assert caller.server.connections == 31


@row("T01")
def test_a_hundred_concurrent_calls_get_their_own_responses(caller: Caller) -> None:
    asked = [f"m{number}" for number in range(100)]

    async def run_async() -> list[str]:
        async with AsyncClient(**settings(caller)) as client:
            return [model.id for model in await asyncio.gather(*map(client.models.retrieve, asked))]

    def run_sync() -> list[str]:
        with Client(**settings(caller)) as client, ThreadPoolExecutor(50) as pool:
            return [model.id for model in pool.map(client.models.retrieve, asked)]

    assert (asyncio.run(run_async()) if caller.client_kind == "async" else run_sync()) == asked
