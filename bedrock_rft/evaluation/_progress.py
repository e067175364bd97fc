"""Progress of an evaluation: a callback, a tqdm bar, or lines in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from bedrock_rft._core.log import log
from bedrock_rft._core.progress import tqdm_bar

Progress: TypeAlias = Callable[[str, int, int], None]
"""Function that is called with the stage (`asked` or `scored`), the number done and the total."""

_SECONDS_BETWEEN_LINES = 30.0


class ProgressReporter:
    """Count questions asked and answers scored, and show the counts."""

    def __init__(self, total: int, asked: int, scored: int, progress: bool | Progress) -> None:
        """Start with the counts of an earlier run. `progress` is a callback, True for a bar or log lines, or False."""
        self._counts = {"asked": asked, "scored": scored}
        self._total = total
        self._callback = progress if callable(progress) else None
        self._bar = tqdm_bar("asked", total, asked) if progress is True else None
        self._logs = progress is True and self._bar is None
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def advance(self, stage: Literal["asked", "scored"]) -> None:
        """Count one more question or answer."""
        self._counts[stage] += 1
        asked, scored = self._counts.values()
        if self._callback is not None:
            self._callback(stage, self._counts[stage], self._total)
        elif self._bar is not None:
            self._bar.set_postfix_str(f"scored {scored:,}", refresh=False)
            self._bar.update(asked - self._bar.n)
        elif self._logs and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            log.info("evaluation: asked %d of %d, scored %d", asked, self._total, scored)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
