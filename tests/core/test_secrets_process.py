"""A whole program shows no secret: in its log at DEBUG, its child processes and its files; importing has no effects."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import fault_server as faults
from support.command import every_command
from support.fake_secrets import IDENTITIES, LONG, SECRET, TOKEN, find_leaks, find_secrets
from support.fault_server import Faults
from support.scripts import run_python

from bedrock_rft import Client
from bedrock_rft.errors import APIStatusError, BedrockRFTError

# A program that uses every operation and logs everything, with a file of records.
PROGRAM = """
import asyncio, logging, os, sys
import botocore.session, httpx, openai, urllib3
handler = logging.StreamHandler(sys.stderr)
logging.basicConfig(level=logging.DEBUG, handlers=[handler])
from bedrock_rft import AsyncClient, BedrockRFTError, Client, SigV4Auth

def loud():
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)

data = b'{"a": 1}\\n' * 1000

def work(client):
    loud()
    print(client, client.identity)
    list(client.models.list())
    client.files.upload(data, validate=False)
    job = client.jobs.create("openai.gpt-oss-20b", training_file="file-1",
                             reward="arn:aws:lambda:us-west-2:123456789012:function:reward")
    print(client.jobs.wait(job, poll_interval=0.01))
    for path in ("/refused", "/echoed", "/nowhere"):
        try:
            client.request("GET", path)
        except BedrockRFTError as error:
            logging.exception("it failed")
            print(error)
    try:
        client.openai.models.list()
    except openai.OpenAIError as error:
        print(error)

async def soon():
    async with AsyncClient() as client:
        loud()
        async for _ in client.models.list():
            pass
        await client.files.upload(data, validate=False)
        try:
            await client.request("GET", "/echoed")
        except BedrockRFTError:
            logging.exception("it failed")

with Client() as client:
    work(client)
asyncio.run(soon())
if os.environ.get("AWS_ACCESS_KEY_ID"):
    auth = SigV4Auth()
    with httpx.Client(base_url=auth.base_url, auth=auth) as http:
        loud()
        print(http.get("/models"))
loud()
print("done")
"""


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as found:
        yield found


def echoed(exchange: faults.Exchange) -> None:
    said = " ".join(f"{name}: {value}" for name, value in exchange.request.headers.items())
    faults.status(403, {"error": {"code": "x\r\n\x1b[31mFAKE", "message": f"You sent {said}\r\nFORGED"}})(exchange)


def environment(server: Faults, mode: str) -> dict[str, str]:
    """Return what to add to an environment without settings."""
    identity = (
        {"AWS_BEARER_TOKEN_BEDROCK": LONG}
        if mode == "api_key"
        else {"AWS_ACCESS_KEY_ID": "AKIAFAKE00000001", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    )
    return {
        **identity, "AWS_REGION": "us-west-2", "AWS_ENDPOINT_URL_BEDROCK_MANTLE": server.base_url,
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
        "OPENAI_LOG": "debug", "HTTPX_LOG_LEVEL": "trace",
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["api_key", "aws"])
def test_a_program_that_logs_everything(server: Faults, mode: str) -> None:
    server.script("GET", "/refused", faults.always(faults.status(401, b"no")))
    server.script("GET", "/echoed", faults.always(echoed))
    done = run_python("-c", PROGRAM, environment=environment(server, mode))
    assert done.stdout.endswith("done\n"), done.stderr[-2000:]
    for logger in ("bedrock_rft", "httpcore", "openai._base_client"):
        assert logger in done.stderr or (logger[0] == "o" and mode == "aws")
    assert find_secrets(done.stdout + done.stderr) == []
    assert not [line for line in done.stderr.splitlines() if line.startswith("FORGED")]
    assert "\x1b" not in done.stderr + done.stdout


def test_nothing_is_logged_by_default(server: Faults) -> None:
    code = (
        "import logging\nbefore = list(logging.root.handlers), logging.root.level\n"
        "from bedrock_rft import Client\n"
        f"client = Client('us-west-2', api_key='k', base_url={server.base_url!r})\n"
        "list(client.models.list()); client.close()\n"
        "logger = logging.getLogger('bedrock_rft'); logger.warning('x')\n"
        "assert (list(logging.root.handlers), logging.root.level) == before\n"
        "assert logger.level == logging.NOTSET and logger.propagate\n"
        "assert [type(each).__name__ for each in logger.handlers] == ['NullHandler']"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_text_of_unknown_origin_cannot_start_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    from bedrock_rft._core.log import log

    log.warning("event %s of %s: %s", "a\nb\r\x1b[2J\x00", "\u2028", ValueError("x\ny"))
    assert caplog.messages == ["event a\\nb\\r\\x1b[2J\\x00 of \\u2028: x\\ny"]


@pytest.mark.parametrize("mode", IDENTITIES)
def test_control_characters_of_a_response_are_escaped(server: Faults, mode: str) -> None:
    server.script("GET", "/models", faults.always(echoed))
    with (
        Client(base_url=server.base_url, region="us-west-2", **IDENTITIES[mode]()) as client,
        pytest.raises(BedrockRFTError) as raised,
    ):
        list(client.models.list())
    shown = f"{raised.value} {raised.value!r} {vars(raised.value)}"
    assert not {"\r", "\x1b", "\x00"} & set(shown)


CANARY = "canary-word"  # in every body, either way, and in a header


@pytest.mark.parametrize("mode", ["long", "aws"])
def test_debug_logs_requests_without_their_content(server: Faults, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG has method, path, status, request id, attempt and delay; INFO at most one line for each event of a job."""
    caplog.set_level(logging.DEBUG, "bedrock_rft")
    server.script("GET", "/models", [faults.status(503, CANARY.encode(), {"x-canary": CANARY})])
    event = {"object": "fine_tuning.job.event", "created_at": 1, "level": "info", "message": CANARY, "type": "message"}
    server.log = [{**event, "id": f"e{number}"} for number in (3, 2, 1)]
    told: list[Any] = []
    with Client(base_url=server.base_url, region="us-west-2", **IDENTITIES[mode]()) as client:
        list(client.models.list())
        client.files.upload(json.dumps({"a": CANARY}).encode(), validate=False)
        job = client.jobs.create(
            "openai.gpt-oss-20b", training_file="file-1", metadata={"a": CANARY},
            reward="arn:aws:lambda:us-west-2:123456789012:function:reward",
        )  # fmt: skip
        client.jobs.wait(job, poll_interval=0.001, on_event=told.append)
    said = [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "bedrock_rft"]
    assert [one.message for one in told] == [CANARY] * 3
    assert CANARY in str(server.requests[-1].headers) + str([request.body for request in server.requests])
    assert not [text for _, text in said if CANARY in text]
    assert sum(level >= logging.INFO for level, _ in said) <= 1 + len(told)  # its creation, and its events
    shown = "\n".join(text for _, text in said)
    for part in (
        r"GET /models: attempt 1 failed, next attempt in \d\.\d\d s",
        r"GET /models: HTTP 200 \(request req-1\)",
        r"POST /fine_tuning/jobs: HTTP 200 \(request req-1\)",
    ):
        assert re.search(part, shown)


LAMBDA = """
import json, logging, sys
logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))  # as Lambda's runtime has it
logging.getLogger().setLevel(logging.DEBUG)
sys.path.insert(0, sys.argv[1])
from lambda_function import lambda_handler
for event in json.loads(sys.argv[2]):
    try:
        lambda_handler(event, None)
    except ValueError as error:
        print(error)
"""


def test_a_packaged_reward_logs_nothing_of_its_events(tmp_path: Path) -> None:
    """Prompts, answers and references are not in the function's log, even if they cause errors."""
    from bedrock_rft.rewards import package

    source = (
        "from bedrock_rft.rewards import reward\n@reward\ndef scored(rollout):\n    raise ValueError(rollout.answer)\n"
    )
    (tmp_path / "own.py").write_text(source)
    made = package(f"{tmp_path / 'own.py'}:scored").write(tmp_path / "reward.zip")
    sound = {"id": CANARY, "messages": [{"role": "user", "content": CANARY}, {"role": "assistant", "content": CANARY}]}
    odd = [[sound], [{**sound, "messages": CANARY}], [CANARY], CANARY, {"Records": [CANARY]}]
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-I", "-c", LAMBDA, str(made), json.dumps(odd)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ValueError in own.py" in done.stderr
    assert "the event must be a list of rollouts" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def refused_there(url: str, mode: str) -> None:
    with Client(base_url=url, region="us-west-2", **IDENTITIES[mode]()) as client:
        client.request("GET", "/refused")


def test_an_error_can_be_sent_from_another_process(server: Faults) -> None:
    server.script("GET", "/refused", faults.always(echoed))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for mode in ("long", "aws"):
            error = pool.submit(refused_there, server.base_url, mode).exception()
            assert isinstance(error, APIStatusError)
            assert (error.status, error.method, error.path, error.attempts) == (403, "GET", "/refused", 1)
            assert find_leaks(error) == []  # the other process' traceback comes along as its cause


# botocore resolves credentials and logs them


class Sts(BaseHTTPRequestHandler):
    """Return the fake secrets to every request, as STS does for a role."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>ASIAFAKE00000002</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            f"<SessionToken>{TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>"
            "<AssumedRoleId>x:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Log nothing."""


@pytest.fixture
def sts() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sts)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_assumed_role_is_not_logged(
    server: Faults, sts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from bedrock_rft._auth.botocore_clients import service_client

    (tmp_path / "config").write_text(
        "[profile lent]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = own\nregion = us-west-2\n"
        "[profile own]\naws_access_key_id = AKIAFAKE00000003\n"
        f"aws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", sts)
    with caplog.at_level(logging.DEBUG):
        for module in ("auth", "endpoint", "parsers", "credentials", "hooks", "session"):
            caplog.set_level(logging.DEBUG, f"botocore.{module}")
        caplog.set_level(logging.DEBUG, "urllib3.connectionpool")
        with Client(profile="lent", base_url=server.base_url) as client:
            list(client.models.list())
            config = client._async._session.config
            assert config.aws is not None
            other = service_client("sts", region="us-west-2", credentials=config.aws, retries=0)
            other.assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="session")
            other.close()
    said = "\n".join(caplog.messages)
    assert "CanonicalRequest" in said
    assert "SecretAccessKey>****" in said
    assert find_secrets(said) == []
    assert server.requests[-1].headers["x-amz-security-token"] == TOKEN


# Children, files, the environment


WATCHING = """
import os, subprocess, sys, threading
sys.dont_write_bytecode = True
children, opened = [], []
def watch(event, given):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "pty.spawn"):
        children.append((event, str(given)))
    if event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+"):
        opened.append(str(given[0]))
sys.addaudithook(watch)
before = dict(os.environ)
"""


@pytest.mark.parametrize("mode", ["api_key", "aws"])
def test_no_child_process_file_or_variable_is_left(server: Faults, mode: str, tmp_path: Path) -> None:
    """A program that uploads, creates and waits starts no process and writes no other file."""
    code = WATCHING + (
        "from bedrock_rft import Client\n"
        "with Client() as client:\n"
        "    client.files.upload(iter([{'a': 1}]), validate=False)\n"
        "    client.files.upload(b'{}', validate=False)\n"
        "    job = client.jobs.create('openai.gpt-oss-20b', training_file='file-1',\n"
        "        reward='arn:aws:lambda:us-west-2:123456789012:function:reward')\n"
        "    client.jobs.wait(job, poll_interval=0.01)\n"
        "assert dict(os.environ) == before\n"
        "import json; print(json.dumps([children, opened]))"
    )
    folders = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = run_python("-c", code, cwd=tmp_path, environment={**environment(server, mode), **folders})
    assert done.returncode == 0, done.stderr
    children, opened = json.loads(done.stdout.splitlines()[-1])
    assert [each for each in children if find_secrets(str(each))] == []
    assert [path for path in opened if not path.startswith((str(tmp_path), "/dev/"))] == []
    assert list(tmp_path.rglob("*")) == []  # temporary copies are gone


def test_the_local_service_keeps_its_keys_in_one_private_file(tmp_path: Path) -> None:
    from bedrock_rft.local import LocalService

    with LocalService(tmp_path / "state") as service:
        keys = {**service.environment("aws"), **service.environment("api_key")}
        with Client(**service.client_options("api_key")) as client:
            client.files.upload(b"{}", validate=False)
        files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        private = tmp_path / "state" / "keys.json"
        assert os.name != "posix" or stat.S_IMODE(private.stat().st_mode) == 0o600
        stored = b"".join(path.read_bytes() for path in files if path != private)
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OPENAI_API_KEY"):
            assert keys[name].encode() not in stored


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_temporary_copies_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    from bedrock_rft.datasets._source import open_source as source

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0)
    try:
        copy = source(iter([{"a": 1}]))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()]
        copy.close()
    finally:
        os.umask(before)
    assert [mode for mode in modes if mode & 0o077] == []
    assert list(tmp_path.rglob("*")) == []


def test_no_command_line_argument_is_a_secret() -> None:
    """All users of the machine can read command lines, and shells keep them."""
    import click

    flags: list[tuple[str, bool]] = []

    for _, inner, context in every_command():
        for one in inner.get_params(context):
            valued = not (isinstance(one, click.Option) and one.is_flag)
            flags.extend((name, valued) for name in (one.opts if isinstance(one, click.Option) else [str(one.name)]))
    assert len(flags) > 100
    words = ("key", "secret", "token", "password", "credential")
    limits = {"--max-tokens"}
    assert {flag for flag, valued in flags if any(word in flag for word in words) and valued} == limits


def test_importing_has_no_effects() -> None:
    """Importing every module opens no socket and changes no process, thread, signal handler, logging or environment."""
    code = """
import contextlib, logging, os, pkgutil, signal, sys, threading
import asyncio, ssl
with contextlib.suppress(ImportError):  # what an extra does when it is imported is its own: this one makes folders
    import matplotlib.figure
events = []
watched = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "urllib.", "signal.",
           "os.putenv", "os.unsetenv", "shutil.", "os.mkdir", "os.remove", "tempfile.", "sqlite3.", "http.")
handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
environment, threads = dict(os.environ), threading.active_count()
sys.addaudithook(lambda event, given: events.append((event, given)) if event.startswith(watched) else None)
root = list(logging.root.handlers), logging.root.level, logging.lastResort
import bedrock_rft
for module in pkgutil.walk_packages(bedrock_rft.__path__, "bedrock_rft."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
for name in bedrock_rft.__all__:
    getattr(bedrock_rft, name)
assert dict(os.environ) == environment
assert threading.active_count() == threads
assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
assert (list(logging.root.handlers), logging.root.level, logging.lastResort) == root
levels = {name: each.level for name, each in logging.root.manager.loggerDict.items()
          if name.startswith("bedrock_rft") and isinstance(each, logging.Logger)}
assert set(levels.values()) <= {logging.NOTSET}, levels
# urllib3, which botocore uses, checks for IPv6 by binding and closing a port.
own = [(event, given[1:]) for event, given in events if event != "socket.__new__"]
print([each for each in own if each != ("socket.bind", (("::1", 0),))])
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_"))}
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-B", "-W", "error", "-c", code], capture_output=True, text=True, check=False, env=clean
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_every_call_that_starts_processes_or_evaluates_code_is_known() -> None:
    """Only rewards start processes or evaluate code, because users ask them to run the code of a model.

    The command starts itself in the background.
    """
    words = ("subprocess", "os.system", "eval(", "exec(", "pickle", "marshal", "shelve", "ctypes", "yaml", "telnetlib")
    import bedrock_rft

    root = Path(bedrock_rft.__file__).parent
    found: set[Any] = {
        (path.relative_to(root).as_posix(), word)
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] != "rewards"
        for line in path.read_text().splitlines()
        for word in words
        if f"import {word}" in line or (word.endswith("(") and f" {word}" in line and "def " not in line)
    }
    assert found == {("_cli/background.py", "subprocess")}


def test_tests_that_the_documentation_names_exist() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"`((?:tests|\.ci)/[\w./]+)`", (root / "SECURITY.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (root / name).is_file()] == []
