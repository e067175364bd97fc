"""Check the entry point of a reward function and call it as Lambda does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.subprocess_worker import LambdaContext, describe_exception, signature_fault
from bedrock_rft.rewards._targets.target import handler_error

__all__ = ["EntryPoint", "call_handler", "load_handler"]

EntryPoint = Callable[[Any, Any], Any]
"""A Lambda entry point: takes the event and the context, returns the result."""


def load_handler(handler: EntryPoint | Reward) -> EntryPoint:
    """Return the entry point of a reward. Raise `ConfigurationError` if Lambda could not call it."""
    if isinstance(handler, Reward):
        return handler.handler
    fault = signature_fault(handler)
    if fault is not None:
        raise ConfigurationError(f"The reward handler cannot be called by Lambda: {fault}.")
    return handler


def call_handler(entry: EntryPoint, event: object, *, timeout: float) -> Any:
    """Call an entry point with a copy of the event made through JSON. It is abandoned after the timeout in seconds."""
    copy = json.loads(json.dumps(event))
    context = LambdaContext(timeout)
    results: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(entry(copy, context))
        except BaseException as error:  # noqa: BLE001 - sys.exit() too must be reported
            failures.append(error)

    # A thread cannot be stopped. One that exceeds the timeout continues as a daemon, and its result is not read.
    thread = threading.Thread(target=run, name="local-reward", daemon=True)
    thread.start()
    thread.join(timeout)
    if failures:
        raise handler_error("raised", describe_exception(failures[0])) from failures[0]
    if not results:
        raise RewardError(
            f"The reward handler did not answer within {timeout:g} seconds. Make it faster, or raise its timeout.",
            code="timeout",
        )
    return results[0]
