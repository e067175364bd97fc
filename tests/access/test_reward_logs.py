"""The log of a deployed function: read, followed and summarised."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command import command
from support.deploy_setup import build_package
from support.lambda_runtime import LambdaRuntime, find_interpreter
from support.moto_server import Aws

from bedrock_rft import AsyncClient, Client
from bedrock_rft.access import LogLine, LogLines, LogSummary
from bedrock_rft.access._deployment import logs as logs_module
from bedrock_rft.access._deployment.account import Account

GROUP = "/aws/lambda/sums"
RUNTIME = f"python3.{sys.version_info.minor}"
ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
SOURCE = """
import logging

def lambda_handler(event, context):
    if event[0]["id"] == "logs":
        logging.getLogger("bedrock_rft.rewards").error("the judge was not reached")
    if event[0]["id"] == "raises":
        raise KeyError("reference_answer")
    print("scored", len(event))
    return [{"id": one["id"], "aggregate_reward_score": 1.0} for one in event]
"""


def summarize(*texts: str, stream: str = "one") -> LogSummary:
    lines = (LogLine(str(place), 1.7e9 + place, text, stream) for place, text in enumerate(texts))
    return LogLines("sums", lines).summary()


def report(request: str = ID, *, duration: float = 12.5, used: int = 84, more: str = "") -> str:
    """Return a REPORT line as Lambda writes it, with tabs."""
    memory = f"Memory Size: 512 MB\tMax Memory Used: {used} MB\t"
    return f"REPORT RequestId: {request}\tDuration: {duration:.2f} ms\tBilled Duration: 13 ms\t{memory}{more}"


def json_report(request: str = ID, status: str | None = "success", **more: Any) -> str:
    metrics = {"durationMs": 12.5, "billedDurationMs": 13, "memorySizeMB": 512, "maxMemoryUsedMB": 84}
    record = {"requestId": request, "metrics": metrics | more.pop("metrics", {}), "status": status, **more}
    return json.dumps({"time": "2026-11-28T14:03:22.123Z", "type": "platform.report", "record": record})


def codes(found: LogSummary) -> dict[str, str]:
    return {finding.code: finding.level for finding in found.findings}


# Formats


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (report(), {}),
        (report(more="Init Duration: 219.44 ms\t"), {"cold_starts": 1, "starts": (0.21944,)}),
        (report(more="XRAY TraceId: 1-61c86fa4\tSegmentId: 107ea78a\tSampled: true\t"), {}),
        (
            report(more="Restore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\t"),
            {"cold_starts": 1, "starts": (pytest.approx(0.39897),)},
        ),
        (report(more="Status: timeout"), {"timeouts": 1}),
        (report(more="Status: error\tError Type: Runtime.ExitError"), {"error_types": {"Runtime.ExitError": 1}}),
        (json_report(), {}),
        (json_report(metrics={"initDurationMs": 219.44}), {"cold_starts": 1, "starts": (0.21944,)}),
        (json_report(metrics={"restoreDurationMs": 398.97}), {"cold_starts": 1, "starts": (pytest.approx(0.39897),)}),
        (json_report(status="timeout"), {"timeouts": 1}),
        (json_report(status="error", errorType="Runtime.ExitError"), {"error_types": {"Runtime.ExitError": 1}}),
        (json_report(status="failure"), {"error_types": {"unknown": 1}}),
    ],
)
def test_documented_reports_are_read(line: str, expected: dict[str, Any]) -> None:
    found = summarize(line)
    assert (found.invocations, found.duration_max, found.memory_used, found.memory) == (1, 0.0125, 84, 512)
    defaults: dict[str, Any] = {"timeouts": 0, "cold_starts": 0, "starts": (), "error_types": {}}
    assert {name: getattr(found, name) for name in defaults} == defaults | expected
    assert found.failed == sum(found.error_types.values())
    assert found.throttles is None


TIMED_OUT = f"2026-11-28T14:03:22.123Z {ID} Task timed out after 3.00 seconds"


@pytest.mark.parametrize(
    "lines",
    [
        [f"{TIMED_OUT}\n", f"END RequestId: {ID}", report()],
        [f"END RequestId: {ID}", report(more="Status: timeout"), TIMED_OUT],
        [json.dumps({"timestamp": "2026-11-28T14:03:22.123Z", "message": TIMED_OUT}), json_report()],
        [f"RequestId: {ID} Error: Runtime exited with error: signal: killed", TIMED_OUT, report()],
    ],
)
def test_a_timeout_counts_once_with_its_limit(lines: list[str]) -> None:
    found = summarize(f"START RequestId: {ID} Version: 3", *lines)
    assert (found.invocations, found.timeouts, found.failed, found.timeout) == (1, 1, 0, 3.0)
    [finding] = found.errors
    assert str(finding).startswith("1 of 1 invocations timed out after 3 s. Their rollouts have no reward. Deploy with")


def test_an_instance_that_ends_is_a_failure() -> None:
    killed = f"RequestId: {ID} Error: Runtime exited with error: signal: killed"
    found = summarize(killed, report(used=512))
    assert (found.failed, found.error_types) == (1, {"Runtime.ExitError": 1})
    assert codes(found) == {"errors": "error", "out_of_memory": "error", "throttles": "unknown"}
    assert "Deploy with memory=1024" in str(found)
    named = summarize(killed, report(used=512, more="Status: error\tError Type: Runtime.OutOfMemory"))
    assert named.error_types == {"Runtime.OutOfMemory": 1}


def test_an_exception_that_the_function_logged_is_no_failure() -> None:
    fields = {"level": "ERROR", "errorType": "KeyError", "errorMessage": "'x'", "requestId": ID}
    logged = json.dumps({**fields, "message": "not scored", "logger": "bedrock_rft.rewards"})
    assert summarize(logged, json_report()).failed == 0
    older = {"log_level" if name == "level" else name: value for name, value in fields.items()}
    for written in (fields, older):
        assert summarize(json.dumps(written), json_report()).error_types == {"KeyError": 1}


def test_a_slow_start_is_a_warning() -> None:
    assert "slow_start" not in codes(summarize(report(more="Init Duration: 900.00 ms\t")))
    for line in (
        "INIT_REPORT Init Duration: 10010.75 ms\tPhase: init\tStatus: timeout",
        json.dumps({"type": "platform.initReport", "record": {"status": "timeout", "phase": "init"}}),
    ):
        assert codes(summarize(line, report()))["slow_start"] == "warning"


def test_an_exception_belongs_to_the_invocation_of_its_instance() -> None:
    raised = "[ERROR] KeyError: 'x'\rTraceback (most recent call last):\r  File \"/var/task/f.py\", line 2, in f"
    lines = [
        LogLine("1", 1.0, "START RequestId: a Version: 1", "one"),
        LogLine("2", 1.1, "START RequestId: b Version: 1", "two"),
        LogLine("3", 1.2, raised, "one"),
        LogLine("4", 1.3, "[ERROR] not an exception", "two"),
        LogLine("5", 1.4, "[ERROR]\t2026-11-28T14:03:22.123Z\tb\tlogged\nTraceback (most recent call last):", "two"),
        LogLine("6", 1.5, report("b"), "two"),
        LogLine("7", 1.6, report("a"), "one"),
        LogLine("8", 1.7, raised.replace("KeyError", "ValueError"), "three"),  # its START precedes the period
        LogLine("9", 1.8, report("c"), "three"),
    ]
    found = LogLines("sums", lines).summary()
    assert (found.invocations, found.error_types) == (3, {"KeyError": 1, "ValueError": 1})


@settings(max_examples=20)
@given(st.lists(st.floats(0.01, 900_000), min_size=1, max_size=60))
def test_percentiles_are_durations_of_invocations(milliseconds: list[float]) -> None:
    found = summarize(*(report(str(place), duration=value) for place, value in enumerate(milliseconds)))
    ordered = sorted(round(value, 2) / 1000 for value in milliseconds)
    assert found.invocations == len(ordered)
    assert found.duration_max == pytest.approx(ordered[-1])
    assert found.duration_p95 in found.durations
    assert sum(one <= (found.duration_p95 or 0) for one in found.durations) >= 0.95 * len(ordered)
    assert max(map(len, str(found).splitlines())) <= 80 or "aws cloudwatch" in str(found)


@settings(max_examples=50)
@given(st.lists(st.text() | st.sampled_from([report(), "{}", "[]", "{", '{"record": 1}', '{"level": "ERROR"}'])))
def test_other_lines_do_not_matter(texts: list[str]) -> None:
    assert summarize(*texts).invocations == texts.count(report())


@pytest.mark.parametrize(
    "line",
    [
        "REPORT RequestId: x Duration: 1.2.3 ms",
        "x Task timed out after 1.2.3 seconds",
        '{"type": "platform.report", "record": {"metrics": {"durationMs": "x"}}}',
        '{"type": "platform.report", "record": {"metrics": {"maxMemoryUsedMB": Infinity}}}',
        '{"type": "platform.report", "record": {"metrics": "durationMs"}}',
    ],
)
def test_lines_of_the_function_that_resemble_those_of_lambda_do_not_matter(line: str) -> None:
    assert str(summarize(report(), line)) == str(summarize(report(), "any text"))


def test_a_log_without_invocations_is_unknown() -> None:
    found = summarize()
    assert (found.duration_p50, found.duration_p95, found.duration_max, found.memory) == (None,) * 4
    assert codes(found) == {"no_invocations": "unknown"}
    assert found.to_dict()["duration_p95"] is None


def test_the_text_of_a_summary() -> None:
    more = "Init Duration: 300.00 ms\t"
    lines = (report(str(place), duration=101 + place, more=more * (place < 2)) for place in range(20))
    text = str(summarize(*lines))
    assert "--start-time 2023-11-14T22:13:00Z --end-time 2023-11-14T22:14:00Z" in " ".join(text.split())
    assert text.splitlines()[:8] == [
        "Log of sums: 1 check could not run",
        "  invocations  20 from 2023-11-14 22:13 to 2023-11-14 22:13 UTC",
        "  failed       0 errors, 0 time-outs, throttles unknown",
        "  seconds      p50 0.111, p95 0.119, longest 0.120",
        "  memory       84 of 512 MB",
        "  cold starts  2 (10%), in up to 0.300 s",
        "  unknown: The number of throttled invocations is unknown. The log does not have",
        "      invocations that Lambda rejected. Run: aws cloudwatch",
    ]


# A function that is executed


@pytest.fixture
def aws_logs(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", aws.url)
    monkeypatch.setattr(logs_module, "POLL_SECONDS", 0.05)
    logs = aws.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="one")
    return logs


def put(logs: Any, *texts: str, ago: float = 10.0) -> None:
    now = int((time.time() - ago) * 1000)
    events = [{"timestamp": now + place, "message": text} for place, text in enumerate(texts)]
    logs.put_log_events(logGroupName=GROUP, logStreamName="one", logEvents=events)


@pytest.mark.skipif(find_interpreter(RUNTIME) is None, reason="awslambdaric is not installed")
@pytest.mark.parametrize("form", ["Text", "JSON"])
def test_the_log_of_an_executed_function_is_summarised(aws: Aws, aws_logs: Any, tmp_path: Path, form: str) -> None:
    """The lines of the runtime are real; START and REPORT, which Lambda adds, have the documented form."""
    events: list[str] = []
    package = build_package(SOURCE)
    with LambdaRuntime(package, tmp_path, RUNTIME, variables={"AWS_LAMBDA_LOG_FORMAT": form}) as runtime:
        for number, name in enumerate(("one", "logs", "raises", "two")):
            kind = runtime.invoke([{"id": name}]).kind
            assert kind == ("error" if name == "raises" else "response")
            request = f"{number}-{name}"
            written = [text.replace(ID, request) for text in runtime.log_events[sum(map(_is_own, events)) :]]
            events += [_start(form, request), *written, report(request) if form == "Text" else json_report(request)]
    assert any("the judge was not reached" in text for text in events)
    put(aws_logs, *events)
    with Client(aws.region, auth="aws") as client:
        lines = client.rewards.logs("sums")
    found = lines.summary()
    assert (found.invocations, found.failed, found.error_types) == (4, 1, {"KeyError": 1})
    assert repr(lines) == f"<LogLines of sums: {len(events)} lines>"
    shown = command("reward", "logs", "sums", "--summary")
    assert shown.code == 3, shown.err
    assert "1 of 4 invocations failed. Their rollouts have no reward. By type: KeyError 1." in " ".join(
        shown.out.split()
    )
    whole = command("reward", "logs", "sums")
    assert (whole.code, "\\t" in whole.out, "\r" in whole.out) == (0, False, False)
    assert len(command("reward", "logs", "sums", "-o", "jsonl").out.splitlines()) == len(events)
    assert command("reward", "logs", "sums", "--summary", "-f").code == 2
    assert command("reward", "logs", "sums", "--summary", "-o", "json").json["error_types"] == {"KeyError": 1}


def _start(form: str, request: str) -> str:
    if form == "Text":
        return f"START RequestId: {request} Version: 3"
    return json.dumps({"type": "platform.start", "record": {"requestId": request, "version": "3"}})


def _is_own(text: str) -> bool:
    """Return whether the runtime wrote a line, and not Lambda."""
    return not text.startswith(("START", "REPORT", '{"type": "platform', '{"time"'))


# Following


def test_following_yields_each_line_once_as_it_arrives(aws: Aws, aws_logs: Any) -> None:
    put(aws_logs, *(f"old {number}" for number in range(3)))
    with Client(aws.region, auth="aws") as client:
        lines = client.rewards.logs("sums", since=60, follow=True)
        assert [next(lines).message for _ in range(3)] == ["old 0", "old 1", "old 2"]
        Timer(0.1, put, (aws_logs, "new", "newer"), {"ago": 0}).start()
        assert next(lines).message == "new"
        put(aws_logs, "late", ago=5)  # it arrives after newer lines
        assert sorted(next(lines).message for _ in range(2)) == ["late", "newer"]
        assert repr(lines).startswith("<Rewards.logs()")
        _close(lines)
        assert [line.message for line in client.rewards.logs("sums")][:3] == ["old 0", "old 1", "old 2"]


def _close(lines: Iterator[LogLine]) -> None:
    lines.close()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def test_an_async_client_follows(aws: Aws, aws_logs: Any) -> None:
    put(aws_logs, "old")

    async def follow() -> list[str]:
        found: list[str] = []
        async with AsyncClient(aws.region, auth="aws") as client:
            assert [line.message for line in await client.rewards.logs("sums")] == ["old"]
            async for line in await client.rewards.logs("sums", follow=True):
                found.append(line.message)
                if len(found) == 1:
                    put(aws_logs, "new", ago=0)
                else:
                    break
        return found

    assert asyncio.run(follow()) == ["old", "new"]


def test_the_memory_of_a_follower_is_bounded(aws: Aws, aws_logs: Any) -> None:
    """Lines that are older than the newest by more than a minute cannot arrive any more, so they are forgotten."""
    put(aws_logs, "first", ago=500)
    with Client(aws.region, auth="aws") as client:
        reader = logs_module.LogReader(Account(client._async._session.config), "sums", 3600)
        assert len(reader.read()) == 1
        put(aws_logs, "second", ago=0)
        assert [line.message for line in reader.read()] == ["second"]
        assert len(reader._seen) == 1
        assert reader.read() == []
