"""Warnings that are said once for each cause, at the line of the user's that led to it."""

from __future__ import annotations

import sys
import warnings

from bedrock_rft._core.errors import BedrockRFTWarning
from bedrock_rft._core.text import sanitize_text

__all__ = ["warn_once"]

_PASSED = {"bedrock_rft", "pydantic"}  # on the way to the user's line
_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Warn the line of the user's that led here, the first time this is to be said."""
    if message in _warned:
        return
    _warned.add(message)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(sanitize_text(message), BedrockRFTWarning, stacklevel=level)
