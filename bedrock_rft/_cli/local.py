"""`bedrock-rft local`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from bedrock_rft._cli.background import open_private, start
from bedrock_rft._cli.command import Group, gold_option, payload_option, wrap_text_option
from bedrock_rft._cli.failures import ERROR, finish
from bedrock_rft._cli.id_cache import cache_folder
from bedrock_rft._cli.output import note, print_text, show
from bedrock_rft._cli.reward_source import is_file, load_gold, resolve_file
from bedrock_rft._cli.settings import settings
from bedrock_rft._core.output import print_error

_FORMATS = ("sh", "fish", "powershell", "dotenv", "json")
_SYNTAX = {"sh": "export {}={}", "fish": "set -gx {} {}", "powershell": "$env:{} = {}", "dotenv": "{}={}"}
_STDIN = 0
_STOP_SECONDS, _STEP = 10.0, 0.05

local = Group("local", help="Run the service on this machine: no model is trained, and nothing is billed.")


@local.command("serve", shape="names and values of environment variables")
@click.option("--reward", metavar="FILE:NAME", help="The reward, for jobs with any ARN.")
@click.option("--directory", metavar="PATH", help="Keep files, jobs and keys in PATH. Default: a temporary directory.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Default: a free port.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Syntax of the variables. Default: this shell's.")
@click.option("--detach", is_flag=True, help="Serve in the background until 'local stop'.")
@click.option("--pace", type=float, default=0.0, metavar="SECONDS", help="Seconds between training steps. Default: 0.")
@payload_option
@gold_option
@wrap_text_option
@click.option("--seed", type=int, default=0, metavar="N", help="Random seed of the training. Default: 0.")
@click.option("--record", metavar="LOCATION", help="Record the rollouts in this folder, or at s3://bucket/prefix.")
@click.option(
    "--stop-with-stdin",
    is_flag=True,
    help="Stop when standard input is closed, for example because the parent process has ended.",
)
@click.option("--state", hidden=True)
def serve(
    form: str | None,
    reward: str | None,
    gold: str | None,
    state: str | None,
    directory: str | None,
    *,
    detach: bool,
    stop_with_stdin: bool,
    **options: Any,
) -> None:
    """Serve until Ctrl-C, and print the variables for a shell.

    \b
    eval "$(bedrock-rft local serve --detach --format sh)"
    bedrock-rft local stop

    With --auth api_key, the variables hold an API key instead of AWS credentials.
    """  # noqa: D301 - click reads the control character
    form = form or ("json" if settings().output in {"json", "jsonl"} else _default_format())
    if detach:
        _print_variables(_detach(), form)
        return
    from bedrock_rft.local import LocalService

    logging.getLogger("bedrock_rft.local.reward").setLevel(logging.INFO)  # shows the output of the reward function
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda _number, _frame: stop.set()) for number in signals}
    end = "Ctrl-C or SIGTERM"
    if stop_with_stdin:
        if _stdin_can_end():
            threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
            end = "Ctrl-C, SIGTERM or the end of its standard input"
        else:
            note("Standard input is not a pipe or a terminal, so --stop-with-stdin has no effect.")
    source = resolve_file(reward) if reward is not None and is_file(reward) else reward
    region = settings().region
    given: dict[str, Any] = {**options, **({"region": region} if region else {})}
    with contextlib.ExitStack() as stack:
        for number, handler in handlers.items():
            stack.callback(signal.signal, number, handler)
        service = stack.enter_context(LocalService(directory, reward=source, gold=load_gold(gold), **given))
        if state is not None:
            stack.callback(_write_state(Path(state), service.base_url))
        note("SIMULATION: no model is trained, nothing is sent to AWS, and nothing is billed.")
        note(f"The service listens at {service.base_url} until {end}.")
        _print_variables(service.environment("api_key" if settings().auth == "api_key" else "aws"), form)
        stop.wait()


@local.command("stop", shape='a list of {"url", "pid"}')
@click.option("--port", type=int, metavar="N", help="Stop only the service on this port. Default: all.")
def stop(port: int | None) -> None:
    """Stop the services that 'local serve --detach' started."""
    stopped: list[dict[str, Any]] = []
    for path in sorted(_folder().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(path.read_text(encoding="utf-8"))
            if port is not None and f":{port}/" not in known["url"]:
                continue
            if _stop_service(int(known["pid"]), known["url"], path):
                stopped.append({"url": known["url"], "pid": known["pid"]})
    show(stopped, text="\n".join(f"Stopped {one['url']}." for one in stopped) or "No service was running.",
         ids=[str(one["pid"]) for one in stopped])  # fmt: skip
    if {one["url"] for one in stopped} & set(os.environ.values()):
        note(
            "This shell's environment variables still point to a stopped service. Open a new shell before you use AWS."
        )


def _detach() -> Mapping[str, str]:
    """Start this command in the background, and return the variables that it prints."""
    folder, name = _folder(), os.urandom(6).hex()
    state, log = folder / f"{name}.json", folder / f"{name}.log"
    arguments = [one for one in sys.argv[1:] if one != "--detach"]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = start("bedrock_rft", [*arguments, "--state", str(state), "--format", "json"], log=log)
    except OSError as error:
        raise click.UsageError(
            f"The log of the service cannot be written to {folder}: {error.strerror}. Set XDG_CACHE_HOME to a folder "
            "that can be written."
        ) from None
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    process.stdout.close()
    if line:
        note(f"The service runs in the background. Stop it with: bedrock-rft local stop\nIts log is {log}", wrap=False)
        found: dict[str, str] = json.loads(line)
        return found
    code = process.wait()
    print_error(log.read_text(encoding="utf-8", errors="replace").rstrip())
    log.unlink()
    finish(code or ERROR)
    raise AssertionError("unreachable")


def _write_state(path: Path, url: str) -> Callable[[], None]:
    with open_private(path) as stream:
        stream.write(json.dumps({"pid": os.getpid(), "url": url}).encode())

    def remove_state() -> None:
        for one in (path.with_suffix(".log"), path):  # the state last, because `stop` waits until it is gone
            with contextlib.suppress(OSError):
                one.unlink()

    return remove_state


def _stop_service(pid: int, url: str, state: Path) -> bool:
    """End a service and wait until it has removed its state. Return whether it was running."""
    import socket
    import time
    from urllib.parse import urlsplit

    try:
        # Connect first: if the service was killed, its state file remains, and another process may have its id by now.
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=1).close()
        os.kill(pid, signal.SIGTERM)
    except OSError:
        state.unlink(missing_ok=True)
        state.with_suffix(".log").unlink(missing_ok=True)
        return False
    deadline = time.monotonic() + _STOP_SECONDS
    while state.exists() and time.monotonic() < deadline:
        time.sleep(_STEP)
    if os.name != "posix":  # on Windows, SIGTERM ends the process before it can remove its state
        state.unlink(missing_ok=True)
    return True


def _folder() -> Path:
    return cache_folder() / "local"


def _default_format() -> str:
    if os.name == "nt":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("/fish") else "sh"


def variable_lines(variables: Mapping[str, str], form: str) -> Iterator[str]:
    """Yield the lines that set environment variables in the syntax of a shell."""
    if form == "json":
        yield json.dumps(variables)
        return
    for name, value in variables.items():
        quoted = "'" + value.replace("'", "''") + "'" if form == "powershell" else shlex.quote(value)
        yield _SYNTAX[form].format(name, quoted)


def _print_variables(variables: Mapping[str, str], form: str) -> None:
    for line in variable_lines(variables, form):
        print_text(line)


def _stdin_can_end() -> bool:
    """Return whether the end of standard input means anything: under nohup, cron and systemd it is /dev/null."""
    try:
        mode = os.fstat(_STDIN).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(_STDIN)


def _stop_at_end_of_stdin(stop: threading.Event) -> None:
    try:
        while os.read(_STDIN, 65536):
            pass
    finally:
        stop.set()
