"""Run work until a deadline, and continue after the deadline even if the work cannot be cancelled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any


class OutOfTimeError(KeyboardInterrupt):
    """Raised in the main thread to interrupt work. Like Ctrl-C, it ends an event loop and passes `except Exception`."""


def seconds_left(context: Any) -> float | None:
    """Return the seconds until the deadline of Lambda's context object, or None if it has no deadline."""
    remaining: Callable[[], int] | None = getattr(context, "get_remaining_time_in_millis", None)
    return remaining() / 1000 if callable(remaining) else None


def run_until(
    work: Callable[[], object], deadline: float | None, *, interval: float = 0.25, new_thread: bool = False
) -> None:
    """Run `work` and return when it ends, at the latest at the deadline.

    In the main thread, a timer signal interrupts the work. The work is not moved to another thread, because rewards and
    libraries that set alarms need the main thread. In other threads and on Windows, the work runs in a daemon thread,
    which is abandoned at the deadline (by `time.monotonic()`). Calls may be nested: the earliest deadline counts.
    `interval` is the time in seconds between interruptions of work that does not end after the first interruption.
    """
    seconds = None if deadline is None else max(0.001, deadline - time.monotonic())
    if new_thread or (seconds is not None and not _can_interrupt()):
        thread = threading.Thread(target=work, name="reward", daemon=True)
        thread.start()
        thread.join(seconds)
    elif seconds is None:
        work()
    else:
        _interrupt_after(seconds, max(0.001, interval), work)


def end_interruptions() -> None:
    """Stop interrupting the work of `run_until`, so that it can clean up. After that, the work must end by itself."""
    if _can_interrupt():
        signal.setitimer(signal.ITIMER_REAL, 0)


def _can_interrupt() -> bool:
    return os.name == "posix" and threading.current_thread() is threading.main_thread()


def _interrupt_after(seconds: float, interval: float, work: Callable[[], object]) -> None:
    began = time.monotonic()
    outer_seconds, outer_interval = signal.getitimer(signal.ITIMER_REAL)
    outer_handler = signal.signal(signal.SIGALRM, _interrupt)
    try:
        try:  # before the timer starts, because it may expire before the next statement
            signal.setitimer(signal.ITIMER_REAL, min(seconds, outer_seconds or seconds), interval)
            work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTimeError:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if outer_handler is _interrupt and outer_seconds and time.monotonic() - began >= outer_seconds:
            raise
    finally:
        signal.signal(signal.SIGALRM, outer_handler if outer_handler is not None else signal.SIG_DFL)
        if outer_seconds:
            remaining = max(0.001, outer_seconds - (time.monotonic() - began))
            signal.setitimer(signal.ITIMER_REAL, remaining, outer_interval)


def _interrupt(*_: Any) -> None:
    raise OutOfTimeError
