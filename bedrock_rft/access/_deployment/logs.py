"""Read the log of a deployed function in CloudWatch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import LOG_GROUPS


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


def read_log(account: Account, name: str, since: float) -> Iterator[LogLine]:
    """Yield the lines of the last `since` seconds, oldest first. A function that never ran has no log."""
    account.set_subject(account.function_arn(name), "")
    start = int((time.time() - since) * 1000)
    token: dict[str, str] = {}
    while True:
        page = account.get_or_none(
            "logs", "FilterLogEvents", logGroupName=f"{LOG_GROUPS}{name}", startTime=start, **token
        )
        for one in (page or {}).get("events", ()):
            text = str(one.get("message", "")).rstrip("\n")
            yield LogLine(
                str(one.get("eventId", "")), one.get("timestamp", 0) / 1000, text, one.get("logStreamName", "")
            )
        following = (page or {}).get("nextToken")
        if not following:
            return
        token = {"nextToken": following}
