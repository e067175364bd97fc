"""Repeat calls that AWS's eventual consistency makes fail, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bedrock_rft.errors import APIStatusError, NotFoundError

if TYPE_CHECKING:
    import tenacity

__all__ = [
    "MAX_SECONDS",
    "ROLE_SECONDS",
    "SHORT_SECONDS",
    "cannot_assume",
    "is_busy",
    "is_too_early",
    "poll",
    "retry_on_conflict",
    "retry_until_accepted",
]

T = TypeVar("T")

MAX_SECONDS = 180.0
"""A new role is known everywhere within about ten seconds, and a function is ready sooner."""

SHORT_SECONDS = 30.0
"""After this time, a resource that AWS does not find was deleted, and a role that Lambda cannot assume is not new."""

ROLE_SECONDS = 10.0
"""The time for a role of the user's, which exists already."""

_MAX_CONFLICTS = 8
_BUSY = frozenset({"ResourceConflictException", "ConcurrentModification", "EntityTemporarilyUnmodifiable"})


def is_busy(error: APIStatusError) -> bool:
    """Return whether the resource is being changed by another call."""
    return error.code in _BUSY or (error.code or "").startswith("ConcurrentModification")


def is_too_early(error: APIStatusError) -> bool:
    """Return whether a service does not yet see a role or a function that exists."""
    return cannot_assume(error) or isinstance(error, NotFoundError)


def cannot_assume(error: APIStatusError) -> bool:
    """Return whether Lambda cannot assume a function's role, because it is new or because of its trust policy."""
    return error.code == "InvalidParameterValueException" and "assume" in error.message


def retry_until_accepted(
    call: Callable[[], T], is_retryable: Callable[[APIStatusError], bool], seconds: float = MAX_SECONDS
) -> T:
    """Call a function, again while it fails with an error that passes by itself."""
    return _retrying(_fails_with(is_retryable), _is_over(seconds))(call)


def retry_on_conflict(call: Callable[[], T], is_conflict: Callable[[APIStatusError], bool]) -> T:
    """Call a function, up to seven more times while another deployer changes the same resources."""
    return _retrying(_fails_with(is_conflict), lambda state: state.attempt_number >= _MAX_CONFLICTS)(call)


def poll(fetch: Callable[[], T | None]) -> T | None:
    """Call a function until it returns a value. Return None if it does not in time."""

    def should_retry(state: tenacity.RetryCallState) -> bool:
        return state.outcome is not None and not state.outcome.failed and state.outcome.result() is None

    return _retrying(should_retry, _is_over(MAX_SECONDS), retry_error_callback=_return_none)(fetch)


_Condition = Callable[["tenacity.RetryCallState"], bool]


def _fails_with(is_retryable: Callable[[APIStatusError], bool]) -> _Condition:
    def should_retry(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        return isinstance(error, APIStatusError) and is_retryable(error)

    return should_retry


def _return_none(_: tenacity.RetryCallState) -> None:
    return None


def _is_over(seconds: float) -> _Condition:
    """Return whether the next pause would end after a number of seconds, by the clock or by the pauses so far."""
    return lambda state: max(state.idle_for, state.seconds_since_start or 0.0) + state.upcoming_sleep > seconds


def _retrying(should_retry: _Condition, should_stop: _Condition, **settings: Any) -> tenacity.Retrying:
    import tenacity

    return tenacity.Retrying(
        retry=should_retry,
        stop=should_stop,
        wait=tenacity.wait_exponential(multiplier=0.5, exp_base=1.5, max=5.0),
        sleep=time.sleep,
        reraise=True,
        **settings,
    )
