"""How far it is: told to whoever asks, and shown in a terminal where there is a bar to show it with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

__all__ = ["Progress", "meter"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is being done (`asked` or `scored`), how much of it is done, and how much there is."""


@contextmanager
def meter(what: str, total: int, done: int, progress: bool | Progress) -> Generator[Callable[[], None], None, None]:
    """Give a function to be called after each step.

    Args:
        what: is being done.
        total: steps there are.
        done: steps that an earlier run did.
        progress: a function to tell; True for a bar on a terminal, where tqdm is installed; False for nothing.
    """
    bar = _bar(what, total, done) if progress is True else None

    def step() -> None:
        nonlocal done
        done += 1
        if bar is not None:
            bar.update()
        elif callable(progress):
            progress(what, done, total)

    try:
        yield step
    finally:
        if bar is not None:
            bar.close()


def _bar(what: str, total: int, done: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=what, total=total, initial=done, file=sys.stderr, dynamic_ncols=True)
