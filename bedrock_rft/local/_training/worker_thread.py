"""A thread that takes one job after the other, and can be woken, or stopped between steps."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from bedrock_rft.local._service.store import Store

__all__ = ["Lane"]

_PATIENCE = 5.0  # seconds that stopping waits for a reward that is being asked


class Lane:
    """Works through the jobs that are in certain statuses, oldest first.

    Attributes:
        stopping: whether the work should end after the step it is in.
    """

    def __init__(
        self, store: Store, statuses: tuple[str, ...], work: Callable[[dict[str, Any], Lane], None], *, name: str
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self.stopping = False
        self._store = store
        self._statuses = statuses
        self._work = work
        self._news = threading.Event()
        # A daemon: a reward that never answers must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something happened to a job."""
        self._news.set()

    def pause(self, seconds: float) -> None:
        """Let time pass, until something happens at the latest."""
        if self._news.wait(seconds):
            self._news.clear()

    def stop(self) -> None:
        """Ask the work to end after the step it is in."""
        self.stopping = True
        self._news.set()

    def join(self) -> None:
        """Wait for the end, a few seconds at most."""
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            while not self.stopping:
                job = self._store.next_job(*self._statuses)
                if job is not None:
                    self._work(job, self)
                else:
                    self._news.wait()
                    self._news.clear()
        except sqlite3.ProgrammingError:
            # A reward outlived the patience of `join`, and the store is closed: its step is taken again next time.
            if not self.stopping:
                raise
