"""A thread that works through jobs one by one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from bedrock_rft.local._service.store import Store

__all__ = ["JobWorker"]

_STOP_TIMEOUT = 5.0  # seconds that stopping waits for an invocation of the reward function
_SAVE_INTERVAL = 1.0  # seconds between attempts to store a failure on a full disk


class JobWorker:
    """Works through the jobs that are in certain statuses, oldest first.

    Attributes:
        stopping: the work should end after the current step.
    """

    def __init__(
        self, store: Store, statuses: tuple[str, ...], work: Callable[[dict[str, Any], JobWorker], None], *, name: str
    ) -> None:
        """Prepare the thread; nothing runs before `start`."""
        self.stopping = False
        self._store = store
        self._statuses = statuses
        self._work = work
        self._changed = threading.Event()
        # A daemon, because a reward function that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

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

    def join(self) -> None:
        """Wait for the thread to end, a few seconds at most."""
        self._thread.join(_STOP_TIMEOUT)

    def _run(self) -> None:
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
