"""Read the log of a deployed function in CloudWatch, and summarise it with what to change.

Lambda writes the lines as text, or as JSON if the function's log format is JSON.

Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle", "Failures during the
invoke phase", and "Telemetry API Event schema reference".
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from statistics import median
from typing import Any, cast

from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import LOG_GROUPS

_UNITS = (
    r"(Billed Restore Duration|Restore Duration|Billed Duration|Init Duration|Duration|Memory Size|Max Memory Used)"
)
_FIELD = re.compile(rf"(?:^|\s){_UNITS}: ([\d.]+) (?:ms|MB)")
_REQUEST = re.compile(r"(START|REPORT) RequestId:\s*(\S+)")
_STATUS = re.compile(r"Status: (\w+)(?:\s+Error Type: (\S+))?")
_TIMEOUT_LINE = re.compile(r"(\S+) Task timed out after ([\d.]+) seconds")
_EXIT_LINE = re.compile(r"RequestId: (\S+) Error: Runtime exited(?: with error: (.+))?")
_ERROR_LINE = re.compile(r"^\[ERROR\] ([\w.]+)", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"
_REPORT_NAMES = {
    "durationMs": "Duration",
    "memorySizeMB": "Memory Size",
    "maxMemoryUsedMB": "Max Memory Used",
    "initDurationMs": "Init Duration",
    "restoreDurationMs": "Restore Duration",
}
_OUT_OF_MEMORY = "Runtime.OutOfMemory"
_HIGH_MEMORY_SHARE = 0.9
_MAX_START_SECONDS = 10.0  # seconds; Lambda then starts the instance again, within the time of the invocation
_MAX_MEMORY = 10_240


@dataclass(frozen=True)
class LogLine(ShortRepr):
    """One line of a function's log.

    Attributes:
        id: identifies the line.
        at: Unix time in seconds.
        message: the text, unchanged from the service. Escape it before printing.
        stream: the name of the log stream, one for each instance of the function.
    """

    id: str
    at: float
    message: str
    stream: str


@dataclass(frozen=True)
class LogSummary(Findings):
    """Figures of a function's log, with findings about what to change. Print it, or display it in a notebook.

    An error that the reward handles, such as an exception in a grader, is not an error of the invocation.

    Attributes:
        invocations: number of invocations that ended in the period.
        failed: number of these that failed, without those that timed out.
        timeouts: number of these that timed out.
        throttles: None, because the log does not have the invocations that Lambda rejected.
        cold_starts: number of invocations for which Lambda started, or restored, an instance.
        durations: seconds of each invocation, shortest first, without the start of the instance.
        starts: seconds of each start of an instance, shortest first.
        memory_used: most megabytes that an instance used; None without an invocation.
        memory: megabytes of the function; None without an invocation.
        error_types: number of failed invocations by the type of the error.
        timeout: seconds after which invocations timed out; None if none did.
    """

    invocations: int = 0
    failed: int = 0
    timeouts: int = 0
    throttles: None = None
    cold_starts: int = 0
    durations: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()
    memory_used: int | None = None
    memory: int | None = None
    error_types: Mapping[str, int] = field(default_factory=dict[str, int])
    timeout: float | None = None
    period: str = ""

    @property
    def duration_p50(self) -> float | None:
        """The median of the durations in seconds; None without an invocation."""
        return median(self.durations) if self.durations else None

    @property
    def duration_p95(self) -> float | None:
        """The duration in seconds that 95 % of the invocations do not exceed; None without an invocation."""
        return self.durations[math.ceil(0.95 * len(self.durations)) - 1] if self.durations else None

    @property
    def duration_max(self) -> float | None:
        """The longest duration in seconds; None without an invocation."""
        return self.durations[-1] if self.durations else None

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the figures by name."""
        rows = [("invocations", f"{self.invocations:,} {self.period}".rstrip())]
        if self.durations:
            p50, p95, longest = (f"{value:.3f}" for value in (self.duration_p50, self.duration_p95, self.duration_max))
            starts = f", in up to {self.starts[-1]:.3f} s" if self.starts else ""
            rows += [
                ("failed", f"{self.failed:,} errors, {self.timeouts:,} time-outs, throttles unknown"),
                ("seconds", f"p50 {p50}, p95 {p95}, longest {longest}"),
                ("memory", f"{self.memory_used:,} of {self.memory:,} MB"),
                ("cold starts", f"{self.cold_starts:,} ({self.cold_starts / self.invocations:.0%}){starts}"),
            ]
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        derived = {name: getattr(self, name) for name in ("duration_p50", "duration_p95", "duration_max")}
        return {**super().to_dict(), **derived}


@dataclass
class _Tally:
    """Counts of the invocations of a log. Errors are by request id."""

    reports: list[Mapping[str, float]] = field(default_factory=list[Mapping[str, float]])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    timed_out: set[str] = field(default_factory=set[str])
    current: dict[str, str] = field(default_factory=dict[str, str])
    limit: float | None = None
    slow_start: bool = False

    def add(self, line: LogLine) -> None:
        text = line.message
        if text.startswith("{"):
            try:
                content: object = json.loads(text)
            except (ValueError, RecursionError):
                return
            if isinstance(content, dict):
                self._add_json(line.stream, cast("dict[str, Any]", content))
        elif match := _REQUEST.match(text):
            if match[1] == "START":
                self.current[line.stream] = match[2]
                return
            status = _STATUS.search(text)
            values = {name: float(value) for name, value in _FIELD.findall(text)}
            self._add_report(match[2], values, *(status.groups() if status else (None, None)))
        elif match := _TIMEOUT_LINE.search(text):
            self._add_timeout(match[1], float(match[2]))
        elif match := _EXIT_LINE.match(text):
            self.failed.setdefault(match[1], "Runtime.ExitError")
        elif _TRACEBACK in text and (match := _ERROR_LINE.search(text)):
            self._add_failure(line.stream, match[1])
        elif text.startswith("INIT_REPORT") and "Status: timeout" in text:
            self.slow_start = True

    def _add_json(self, stream: str, content: Mapping[str, Any]) -> None:
        record = content.get("record")
        if isinstance(record, dict):
            fields = cast("dict[str, Any]", record)
            request, status = str(fields.get("requestId", "")), fields.get("status")
            if content.get("type") == "platform.start":
                self.current[stream] = request
            elif content.get("type") == "platform.report":
                metrics = cast("Mapping[str, float]", fields.get("metrics") or {})
                values = {name: float(metrics[key]) for key, name in _REPORT_NAMES.items() if key in metrics}
                self._add_report(request, values, status, fields.get("errorType"))
            elif content.get("type") == "platform.initReport" and status == "timeout":
                self.slow_start = True
        # An error that the runtime wrote; older runtimes write `log_level`.
        elif (
            content.get("level", content.get("log_level")) == "ERROR"
            and "errorType" in content
            and "logger" not in content
        ):
            self.failed[str(content.get("requestId") or self.current.get(stream, stream))] = str(content["errorType"])
        elif match := _TIMEOUT_LINE.search(str(content.get("message", ""))):
            self._add_timeout(match[1], float(match[2]))

    def _add_report(
        self, request: str, values: Mapping[str, float], status: str | None, error_type: str | None
    ) -> None:
        if not all(map(math.isfinite, values.values())):
            return
        self.reports.append(values)
        if status == "timeout":
            self._add_timeout(request, None)
        elif status not in (None, "success"):
            self.failed[request] = str(error_type or self.failed.get(request, "unknown"))

    def _add_failure(self, stream: str, error_type: str) -> None:
        self.failed[self.current.get(stream, stream)] = error_type

    def _add_timeout(self, request: str, limit: float | None) -> None:
        self.timed_out.add(request)
        self.limit = limit or self.limit


def summarize(function: str, lines: Iterable[LogLine]) -> LogSummary:
    """Return the summary of the lines of a function's log, oldest first."""
    tally, times = _Tally(), list[float]()
    for line in lines:
        times.append(line.at)
        with suppress(TypeError, ValueError, AttributeError):  # the function may print anything
            tally.add(line)
    error_types = {request: kind for request, kind in tally.failed.items() if request not in tally.timed_out}
    reports = tally.reports
    starts = [sum(one.get(name, 0.0) for name in ("Init Duration", "Restore Duration")) / 1000 for one in reports]
    pairs = zip(reports, starts, strict=True)
    cold = [seconds for one, seconds in pairs if {"Init Duration", "Restore Duration"} & one.keys()]
    ends = (min(times, default=0.0), max(times, default=0.0))
    first, last = (f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M}" for at in ends)
    figures: dict[str, Any] = {
        "invocations": len(reports),
        "failed": len(error_types),
        "timeouts": len(tally.timed_out),
        "cold_starts": len(cold),
        "durations": tuple(sorted(one.get("Duration", 0.0) / 1000 for one in reports)),
        "starts": tuple(sorted(cold)),
        "memory_used": max((int(one.get("Max Memory Used", 0)) for one in reports), default=None),
        "memory": max((int(one.get("Memory Size", 0)) for one in reports), default=None),
        "error_types": dict(Counter(error_types.values()).most_common()),
        "timeout": tally.limit,
        "period": f"from {first} to {last} UTC" if times else "",
    }
    summary = LogSummary(title=f"Log of {function}", findings=(), **figures)
    return LogSummary(
        summary.title, tuple(_summary_findings(function, summary, ends, slow_start=tally.slow_start)), **figures
    )


def _summary_findings(
    function: str, log: LogSummary, ends: tuple[float, float], *, slow_start: bool
) -> Iterator[Finding]:
    if not log.invocations:
        reason = "the log has no REPORT line in this period, and the log lags behind by seconds"
        remedy = "Wait, or read more of the log with since="
        yield Finding("unknown", "no_invocations", f"No invocation of {function} ended", reason, remedy)
        return
    yield from _failure_findings(log)
    yield _memory_finding(log)
    longest = log.starts[-1] if log.starts else 0.0
    if slow_start or longest > _MAX_START_SECONDS:
        summary = f"An instance took more than {_MAX_START_SECONDS:.0f} s to start"
        reason = "Lambda then starts it again, within the time of the invocation"
        yield Finding(
            "warning", "slow_start", summary, reason, "Package less, import less, or deploy with more memory="
        )
    start, end = (f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:00Z}" for at in (ends[0], ends[1] + 60))
    command = (
        "aws cloudwatch get-metric-statistics --namespace AWS/Lambda --metric-name Throttles --statistics Sum --period "
        f"3600 --dimensions Name=FunctionName,Value={function} --start-time {start} --end-time {end}"
    )
    reason = "the log does not have invocations that Lambda rejected"
    yield Finding("unknown", "throttles", "The number of throttled invocations is unknown", reason, f"Run: {command}")


def _failure_findings(log: LogSummary) -> Iterator[Finding]:
    if log.timeouts:
        limit_text = f" after {log.timeout:g} s" if log.timeout else ""
        summary = f"{log.timeouts:,} of {log.invocations:,} invocations timed out{limit_text}"
        remedy = "Deploy with a longer timeout= (900 s at most), or make the reward faster or async"
        yield Finding("error", "timeouts", summary, "their rollouts have no reward", remedy)
    if log.failed:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in log.error_types.items())
        summary = f"{log.failed:,} of {log.invocations:,} invocations failed"
        remedy = "Read the tracebacks in the log, and run rewards.check on the reward"
        yield Finding("error", "errors", summary, f"their rollouts have no reward. By type: {kinds}", remedy)
    if not log.timeouts and not log.failed:
        yield Finding("ok", "no_failures", f"All {log.invocations:,} invocations succeeded")


def _memory_finding(log: LogSummary) -> Finding:
    megabytes, limit = log.memory_used or 0, log.memory or 0
    summary = f"The function used up to {megabytes:,} of {limit:,} MB"
    remedy = f"Deploy with memory={min(2 * limit, _MAX_MEMORY)}, or hold less data in memory"
    if _OUT_OF_MEMORY in log.error_types or megabytes >= limit:
        return Finding("error", "out_of_memory", summary, "Lambda ends an instance that needs more", remedy)
    if megabytes > _HIGH_MEMORY_SHARE * limit:
        return Finding("warning", "little_memory", summary, "Lambda ends an instance that needs more", remedy)
    return Finding("ok", "memory", summary)


POLL_SECONDS = 2.0
_MAX_DELAY = 60.0
"""Seconds by which a line may arrive later than newer lines."""


class LogLines(list[LogLine]):
    """The lines of a function's log, oldest first.

    Attributes:
        function: the name of the function.
    """

    def __init__(self, function: str, lines: Iterable[LogLine] = ()) -> None:
        super().__init__(lines)
        self.function = function

    def __repr__(self) -> str:
        return f"<LogLines of {self.function}: {len(self):,} lines>"

    def summary(self) -> LogSummary:
        """Return invocations, errors, time-outs, durations, memory and cold starts, with what to change."""
        return summarize(self.function, self)


class LogReader:
    """Reads each line of a function's log once, beginning `since` seconds ago."""

    def __init__(self, account: Account, name: str, since: float) -> None:
        account.set_subject(account.function_arn(name), "")
        self._account, self._name, self._start = account, name, time.time() - since
        self._seen: dict[str, float] = {}

    def read(self) -> LogLines:
        """Return the lines that were not returned yet, oldest first. A function that never ran has no log."""
        lines = [line for line in self._fetch() if line.id not in self._seen]
        self._seen |= {line.id: line.at for line in lines}
        self._start = max([self._start, *(at - _MAX_DELAY for at in self._seen.values())])
        self._seen = {line_id: at for line_id, at in self._seen.items() if at >= self._start}
        return LogLines(self._name, sorted(lines, key=lambda line: line.at))

    def _fetch(self) -> Iterator[LogLine]:
        parameters = {"logGroupName": f"{LOG_GROUPS}{self._name}", "startTime": int(self._start * 1000)}
        response = self._account.get_or_none("logs", "FilterLogEvents", pages=True, **parameters) or {}
        for one in response.get("events", ()):
            text = str(one.get("message", "")).rstrip("\n")
            at, stream = one.get("timestamp", 0) / 1000, str(one.get("logStreamName", ""))
            yield LogLine(str(one.get("eventId", "")), at, text, stream)
