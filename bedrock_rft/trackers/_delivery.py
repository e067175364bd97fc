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
                    f"{type(tracker).__name__} is no tracker: it needs the methods started, step, checkpoint, ended "
                    "and close."
                )
        self._lanes = [_Lane(tracker) for tracker in trackers]
        self._begun = False

    def take(self, change: Change) -> None:
        """Deliver the changes of a poll to all trackers.

        Raises:
            MissingExtraError: a tracker's library is not installed. That is told at the first look.
        """
        for lane in self._lanes:
            tracker = lane.tracker
            if not self._begun:
                lane.add(partial(tracker.started, change.job))
            for one in change.steps:
                lane.add(partial(tracker.step, one.metrics, one.at))
            for checkpoint in change.checkpoints:
                lane.add(partial(tracker.checkpoint, checkpoint))
            if change.job.is_terminal:
                lane.add(partial(tracker.ended, change.job))
        self._begun = True
        for lane in self._lanes:
            lane.deliver()

    def close(self) -> None:
        """Retry undelivered updates, then close all trackers."""
        for lane in self._lanes:
            if self._begun:
                lane.deliver()
                lane.close()


class _Lane:
    """Undelivered updates of one tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._name = type(tracker).__name__
        self._waiting: deque[Callable[[], None]] = deque()
        self._said: set[str] = set()

    def add(self, call: Callable[[], None]) -> None:
        self._waiting.append(call)

    def deliver(self) -> None:
        while self._waiting:
            try:
                self._waiting[0]()
            except MissingExtraError:
                self._waiting.clear()  # delivered now, and not again at the end
                raise
            except Exception as error:  # noqa: BLE001 - trackers are foreign code, and must not end the watch
                self._warn("could not take what the watch saw, and is asked again at each look", error)
                return
            self._waiting.popleft()

    def close(self) -> None:
        if self._waiting:
            warn_once(
                f"The tracker {self._name} did not receive {len(self._waiting)} updates. Watch the job again to "
                "deliver them."
            )
        try:
            self.tracker.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._warn("could not be closed", error)

    def _warn(self, what: str, error: Exception) -> None:
        # Warn once for any reason: the text of a lost connection differs every time.
        if what not in self._said:
            self._said.add(what)
            reason = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
            warn_once(f"The tracker {self._name} {what}: {reason}")
