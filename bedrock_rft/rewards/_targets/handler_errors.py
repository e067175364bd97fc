"""Errors for reward handlers that cannot be loaded, raise, or return a value that JSON cannot express."""

from __future__ import annotations

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import RewardError

__all__ = ["handler_error", "raised_error"]


def handler_error(failure: str, text: str) -> RewardError:
    """Return the error for a failure in another process.

    Args:
        failure: `load`, `not_json` or `raised`.
        text: the exception and its place, as that process reported them.
    """
    text = sanitize_line(text, 1200)
    if failure == "load":
        return RewardError(f"The reward handler cannot be loaded: {text}.", code="not_loaded")
    if failure == "not_json":
        return RewardError(f"The reward handler's result cannot be sent as JSON: {text}.", code="not_json")
    return raised_error(text, text.partition(":")[0].partition(" (")[0])


def raised_error(text: str, exception_name: str) -> RewardError:
    """Return the error for a handler that raised an exception, which costs the whole batch its scores."""
    return RewardError(
        f"The reward handler raised {text}. One bad rollout must not fail a whole batch: catch it and score it 0.",
        code="raised",
        cause=exception_name,
    )
