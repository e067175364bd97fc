"""A reward that is invoked in this process."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Generator
from typing import Any

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
        # Lambda writes prints and log records to the same log.
        with contextlib.redirect_stdout(output), _captured_log(logging.StreamHandler(output)):
            try:
                result, error = self.call(event), None
            except RewardError as raised:
                result, error = None, raised
        return Outcome(result, time.monotonic() - began, output.getvalue()[:MAX_OUTPUT_CHARS], error)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _captured_log(handler: logging.Handler) -> Generator[None]:
    logger = logging.getLogger("bedrock_rft.rewards")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
