"""How far it is: told to whoever asks; else a bar where somebody can watch it, and a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

__all__ = ["Meter", "Progress", "meter"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is being done (`asked` or `scored`), how much of it is done, and how much there is."""

_BLINK = 0.2
_SELDOM = 30.0
"""Seconds between two lines in a log, so that a short run leaves none."""


class Meter:
    """What has been asked and scored so far."""

    def __init__(self, total: int, asked: int, scored: int, progress: bool | Progress) -> None:
        """Begin with what an earlier run did.

        Args:
            total: questions there are.
            asked: that are answered.
            scored: whose answers are scored.
            progress: a function to tell; True to show it; False for nothing.
        """
        self._done = {"asked": asked, "scored": scored}
        self._total = total
        self._tell = progress if callable(progress) else None
        self._show = _shown(total, asked) if progress is True else None

    def step(self, what: str) -> None:
        """One more is done."""
        self._done[what] += 1
        if self._tell is not None:
            self._tell(what, self._done[what], self._total)
        if self._show is not None:
            self._show(self._done["asked"], self._done["scored"])

    def close(self) -> None:
        """Leave the line to others."""
        if self._show is not None:
            self._show.close()


@contextmanager
def meter(total: int, asked: int, scored: int, progress: bool | Progress) -> Generator[Meter, None, None]:
    """A `Meter`, closed at the end."""
    found = Meter(total, asked, scored, progress)
    try:
        yield found
    finally:
        found.close()


def _shown(total: int, asked: int) -> Any:
    kernel = _in_kernel()  # there, standard error looks as if something had gone wrong
    watched = sys.stderr.isatty() or kernel
    if watched:
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            where: dict[str, Any] = {"file": sys.stdout, "mininterval": 0.5} if kernel else {"file": sys.stderr}
            return _Bar(tqdm(desc="asked", total=total, initial=asked, leave=False, dynamic_ncols=True, **where))
    return _Line(total, every=_BLINK if watched else _SELDOM, again="\r" if watched else "")


def _in_kernel() -> bool:
    """Whether a notebook shows what is printed."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class _Bar:
    """A bar of tqdm's."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __call__(self, asked: int, scored: int) -> None:
        self._bar.set_postfix_str(f"scored {scored:,}", refresh=False)
        self._bar.update(asked - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Line:
    """The same in words: one line that is written anew, or a line now and then."""

    def __init__(self, total: int, *, every: float, again: str) -> None:
        self._total, self._every, self._again = total, every, again
        self._next = time.monotonic() + every
        self._wide = 0

    def __call__(self, asked: int, scored: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        text = f"asked {asked:,} of {self._total:,}, scored {scored:,}"
        self._wide = len(text) if self._again else 0
        print(f"{self._again}{text}", end="" if self._again else "\n", file=sys.stderr, flush=True)  # noqa: T201 - progress

    def close(self) -> None:
        if self._wide:
            print(f"\r{' ' * self._wide}\r", end="", file=sys.stderr, flush=True)  # noqa: T201 - as above
