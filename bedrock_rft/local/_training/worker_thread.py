"""A thread that works through jobs one by one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from bedrock_rft.local._service.store import Store

__all__ = ["STOP_TIMEOUT", "JobWorker"]

STOP_TIMEOUT = 5.0
"""Seconds that stopping waits for an invocation of the reward function."""

_SAVE_INTERVAL = 1.0  # seconds between attempts to store a failure on a full disk


class JobWorker(threading.Thread):
    """A thread that works through the jobs in certain statuses, oldest first.

    Attributes:
        stopping: the work should end after the current step.
    """

    def __init__(
        self, store: Store, statuses: tuple[str, ...], work: Callable[[dict[str, Any], JobWorker], None], *, name: str
    ) -> None:
        # A daemon, because a reward function that never returns must not keep the process alive.
        super().__init__(name=name, daemon=True)
        self.stopping = False
        self._store = store
        self._statuses = statuses
        self._work = work
        self._changed = threading.Event()

    def wake(self) -> None:
        """Notify the thread that a job has changed."""
        self._changed.set()

    def pause(self, seconds: float) -> None:
        """Wait, until a job changes at the latest."""
        if self._changed.wait(seconds):
            self._changed.clear()

    def stop(self) -> None:
        """Ask the thread to end after the current step."""
        self.stopping = True
        self._changed.set()

    def run(self) -> None:
        """Work until `stop` is called."""
        try:
            while not self.stopping:
                job = self._store.next_job(*self._statuses)
                if job is not None:
                    self._work(job, self)
                elif self._store.has_unsaved_failures:
                    self._store.save_failures()
                    self.pause(_SAVE_INTERVAL)
                else:
                    self._changed.wait()
                    self._changed.clear()
        except sqlite3.ProgrammingError:
            # A reward function ran longer than `join` waits, and the store is closed. Its step is repeated next time.
            if not self.stopping:
                raise
