"""A reward that is invoked in this process."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO, cast

from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._runtime.deadline import run_until
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.fingerprint import fingerprint_object
from bedrock_rft.rewards._targets.subprocess_worker import LambdaContext, describe_exception, signature_fault
from bedrock_rft.rewards._targets.target import MAX_OUTPUT_CHARS, Outcome, handler_error, timeout_error

_TEXT: set[type] = {str}
_ATOMS = {str, int, float, bool, type(None)}

EntryPoint = Callable[[Any, Any], Any]
"""A Lambda entry point: a function that takes the event and the context, and returns the result."""


class InProcessTarget:
    """A function in this process. A call that exceeds the timeout is abandoned in its thread."""

    arn = None

    def __init__(self, reward: Any, name: str, timeout: float) -> None:
        """Raise `ConfigurationError` if Lambda could not call the reward."""
        self.name, self.timeout = name, timeout
        self._reward = reward
        self._entry: EntryPoint = reward.handler if isinstance(reward, Reward) else reward
        fault = signature_fault(self._entry)
        if fault is not None:
            raise ConfigurationError(f"The reward handler cannot be called by Lambda: {fault}.")

    @property
    def fingerprint(self) -> str:
        return fingerprint_object(self._reward)

    def call(self, event: object, errors: dict[str, str] | None = None) -> Any:
        """Call the function with a copy of the event. Raise `RewardError` if the function raises or is too slow.

        `errors` gets the reasons of the rollouts that got the floor, by id.
        """
        copy, context = _copy_as_json(event), LambdaContext(self.timeout)
        results: list[Any] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(self._entry(copy, context))
            except BaseException as error:  # noqa: BLE001 - sys.exit() too must be reported
                failures.append(error)

        # A thread cannot be stopped. After the timeout, the thread continues as a daemon, and its result is not read.
        run_until(run, time.monotonic() + self.timeout, new_thread=True)
        if failures and isinstance(failures[0], RewardError) and failures[0].code != RewardError.code:
            raise failures[0]  # from another target that this function invokes
        if failures:
            raise handler_error("raised", describe_exception(failures[0])) from failures[0]
        if not results:
            raise timeout_error("did not answer", self.timeout)
        if errors is not None:
            errors.update(context.rollout_errors)
        return results[0]

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        output, errors = io.StringIO(), dict[str, str]()
        stdout, stderr = (cast("TextIO", _ThreadOutput(stream, output)) for stream in (sys.stdout, sys.stderr))
        logger, log = logging.getLogger("bedrock_rft.rewards"), logging.StreamHandler(output)
        logger.addHandler(log)  # Lambda writes prints and log records to the same log
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                result, error = self.call(event, errors), None
            except RewardError as raised:
                result, error = None, raised
            finally:
                logger.removeHandler(log)
        return Outcome(result, time.monotonic() - began, output.getvalue()[:MAX_OUTPUT_CHARS], error, errors)

    def close(self) -> None:
        pass


def _copy_as_json(value: object) -> Any:
    """Return a copy of a value as JSON would transport it. Texts are not copied, because encoding takes long."""
    if is_array(value):
        return [*map(_copy_as_json, value)]
    if is_object(value) and {*map(type, value)} <= _TEXT:
        return {name: inner if type(inner) in _ATOMS else _copy_as_json(inner) for name, inner in value.items()}
    return value if type(value) in _ATOMS else json.loads(json.dumps(value))


class _ThreadOutput:
    """A standard stream that captures the threads started after it, and lets all other threads print as before."""

    def __init__(self, stream: TextIO, captured: TextIO) -> None:
        self._stream, self._captured = stream, captured
        self._others = {thread.ident for thread in threading.enumerate()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream if threading.get_ident() in self._others else self._captured, name)
