"""Progress of an evaluation: a callback, a tqdm bar, or lines in the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from bedrock_rft._core.log import log

__all__ = ["Progress", "ProgressReporter", "progress_reporter"]

Stage: TypeAlias = Literal["asked", "scored"]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage (`asked` or `scored`), the number done and the total."""

_SECONDS_BETWEEN_LINES = 30.0


class ProgressReporter:
    """Count questions asked and answers scored, and show the counts."""

    def __init__(self, total: int, asked: int, scored: int, progress: bool | Progress) -> None:
        """Start with the counts of an earlier run.

        Args:
            total: number of questions.
            asked: questions that already have an answer.
            scored: answers that already have a score.
            progress: a callback; True for a bar or log lines; False for nothing.
        """
        self._counts: dict[str, int] = {"asked": asked, "scored": scored}
        self._total = total
        self._callback = progress if callable(progress) else None
        self._bar = _tqdm_bar(total, asked) if progress is True else None
        self._logs = progress is True and self._bar is None
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def advance(self, stage: Stage) -> None:
        """Count one more question or answer."""
        self._counts[stage] += 1
        if self._callback is not None:
            self._callback(stage, self._counts[stage], self._total)
        elif self._bar is not None:
            self._bar.set_postfix_str(f"scored {self._counts['scored']:,}", refresh=False)
            self._bar.update(self._counts["asked"] - self._bar.n)
        elif self._logs and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            counts = self._counts
            log.info("evaluation: asked %d of %d, scored %d", counts["asked"], self._total, counts["scored"])

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress_reporter(
    total: int, asked: int, scored: int, progress: bool | Progress
) -> Generator[ProgressReporter, None, None]:
    """Open a `ProgressReporter` and close it at the end."""
    reporter = ProgressReporter(total, asked, scored, progress)
    try:
        yield reporter
    finally:
        reporter.close()


def _tqdm_bar(total: int, asked: int) -> Any:
    """Return a bar if a terminal or notebook shows it and tqdm is installed, else None."""
    in_notebook = _is_notebook()
    if not in_notebook and not (sys.stderr is not None and sys.stderr.isatty()):  # pyright: ignore[reportUnnecessaryComparison] # pythonw has none
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    # Notebooks show standard error in red, as if something had failed.
    target: dict[str, Any] = {"file": sys.stdout, "mininterval": 0.5} if in_notebook else {"file": sys.stderr}
    return tqdm(desc="asked", total=total, initial=asked, leave=False, dynamic_ncols=True, **target)


def _is_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
