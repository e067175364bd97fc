"""Read the log of a deployed function in CloudWatch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.log_summary import LogLine, LogSummary, summarize
from bedrock_rft.access._deployment.names import LOG_GROUPS

POLL_SECONDS = 2.0
_LATE = 60.0
"""Seconds within which a line may arrive after newer ones."""


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
        self._start = max([self._start, *(at - _LATE for at in self._seen.values())])
        self._seen = {line_id: at for line_id, at in self._seen.items() if at >= self._start}
        return LogLines(self._name, sorted(lines, key=lambda line: line.at))

    def _fetch(self) -> Iterator[LogLine]:
        parameters = {"logGroupName": f"{LOG_GROUPS}{self._name}", "startTime": int(self._start * 1000)}
        following: str | None = ""
        while following is not None:
            token = {"nextToken": following} if following else {}
            page = self._account.get_or_none("logs", "FilterLogEvents", **parameters, **token) or {}
            for one in page.get("events", ()):
                text = str(one.get("message", "")).rstrip("\n")
                at, stream = one.get("timestamp", 0) / 1000, str(one.get("logStreamName", ""))
                yield LogLine(str(one.get("eventId", "")), at, text, stream)
            following = page.get("nextToken") or None
