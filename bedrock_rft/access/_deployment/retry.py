"""Repeat calls that AWS's eventual consistency makes fail, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bedrock_rft.errors import APIStatusError, NotFoundError

if TYPE_CHECKING:
    import tenacity

__all__ = ["MAX_SECONDS", "is_busy", "is_too_early", "poll", "retry_on_conflict", "retry_until_accepted"]

T = TypeVar("T")

MAX_SECONDS = 180.0
"""A new role is known everywhere within about ten seconds, and a function is ready sooner."""

_MAX_CONFLICTS = 8
_BUSY = frozenset({"ResourceConflictException", "ConcurrentModification", "EntityTemporarilyUnmodifiable"})


def is_busy(error: APIStatusError) -> bool:
    """Return whether the resource is being changed by another call."""
    return error.code in _BUSY or (error.code or "").startswith("ConcurrentModification")


def is_too_early(error: APIStatusError) -> bool:
    """Return whether a service does not know yet a role or a function that exists."""
    if error.code == "InvalidParameterValueException":
        return "assume" in error.message
    return isinstance(error, NotFoundError)


def retry_until_accepted(call: Callable[[], T], is_retryable: Callable[[APIStatusError], bool]) -> T:
    """Call a function, again while it fails with an error that passes by itself.

    Raises:
        APIStatusError: it failed for another reason, or for too long.
    """

    def should_retry(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        return isinstance(error, APIStatusError) and is_retryable(error)

    return _retrying(should_retry, _is_out_of_time)(call)


def retry_on_conflict(call: Callable[[], T], is_conflict: Callable[[APIStatusError], bool]) -> T:
    """Call a function, up to seven more times while another deployer changes the same resources.

    Raises:
        APIStatusError: it failed for another reason, or in every attempt.
    """

    def should_retry(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        return isinstance(error, APIStatusError) and is_conflict(error)

    return _retrying(should_retry, lambda state: state.attempt_number >= _MAX_CONFLICTS)(call)


def poll(fetch: Callable[[], T | None]) -> T | None:
    """Call a function until it returns a value. Return None if it does not in time."""

    def should_retry(state: tenacity.RetryCallState) -> bool:
        return state.outcome is not None and not state.outcome.failed and state.outcome.result() is None

    def give_up(_: tenacity.RetryCallState) -> None:
        return None

    return _retrying(should_retry, _is_out_of_time, retry_error_callback=give_up)(fetch)


def _is_out_of_time(state: tenacity.RetryCallState) -> bool:
    return max(state.idle_for, state.seconds_since_start or 0.0) + state.upcoming_sleep > MAX_SECONDS


def _retrying(
    should_retry: Callable[[tenacity.RetryCallState], bool],
    should_stop: Callable[[tenacity.RetryCallState], bool],
    **settings: Any,
) -> tenacity.Retrying:
    import tenacity

    return tenacity.Retrying(
        retry=should_retry,
        stop=should_stop,
        wait=tenacity.wait_exponential(multiplier=0.5, exp_base=1.5, max=5.0),
        sleep=time.sleep,
        reraise=True,
        **settings,
    )
