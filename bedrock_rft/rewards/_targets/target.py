"""The interface of a reward target, and the outcome of one invocation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import RewardError

if TYPE_CHECKING:
    import tenacity

MAX_OUTPUT_CHARS = 4000
"""Characters of a function's output that an outcome keeps."""

CONNECTION_LOST = "connection lost"
"""The cause of a `busy` error that another service than the function reported."""

_BUSY_DEADLINE = 600.0
"""Seconds for which a busy function is invoked again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_CONNECTION_ATTEMPTS = 5


@dataclass(frozen=True)
class Outcome:
    """The outcome of one invocation: the returned value, or the error."""

    result: Any
    seconds: float
    printed: str = ""  # the function's output as far as it is known, shortened
    error: RewardError | None = None
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why a rollout got the floor, by its id, as far as it is known."""

    def unwrap(self) -> Any:
        """Return the result. Raises `RewardError` if the invocation failed."""
        if self.error is not None:
            raise self.error
        return self.result


class Target(Protocol):
    """A reward function that can be invoked, wherever it runs."""

    name: str
    """The name that reports use."""
    timeout: float
    """Seconds that an invocation may take."""

    @property
    def arn(self) -> str | None:
        """The ARN of a function in Lambda; None for a reward on this machine."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digits that change when the code of the reward changes."""
        ...

    def invoke(self, event: object) -> Outcome:
        """Invoke the function once. A failure is part of the outcome and never raised."""
        ...

    def close(self) -> None:
        """Release processes, folders and connections."""
        ...


def invoke_until_accepted(target: Target, event: object, *, attempts: int | None = None) -> Outcome:
    """Invoke a target, and again while the function is throttled or updated, for ten minutes or `attempts` times.

    If the connection is lost, the target is invoked up to four more times.
    """
    import tenacity

    def is_busy(outcome: Outcome) -> bool:
        return outcome.error is not None and outcome.error.code == "busy"

    def is_enough(state: tenacity.RetryCallState) -> bool:
        outcome: Outcome | None = state.outcome.result() if state.outcome is not None else None
        lost = outcome is not None and outcome.error is not None and outcome.error.cause == CONNECTION_LOST
        most = min(attempts or math.inf, _CONNECTION_ATTEMPTS if lost else math.inf)
        return state.attempt_number >= most or (state.seconds_since_start or 0.0) > _BUSY_DEADLINE

    return tenacity.Retrying(
        retry=tenacity.retry_if_result(is_busy),
        stop=is_enough,
        wait=tenacity.wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE),
        retry_error_callback=lambda state: cast("tenacity.Future", state.outcome).result(),
    )(target.invoke, event)


def timeout_error(failure: str, seconds: float) -> RewardError:
    """Return the error for a handler that is too slow."""
    text = f"The reward handler {failure} within {seconds:g} seconds. Make the handler faster, or raise its timeout."
    return RewardError(text, code="timeout")


def handler_error(failure: str, text: str) -> RewardError:
    """Return the error for a failure (`load`, `not_json` or `raised`) and the text of its exception."""
    text = sanitize_line(text, 1200)
    if failure == "load":
        return RewardError(f"The reward handler cannot be loaded: {text}.", code="not_loaded")
    if failure == "not_json":
        return RewardError(f"The reward handler's result cannot be sent as JSON: {text}.", code="not_json")
    return raised_error(text, text.partition(":")[0].partition(" (")[0])


def raised_error(text: str, exception_name: str) -> RewardError:
    """Return the error for a handler that raised an exception, so that the whole batch has no scores."""
    return RewardError(
        f"The reward handler raised {text}. One bad rollout must not fail a whole batch: catch the exception and score "
        "the rollout 0.",
        code="raised",
        cause=exception_name,
    )
