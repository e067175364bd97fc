"""Warnings that are issued once for each cause, attributed to the line in the user's code."""

from __future__ import annotations

import sys
import warnings

from bedrock_rft._core.errors import BedrockRFTWarning
from bedrock_rft._core.text import sanitize_text

_SKIPPED_PACKAGES = {"bedrock_rft", "pydantic", "tenacity"}  # packages between the warning and the user's code
_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Issue a warning for the calling line in the user's code, unless the same message was issued before."""
    if message not in _warned:
        _warned.add(message)
        warn(message)


def warn(message: str) -> None:
    """Issue a warning for the calling line in the user's code."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _SKIPPED_PACKAGES:
        level, frame = level + 1, frame.f_back
    warnings.warn(sanitize_text(message), BedrockRFTWarning, stacklevel=level)
