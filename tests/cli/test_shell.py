"""The command in a real shell: a whole story, completion, old code pages, closed streams, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.aws_gate import Here
from support.command import ARN, process, records, score

from bedrock_rft import Client
from bedrock_rft.local import LocalService

BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None or os.name != "posix", reason="bash is not installed")
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")

STORY = """
set -euo pipefail
bedrock-rft init -o json | jq -e '.files | length == 6' >/dev/null
bedrock-rft data check train.jsonl -o json | jq -e '.ok and .records == 200' >/dev/null
bedrock-rft reward check reward.py train.jsonl -o json | jq -e '.ok' >/dev/null
eval "$(bedrock-rft local serve --detach --format sh --reward reward.py --pace 0.01)"
arn=$(bedrock-rft reward deploy reward.py --name sums --no-check -o json | jq -er .arn)
job=$(bedrock-rft jobs create run.toml --reward "$arn" -o json | jq -er .id)
bedrock-rft jobs watch "$job" --poll-interval 0.2 -o json | jq -es '.[-1].status == "succeeded"' >/dev/null
bedrock-rft jobs metrics "$job" -o json | jq -e '.steps | length > 3' >/dev/null
bedrock-rft eval run train.jsonl --model openai.gpt-oss-20b --model "$job" --reward reward.py --limit 8 --samples 1 \\
  -o json | jq -e '.models | length == 2' >/dev/null
second=$(bedrock-rft jobs create run.toml --reward "$arn" --new --n-epochs 50 -o json | jq -er .id)
bedrock-rft jobs cancel "$second" -y -o json | jq -e '.[0].status == "cancelled"' >/dev/null
bedrock-rft jobs list -o json | jq -e 'map(.status) == ["cancelled", "succeeded"]' >/dev/null
bedrock-rft local stop -o json | jq -e 'length == 1' >/dev/null
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Return an environment with `bedrock-rft` on the PATH, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "bedrock-rft"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bedrock_rft "$@"\n')
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def bash(script: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a fixed script
        [BASH or "bash", "-c", script], cwd=cwd, env=dict(environment), capture_output=True, text=True, timeout=180,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@needs_bash
@needs_jq
def test_the_whole_story_in_a_shell(here: Here, tmp_path: Path, shell: dict[str, str]) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    try:
        done = bash(STORY, folder, {**os.environ, **shell})
    finally:
        stopped = bash("bedrock-rft local stop -o quiet", folder, shell)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2, "the note of `local serve`"
    assert stopped.stdout == "", "it was stopped before"
    assert "CreateFunction" in here.gate.writes


@needs_bash
def test_output_survives_a_closed_stdout_and_a_pipe_that_closes_early(
    service: LocalService, finished_job: str, tmp_path: Path, shell: dict[str, str]
) -> None:
    environment = {**shell, **service.environment("aws")}
    script = f"""
    bedrock-rft jobs events {finished_job} -o jsonl | head -n 1 >/dev/null
    echo "${{PIPESTATUS[@]}}"
    bedrock-rft jobs events -f {finished_job} | head -n 1 >/dev/null
    echo "${{PIPESTATUS[@]}}"
    bedrock-rft jobs list >&-; echo $?
    bedrock-rft --help >&-; echo $?
    bedrock-rft jobs get none 2>&-; echo $?
    """
    done = bash(script, tmp_path, environment)
    assert (done.stdout.splitlines(), done.stderr) == (["0 0", "0 0", "0", "0", "1"], "")


def test_output_fits_an_old_code_page(service: LocalService, tmp_path: Path) -> None:
    name = "\u043f\u0440\u0438\u0432\u0435\u0442\u2026.jsonl"
    with Client(**service.client_options()) as client:
        client.files.upload(records().encode(), filename=name)
    environment = {"PYTHONIOENCODING": "cp1252"}
    shown = process("files", "list", "-o", "json", environment=environment, cwd=tmp_path)
    assert name in [file["filename"] for file in json.loads(shown.out)]
    table = process("files", "list", environment={"PYTHONIOENCODING": "ascii"}, cwd=tmp_path)
    assert (table.code, table.err) == (0, "")
    assert "\\u043f" in table.out


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_leaves_a_job_running_and_prints_how_to_resume(shell: dict[str, str]) -> None:
    with LocalService(reward=score, pace=60) as slow, Client(**slow.client_options()) as client:
        file = client.files.upload(records().encode(), filename="a.jsonl")
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=ARN)
        for verb in ("wait", "watch"):
            words = [sys.executable, "-m", "bedrock_rft", "jobs", verb, job.id, "--poll-interval", "0.1", "--debug"]
            with subprocess.Popen(  # noqa: S603 - ours
                words, env={**shell, **slow.environment("aws")}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                text=True,
            ) as waiting:  # fmt: skip
                assert waiting.stderr is not None
                while "/fine_tuning/jobs" not in waiting.stderr.readline():
                    assert waiting.poll() is None
                time.sleep(0.2)
                waiting.send_signal(signal.SIGINT)
                _, err = waiting.communicate(timeout=20)
            assert waiting.returncode == 130
            assert err.endswith(f"{job.id} is still running. Resume with:\n  bedrock-rft jobs {verb} {job.id}\n")
            assert "client." not in err
        assert not client.jobs.retrieve(job).is_terminal


SHELLS = {
    "bash": (
        ["--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'; eval \"$(bedrock-rft completion bash)\"; echo rea''dy",
    ),
    "zsh": (
        ["-f", "-i"],
        "autoload -Uz compinit; compinit -u -D; eval \"$(bedrock-rft completion zsh)\"; echo rea''dy",
    ),
    "fish": (["--no-config", "-i"], "bedrock-rft completion fish | source; echo rea''dy"),
}


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_commands_options_and_ids(
    name: str, service: LocalService, finished_job: str, tmp_path: Path, shell: dict[str, str]
) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    pexpect: Any = pytest.importorskip("pexpect", reason="pexpect is not installed")
    arguments, set_up = SHELLS[name]
    environment = {**shell, **service.environment("aws"), "TERM": "dumb" if name == "bash" else "xterm", "PS1": "$ "}
    child = pexpect.spawn(program, arguments, env=environment, encoding="utf-8", timeout=20, cwd=str(tmp_path),
                          dimensions=(40, 160))  # fmt: skip
    try:
        child.sendline(set_up)
        child.expect("ready")
        child.send("bedrock-rft jo\t")
        child.expect("bs")
        child.send("chec\t")
        child.expect("points")
        child.send(finished_job[:-4])
        for _ in range(20):  # the first time, the ids are fetched in the background
            child.send("\t")
            if child.expect([finished_job[-4:], pexpect.TIMEOUT], timeout=1) == 0:
                break
        else:
            pytest.fail(f"the id was not completed: {child.before}")
        child.send(" --outp\t")
        child.expect("ut")
        child.send(" cs\t")
        child.expect("csv|v ")
    finally:
        child.close(force=True)


def complete(line: str, environment: Mapping[str, str]) -> tuple[list[str], float]:
    """Return the completions of a line, and the seconds that the process took."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_BEDROCK_RFT_COMPLETE": "bash_complete"}
    began = time.monotonic()
    done = process(environment={**environment, **asked})
    assert done.err == ""
    return [each.partition(",")[2] for each in done.out.splitlines() if each], time.monotonic() - began


def test_ids_are_cached_and_a_silent_service_delays_nobody(
    service: LocalService, finished_job: str, tmp_path: Path
) -> None:
    import socket

    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), **service.environment("aws")}
    deadline = time.monotonic() + 20
    while finished_job not in complete("bedrock-rft jobs get local", environment)[0]:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert finished_job in complete(f"bedrock-rft jobs wait {finished_job[:12]}", environment)[0], "from the cache"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        lost = {**environment, "AWS_ENDPOINT_URL_BEDROCK_MANTLE": url}
        pairs = [(complete("bedrock-rft jobs ge", environment), complete("bedrock-rft jobs get local", lost))
                 for _ in range(4)]  # fmt: skip
    assert all(offered == [] for _, (offered, _) in pairs)
    # The request would take ten seconds.
    assert min(seconds for _, (_, seconds) in pairs) - min(seconds for (_, seconds), _ in pairs) < 5


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = process("jobs", "list", environment=environment)
    assert (done.code, done.out) == (1, "")
    assert "pip install 'bedrock_rft[cli]'" in done.err
    assert process("--version", environment=environment).out.startswith("bedrock-rft ")


def test_help_imports_click_and_nothing_heavy() -> None:
    code = (
        "import sys; from bedrock_rft._cli import main; sys.argv[1:] = ['--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print({'json', 'logging', 'dataclasses', 'pathlib', 'shutil', 'rich', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.splitlines()[-1] == "set()"
