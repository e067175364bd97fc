"""What is checked: something that can be invoked, and what came of it."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.entry_point import EntryPoint, call_handler, raised

__all__ = ["SHOWN", "InProcessTarget", "Outcome", "Target", "failure"]

SHOWN = 4000
"""Characters that are kept of what a function prints."""


@dataclass(frozen=True)
class Outcome:
    """What came of one invocation.

    Attributes:
        result: what was returned; None where it raised.
        seconds: that it took.
        printed: what it wrote to its output, as far as is known, shortened.
        error: what went wrong instead.
    """

    result: Any
    seconds: float
    printed: str = ""
    error: RewardError | None = None


class Target(Protocol):
    """A reward function that can be invoked."""

    name: str
    """What a report calls it."""
    timeout: float
    """Seconds that an invocation may take."""

    def invoke(self, event: object) -> Outcome:
        """Invoke it once. What goes wrong is in the outcome."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class InProcessTarget:
    """A function in this process. One that overruns is abandoned in its thread; one that ends the process does so."""

    def __init__(self, entry: EntryPoint, name: str, timeout: float) -> None:
        self.name, self.timeout, self._entry = name, timeout, entry

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        said = io.StringIO()
        log = logging.StreamHandler(said)  # in a Lambda, what is logged stands in the same place
        try:
            with contextlib.redirect_stdout(said), _heard(log):
                result = call_handler(self._entry, event, timeout=self.timeout)
        except RewardError as error:
            return Outcome(None, time.monotonic() - began, said.getvalue()[:SHOWN], error)
        return Outcome(result, time.monotonic() - began, said.getvalue()[:SHOWN])

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _heard(log: logging.Handler) -> Generator[None]:
    own = logging.getLogger("bedrock_rft.rewards")
    own.addHandler(log)
    try:
        yield
    finally:
        own.removeHandler(log)


def failure(code: str, text: str) -> RewardError:
    """What went wrong elsewhere, as the error it would have been here."""
    text = sanitize_line(text, 1200)
    if code == "load":
        return RewardError(f"The reward handler cannot be loaded: {text}.", code="not_loaded")
    if code == "not_json":
        return RewardError(f"The reward handler's answer cannot be sent as JSON: {text}.", code="not_json")
    return raised(text, text.partition(":")[0].partition(" (")[0])
