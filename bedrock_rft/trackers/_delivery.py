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

__all__ = ["Delivery"]


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
        self._queues = [_Queue(tracker) for tracker in trackers]
        self._started = False

    def take(self, change: Change) -> None:
        """Deliver the changes of a poll to all trackers. Raise `MissingExtraError` if a library is not installed."""
        for queue in self._queues:
            tracker = queue.tracker
            if not self._started:
                queue.calls.append(partial(tracker.started, change.job))
            queue.calls += [partial(tracker.step, one.metrics, one.at) for one in change.steps]
            queue.calls += [partial(tracker.checkpoint, checkpoint) for checkpoint in change.checkpoints]
            if change.job.is_terminal:
                queue.calls.append(partial(tracker.ended, change.job))
        self._started = True
        for queue in self._queues:
            queue.deliver()

    def close(self) -> None:
        """Retry undelivered updates, then close all trackers."""
        for queue in self._queues if self._started else ():
            queue.deliver()
            queue.close()


class _Queue:
    """Undelivered updates of one tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.calls: deque[Callable[[], None]] = deque()
        self._name = type(tracker).__name__
        self._warned: set[str] = set()

    def deliver(self) -> None:
        while self.calls:
            try:
                self.calls[0]()
            except MissingExtraError:
                self.calls.clear()  # raised now, and not again by `close`
                raise
            except Exception as error:  # noqa: BLE001 - trackers are foreign code, and must not end the watch
                self._warn("could not record an update, which is repeated after each poll", error)
                return
            self.calls.popleft()

    def close(self) -> None:
        if self.calls:
            warn_once(
                f"The tracker {self._name} did not receive {len(self.calls)} updates. Watch the job again to "
                "deliver them."
            )
        try:
            self.tracker.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._warn("could not be closed", error)

    def _warn(self, problem: str, error: Exception) -> None:
        # Once for any reason, because the text of a lost connection differs every time.
        if problem not in self._warned:
            self._warned.add(problem)
            reason = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
            warn_once(f"The tracker {self._name} {problem}: {reason}")
