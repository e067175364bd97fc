"""Live views show everything once, on every kind of output, and escape text of the service."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import open_page
from support.live_runs import ARN, NOW, QUICK, events, records, started
from support.metric_curves import healthy, ill, job, metrics

from bedrock_rft import AsyncClient, Client
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, JobCancelledError, MissingExtraError, WaitTimeoutError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.metrics._live.view import view
from bedrock_rft.metrics._live.words import format_duration
from bedrock_rft.types import Checkpoint, Event, Job

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e<script>document.title='ran'</script><img src=http://other.example/x>"


def message(text: str, **fields: Any) -> Event:
    return Event.model_validate({"id": text, "message": text, "created_at": NOW, **fields})


def state_after(*polls: list[Event], now: Job | None = None, saved: tuple[int, ...] = ()) -> tuple[State, list[Change]]:
    state, changes = State(), list[Change]()
    kept = [Checkpoint(id=f"c{step}", step_number=step, created_at=NOW) for step in saved]
    for poll in polls:
        state, change = state.with_poll(now or job(created_at=NOW, status="running"), poll, kept, Thresholds())
        changes.append(change)
    return state, changes


def hostile() -> tuple[State, Change]:
    steps = [step | {HOSTILE: 0.5} for step in healthy(steps=20)]
    who = job(HOSTILE, created_at=NOW, status=f"running{HOSTILE}", fine_tuned_model=HOSTILE)
    saved = [Checkpoint(id=HOSTILE, step_number=3, fine_tuned_model_checkpoint=HOSTILE)]
    log = [message(HOSTILE, level=HOSTILE), *events(steps)]
    return State().with_poll(who, log, saved, Thresholds())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path / "state", **QUICK) as rehearsal:
        yield rehearsal


# State


def test_each_poll_reports_only_changes() -> None:
    rows = healthy()
    state, (first, second, third) = state_after(
        [message("begun"), *events(rows[:5])], events(rows[5:9]), [], saved=(3, 7)
    )
    assert (first.status, second.status, third.status) == ("running", None, None)
    assert [step.metrics.step for step in first.steps] == [1, 2, 3, 4, 5]
    assert first.steps[0].at == NOW + 10
    assert [event.message for event in first.messages] == ["begun"]
    assert [one.step_number for one in first.checkpoints] == [3, 7]
    assert [step.metrics.step for step in second.steps] == [6, 7, 8, 9]
    assert (second.messages, second.checkpoints, third.steps) == ((), (), ())
    assert [step.step for step in state.metrics] == list(range(1, 10))
    assert state.step == 9
    assert [one.step_number for one in state.metrics.checkpoints] == [3, 7]


def test_remaining_time_is_estimated_from_the_latest_steps() -> None:
    state, _ = state_after(events(healthy()[:20]))
    assert state.elapsed(NOW + 205) == 205
    assert state.remaining(NOW + 200) == pytest.approx((67 - 20) * 10)
    assert state.remaining(NOW + 205) == pytest.approx((67 - 20) * 10 - 5)
    assert state.remaining(NOW + 900) == pytest.approx((67 - 21) * 10)  # the next step is late, the rest is not
    ended, _ = state_after(events(healthy()), now=job(created_at=NOW, finished_at=NOW + 700, status="succeeded"))
    assert ended.elapsed(NOW + 9000) == 700
    assert ended.remaining(NOW) is None
    assert state_after(events(healthy()[:1]))[0].remaining(NOW) is None
    assert state_after(events(healthy()[:9], created_at=None))[0].remaining(NOW) is None
    assert State().elapsed(NOW) is None


def test_an_alarm_is_reported_once() -> None:
    rows = ill("reward_low")
    _, changes = state_after(*(events(rows[at : at + 5]) for at in range(0, 60, 5)))
    raised = [(number, alarm.code) for number, change in enumerate(changes) for alarm in change.alarms]
    assert raised == [(10, "reward_low")]  # at step 55 of 67: a healthy run may begin slowly


def test_the_end_of_a_job_of_unknown_length_can_raise_an_alarm() -> None:
    rows = [{name: value for name, value in row.items() if name != "total_steps"} for row in ill("reward_flat")]
    state, _ = state_after(events(rows))
    assert state.alarms == ()  # the job is running, so a rise may still come
    _, change = state.with_poll(job(created_at=NOW, status="succeeded"), [], (), Thresholds())
    assert [alarm.code for alarm in change.alarms] == ["reward_flat"]


def test_alarms_use_the_range_of_the_reward() -> None:
    who = job(created_at=NOW, status="succeeded")
    for reward_range, codes in (((0, 1), ["reward_flat"]), ((0, 10), ["reward_low"]), (None, [])):
        _, change = State().with_poll(who, events(ill("reward_flat")), (), Thresholds(), reward_range)
        assert [alarm.code for alarm in change.alarms] == codes


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3900, "1 h 05 min"), (200_000, "2 d 7 h")]
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


# Views


def test_plain_lines_show_everything_once_in_80_columns() -> None:
    stream = io.StringIO()
    shown = view("plain", stream)
    rows = ill("advantages_zero")
    polls = [[message("begun", level="warn"), *events(rows[:5])], events(rows[5:40]), [message("word " * 40)]]
    state = State()
    for poll in polls:
        saved = [Checkpoint(id="c", step_number=4, fine_tuned_model_checkpoint="ft:4", created_at=NOW)]
        state, change = state.with_poll(job(created_at=NOW, status="running"), poll, saved, Thresholds())
        shown.show(state, change)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if "running  step" in line]) == 2
    assert [line[9:] for line in lines[:2]] == ["warn: begun", "checkpoint at step 4: ft:4"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d running  step 5 of 67  .* reward 0\.\d+.*", lines[2])
    assert sum("All advantages are 0" in line for line in lines) == 1
    assert "".join(lines).count("word") == 40


def test_plain_lines_are_in_the_order_of_time_and_name_a_checkpoint_once() -> None:
    stream = io.StringIO()
    told = [message("saved ft:1", created_at=NOW + 1), message("ended", created_at=NOW + 3)]
    saved = [
        Checkpoint(id=f"c{step}", step_number=step, fine_tuned_model_checkpoint=f"ft:{step}", created_at=NOW + step)
        for step in (1, 2)
    ]
    state, change = State().with_poll(job(created_at=NOW, status="running"), told, saved, Thresholds())
    view("plain", stream).show(state, change)
    lines = [line[9:] for line in stream.getvalue().splitlines()]
    assert lines[:3] == ["saved ft:1", "checkpoint at step 2: ft:2", "ended"]


def test_json_has_one_object_a_line_and_every_step() -> None:
    stream = io.StringIO()
    rows = ill("not_finite")
    state, change = State().with_poll(
        job(status="failed", error={"code": "e", "message": "why"}),
        [message("begun"), *events(rows)],
        [Checkpoint(id="c", step_number=4)],
        Thresholds(),
    )
    view("json", stream).show(state, change)
    found = [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]
    assert {one["job"] for one in found} == {"ftjob-1"}
    assert [one["kind"] for one in found] == ["message", *["step"] * 67, "checkpoint", "alarm", "status"]
    assert [one["step"] for one in found if one["kind"] == "step"] == list(range(1, 68))
    assert found[40]["actor_grad_norm"] is None
    assert found[1]["critic_rewards_mean"] == rows[0]["critic_rewards_mean"]
    assert found[-2]["code"] == "not_finite"
    assert found[-1]["status"] == "failed"
    assert found[-1]["error"]["message"] == "why"


def test_the_terminal_shows_status_steps_time_curves_and_messages() -> None:
    stream = io.StringIO()
    shown = view("terminal", stream)
    state, (change,) = state_after([message("begun"), *events(healthy()[:30])], saved=(17,))
    shown.show(state, change)
    shown.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert re.search(r"ftjob-1  running  openai\.gpt-oss-20b", text)
    assert re.search(r"━{30}  step 30 of 67  .* so far  \d+ min left", text)
    assert re.search(r"reward +0\.\d+  [▁▂▃▄▅▆▇█]{30}\n", text)
    assert "checkpoints  17" in text
    assert "  begun" in text
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", text))


@pytest.mark.parametrize("style", ["plain", "json", "terminal"])
def test_control_characters_of_the_service_do_not_reach_a_terminal(style: Any) -> None:
    stream = io.StringIO()
    shown = view(style, stream)
    shown.show(*hostile())
    shown.leave(HOSTILE)
    shown.close()
    text = stream.getvalue()
    assert "owned" in text
    assert not [one for one in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e") if one in text]
    if style != "terminal":
        assert not re.search(r"[^\n -~ -￿]", text)


def test_the_panel_and_the_page_of_metrics_load_nothing_and_run_no_script(tmp_path: Path) -> None:
    from bedrock_rft.metrics._live.notebook import panel

    state, _ = hostile()
    steps = [step | {HOSTILE: 0.5, "phase": HOSTILE} for step in healthy()]
    steps[20] |= {"actor_grad_norm": math.nan}
    page = metrics(steps, job(f"ftjob-{HOSTILE}"), checkpoints=(17,))._repr_html_()
    seen = open_page(f"<!doctype html><title>still</title>{panel(state, NOW + 300)}<hr>{page}", tmp_path)
    assert seen.requests == ()
    assert "<title>still</title>" in seen.dom
    assert "<script" not in seen.dom
    assert "\x1b" not in seen.dom
    above, below = seen.dom.split("<hr>")
    for part in (above, below):
        assert "&lt;script&gt;" in part
        assert part.count("<figure>") == 7  # six documented metrics and the service's own
        assert part.count("<polyline") >= 7
    assert "step 20 of 20" in above
    assert "width:100.0%" in above
    assert below.count("<polyline") >= 6 * 2 + 1
    assert below.count("checkpoint at step 17") == 7
    assert "not a finite number at step 21" in below


def test_a_notebook_has_one_panel_that_is_updated(service: Service) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    name = started(service)
    InteractiveShell.instance()
    try:
        with capture_output() as captured, Client(transport=LocalTransport(service)) as client:
            client.jobs.watch(name, style="notebook", poll_interval=0.01)
            view("notebook", None).leave(name)
    finally:
        InteractiveShell.clear_instance()
    outputs: list[Any] = captured.outputs
    panels = [output for output in outputs if "rft-live" in output.data["text/html"]]
    assert len(panels) >= 1
    assert len({output.transient["display_id"] for output in panels}) == 1
    assert [output.update for output in panels] == [False, *[True] * (len(panels) - 1)]
    assert "step 25 of 25" in panels[-1].data["text/html"]
    assert "client.jobs.watch" in outputs[-1].data["text/html"]


def test_the_automatic_style_depends_on_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    def kind(stream: io.StringIO | None) -> str:
        return type(view("auto", stream)).__name__

    monkeypatch.setenv("TERM", "xterm")
    assert (kind(io.StringIO()), kind(Tty())) == ("Plain", "Terminal")
    monkeypatch.setenv("TERM", "dumb")
    assert kind(Tty()) == "Plain"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich", None)
    assert kind(Tty()) == "Plain"
    monkeypatch.delitem(sys.modules, "bedrock_rft.metrics._live.terminal", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'bedrock_rft[rich]'")):
        view("terminal", Tty())
    with pytest.raises(ConfigurationError, match="style must be one of auto, terminal"):
        view("fancy", None)  # type: ignore[arg-type] # an invalid value


def test_a_notebook_kernel_gets_a_panel() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    try:
        assert type(view("auto", None)).__name__ != "Notebook"  # IPython in a terminal
        shell.kernel = object()
        assert type(view("auto", None)).__name__ == "Notebook"
        assert type(view("auto", io.StringIO())).__name__ == "Plain"
    finally:
        InteractiveShell.clear_instance()


def test_characters_that_a_stream_cannot_encode_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    for style in ("plain", "terminal"):
        shown = view(style, stream)
        state, (change,) = state_after([message("größer"), *events(healthy()[:30])])
        shown.show(state, change)
        shown.close()
    assert b"gr\\xf6\\xdfer" in raw.getvalue()
    assert b"===" in raw.getvalue()


@pytest.mark.parametrize("style", ["auto", "plain", "json", "terminal", "none"])
@pytest.mark.parametrize("state", ["missing", "closed"])
def test_views_survive_a_missing_or_closed_standard_output(
    style: Any, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, closed if state == "closed" else None)
    shown = view(style, None)
    now, (change,) = state_after([message("begun"), *events(healthy()[:30])])
    shown.show(now, change)
    shown.leave("ftjob-1")
    shown.close()


def test_bidirectional_controls_are_escaped() -> None:
    assert sanitize_line("a\u202eb\u2066c\ud800") == r"a\u202eb\u2066c\ud800"


# Watching a job


def test_watching_returns_the_ended_job_sync_and_async(service: Service) -> None:
    first, second = started(service), started(service)
    stream, seen = io.StringIO(), list[Event]()
    with Client(transport=LocalTransport(service)) as client:
        ended = client.jobs.watch(first, style="json", file=stream, poll_interval=0.01, on_event=seen.append)
    assert ended.status == "succeeded"

    async def other() -> Job:
        async with AsyncClient(transport=LocalTransport(service, blocking=False)) as client:
            return await client.jobs.watch(second, style="none", poll_interval=0.01)

    assert asyncio.run(other()).status == "succeeded"
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    steps = [one["step"] for one in found if one["kind"] == "step"]
    assert steps == list(range(1, 26)) == [event.metrics.step for event in seen if event.metrics]
    assert [one["step_number"] for one in found if one["kind"] == "checkpoint"][-1] == 25
    assert found[-1] == found[-1] | {
        "kind": "status",
        "status": "succeeded",
        "fine_tuned_model": ended.fine_tuned_model,
    }


def test_watching_takes_the_range_of_the_reward(service: Service) -> None:
    name, stream = started(service), io.StringIO()
    with Client(transport=LocalTransport(service)) as client:
        with pytest.raises(ConfigurationError, match=r"reward_range is \(1, 0\)"):
            client.jobs.watch(name, style="none", reward_range=(1, 0))
        client.jobs.watch(name, style="json", file=stream, poll_interval=0.01, reward_range=(0, 100))
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "reward_low" in {one["code"] for one in found if one["kind"] == "alarm"}


def test_watching_raises_as_waiting_does(service: Service) -> None:
    name = started(service)
    with Client(transport=LocalTransport(service)) as client:
        client.jobs.cancel(name)
        with pytest.raises(JobCancelledError):
            client.jobs.watch(name, style="none")
        assert client.jobs.watch(name, style="none", raise_on_failure=False).status == "cancelled"


def test_watching_times_out(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Service(tmp_path, **QUICK, pace=60) as slow, Client(transport=LocalTransport(slow)) as client:
        name = started(slow)
        with pytest.raises(WaitTimeoutError):
            client.jobs.watch(name, style="plain", file=stream, timeout=0.05, poll_interval=0.01)
    assert "training has started" in stream.getvalue()


def test_a_job_that_was_never_reached_is_not_called_running(service: Service) -> None:
    stream = io.StringIO()

    async def interrupted() -> None:
        async with AsyncClient(transport=LocalTransport(service, blocking=False)) as client:
            task = asyncio.create_task(client.jobs.watch("ftjob-1", style="plain", file=stream))
            await asyncio.sleep(0)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert stream.getvalue().startswith("Job ftjob-1 was never reached, so its state is unknown.\n  resume ")


def test_ctrl_c_leaves_the_job_running_and_shows_how_to_resume(tmp_path: Path) -> None:
    stream = io.StringIO()

    def press(_: Event) -> None:
        signal.raise_signal(signal.SIGINT)

    with Service(tmp_path, **QUICK, pace=60) as slow:
        name = started(slow)
        with Client(transport=LocalTransport(slow)) as client:
            with pytest.raises(KeyboardInterrupt):
                client.jobs.watch(name, style="plain", file=stream, on_event=press)
            assert client.jobs.retrieve(name).status not in {"cancelled", "failed"}
        last = [
            f"Job {name} is still running.",
            f"  resume     client.jobs.watch('{name}')",
            f"  stop it    client.jobs.cancel('{name}')",
        ]
        assert stream.getvalue().splitlines()[-3:] == last
        assert max(map(len, last)) <= 80
        other = io.StringIO()

        async def cancelled() -> None:
            async with AsyncClient(transport=LocalTransport(slow, blocking=False)) as client:
                task = asyncio.create_task(
                    client.jobs.watch(name, style="plain", file=other, on_event=lambda _: task.cancel())
                )
                await task

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(cancelled())
        assert other.getvalue().splitlines()[-3:] == last


SCRIPT = """
import json, time
from pathlib import Path
from bedrock_rft import Client
from bedrock_rft.local import LocalTransport, Service

class Transport(LocalTransport):  # with the time between two frames, as over a network
    async def sleep(self, seconds):
        time.sleep(seconds)

def score(event, _):
    return [{{"id": one["id"], "aggregate_reward_score": 0.5}} for one in event]

with Service(reward=score, pace=0.1, group_size=2) as service, Client(transport=Transport(service)) as client:
    file = client.files.upload(json.loads(Path("train.json").read_text()))
    settings = {{"batch_size": 1}}
    job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward={arn!r}, hyperparameters=settings)
    try:
        client.jobs.watch(job, poll_interval=0.1)
    except KeyboardInterrupt:
        print("job", client.jobs.retrieve(job).status)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "train.json").write_text(json.dumps(records()), encoding="utf-8")
    path = tmp_path / "watch.py"
    path.write_text(SCRIPT.format(arn=ARN), encoding="utf-8")
    return path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals of this kind")
def test_watching_on_a_terminal_of_80_columns(script: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, script],
        cwd=script.parent,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,
    )
    os.close(slave)
    seen, pressed = b"", False
    try:
        while (part := _read(master)) is not None:
            seen += part
            # Between two frames: an interrupted frame shares its last line with later output.
            if b"of 100" in seen and not pressed and not select.select([master], [], [], 0.05)[0]:
                pressed = True
                child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 0
    finally:
        child.kill()
        child.wait()
        os.close(master)
    text = seen.decode()
    assert "\x1b[?25l" in text  # the cursor is hidden while it draws
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # and there again
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    assert max(map(len, lines)) <= 80
    assert any(re.search(r"step \d+ of 100 .* so far", line) for line in lines)
    assert any(line.startswith("reward") for line in lines)
    after = lines[next(n for n, line in enumerate(lines) if line.endswith("is still running.")) :]
    assert re.fullmatch(r"  resume     client\.jobs\.watch\('local-ftjob-\w+'\)", after[1])
    assert after[3] == "job running"


def _read(master: int) -> bytes | None:
    try:
        return os.read(master, 65536) or None
    except OSError:  # Linux's way of saying that the other side has closed
        return None


def test_tmux_shows_the_view(script: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    server = ["tmux", "-L", f"rft-{os.getpid()}"]

    def tmux(*arguments: str) -> str:
        return subprocess.run([*server, *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours

    # Ctrl-C reaches the shell too, and tmux would end with it.
    command = f"trap : INT; cd {script.parent} && {sys.executable} {script.name}; sleep 60"
    tmux("new-session", "-d", "-x", "80", "-y", "24", f"PYTHONIOENCODING=utf-8 LC_ALL=C.UTF-8 sh -c '{command}'")
    try:
        screen = _until(lambda: tmux("capture-pane", "-p"), r"step [3-9] of 100")
        lines = screen.rstrip().splitlines()
        assert re.match(r"local-ftjob-\w{32}  running  openai", lines[0])
        assert re.match(r"━{30}  step \d of 100  \d+ s so far", lines[1])
        assert [line.split("  ")[0] for line in lines[2:5]] == ["reward", "entropy", "gradient norm"]
        assert "Local service" in lines[-1]
        tmux("send-keys", "C-c")
        screen = _until(lambda: tmux("capture-pane", "-p"), r"job running")
        assert screen.count("running  openai") == 1  # drawn in place
        assert re.search(r"is still running\.\n  resume     client\.jobs\.watch\('\S+'\)\n  stop it", screen)
    finally:
        tmux("kill-server")


def _until(screen: Callable[[], str], pattern: str) -> str:
    shown = ""
    for _ in range(200):
        shown = screen()
        if re.search(pattern, shown):
            return shown
        time.sleep(0.1)
    return pytest.fail(f"{pattern} never showed:\n{textwrap.indent(shown, '  ')}")
