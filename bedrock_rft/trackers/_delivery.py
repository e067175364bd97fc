"""Deliver updates to trackers in order; their errors do not end the watch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.metrics._live.state import Change
from bedrock_rft.trackers._protocol import Tracker


class Delivery:
    """Updates that each tracker has not received yet. An outage of a tracker delays them without loss."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Raise `ConfigurationError` for an object that is not a tracker."""
        for tracker in trackers:
            if not isinstance(tracker, Tracker):
                raise ConfigurationError(
                    f"{type(tracker).__name__} is not a tracker: it needs the methods started, step, checkpoint, ended "
                    "and close."
                )
        self._queues = [(tracker, deque[Callable[[], None]]()) for tracker in trackers]
        self._warned: set[tuple[int, str]] = set()
        self._started = False

    def take(self, change: Change) -> None:
        """Deliver the changes of a poll to all trackers. Raise `MissingExtraError` if a library is not installed."""
        for tracker, calls in self._queues:
            if not self._started:
                calls.append(partial(tracker.started, change.job))
            calls += [partial(tracker.step, one.metrics, one.at) for one in change.steps]
            calls += [partial(tracker.checkpoint, checkpoint) for checkpoint in change.checkpoints]
            if change.job.is_terminal:
                calls.append(partial(tracker.ended, change.job))
        self._started = True
        self._deliver()

    def close(self) -> None:
        """Retry undelivered updates, then close all trackers."""
        if not self._started:
            return
        self._deliver()
        for tracker, calls in self._queues:
            if calls:
                lost = f"did not receive {len(calls)} updates. Watch the job again to deliver them."
                warn_once(f"The tracker {type(tracker).__name__} {lost}")
            try:
                tracker.close()
            except Exception as error:  # noqa: BLE001 - as below
                self._warn(tracker, "could not be closed", error)

    def _deliver(self) -> None:
        for tracker, calls in self._queues:
            try:
                while calls:
                    calls[0]()
                    calls.popleft()
            except MissingExtraError:
                calls.clear()  # so that `close` does not raise the error again
                raise
            except Exception as error:  # noqa: BLE001 - trackers are foreign code, and must not end the watch
                self._warn(tracker, "could not record an update, which is repeated after each poll", error)

    def _warn(self, tracker: Tracker, problem: str, error: Exception) -> None:
        # Warn once for each problem, whatever the reason, because the text of a lost connection differs every time.
        if (id(tracker), problem) not in self._warned:
            self._warned.add((id(tracker), problem))
            reason = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
            warn_once(f"The tracker {type(tracker).__name__} {problem}: {reason}")
