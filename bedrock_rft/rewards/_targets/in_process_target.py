"""A reward that is invoked in this process."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Generator
from typing import Any, TextIO, cast

from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.entry_point import call_handler, load_handler
from bedrock_rft.rewards._targets.fingerprint import fingerprint_object
from bedrock_rft.rewards._targets.target import MAX_OUTPUT_CHARS, Outcome

__all__ = ["InProcessTarget"]


class InProcessTarget:
    """A function in this process.

    A call that exceeds the timeout is abandoned in its thread. A function that ends the process ends this one.
    """

    arn = None

    def __init__(self, reward: Any, name: str, timeout: float) -> None:
        self.name, self.timeout = name, timeout
        self._reward, self._entry = reward, load_handler(reward)

    @property
    def fingerprint(self) -> str:
        return fingerprint_object(self._reward)

    def call(self, event: object) -> Any:
        """Call the function and let it print. Raises `RewardError` if it raises or exceeds the timeout."""
        return call_handler(self._entry, event, timeout=self.timeout)

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        output = io.StringIO()
        stdout, stderr = (cast("TextIO", _ThreadOutput(stream, output)) for stream in (sys.stdout, sys.stderr))
        # Lambda writes prints and log records to the same log.
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            _captured_log(logging.StreamHandler(output)),
        ):
            try:
                result, error = self.call(event), None
            except RewardError as raised:
                result, error = None, raised
        return Outcome(result, time.monotonic() - began, output.getvalue()[:MAX_OUTPUT_CHARS], error)

    def close(self) -> None:
        pass


class _ThreadOutput:
    """A standard stream that captures the threads started after it, and lets all other threads print as before."""

    def __init__(self, stream: TextIO, captured: TextIO) -> None:
        self._stream, self._captured = stream, captured
        self._others = {thread.ident for thread in threading.enumerate()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream if threading.get_ident() in self._others else self._captured, name)


@contextlib.contextmanager
def _captured_log(handler: logging.Handler) -> Generator[None]:
    logger = logging.getLogger("bedrock_rft.rewards")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
