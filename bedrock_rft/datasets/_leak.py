"""Keys that got into training data by mistake, and would be learned by heart."""

from __future__ import annotations

import re

__all__ = ["leaks", "suspicious"]

_PATIENCE = 1 << 10  # bytes, for each K that is looked at
_SECRET = re.compile(rb"(?<![A-Za-z0-9/+])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])|-----BEGIN [A-Z ]*PRIVATE KEY-----")


def leaks(line: bytes) -> bool:
    """Whether something that looks like an AWS key or a private key stands there."""
    return _SECRET.search(line) is not None


def suspicious(text: bytes) -> bool:
    """Whether a line of this text may leak something; False is sure.

    Both marks have a K, which is rare in text, and to look for a single byte is many times faster.
    """
    at = -1
    for _ in range(len(text) // _PATIENCE + 1):
        at = text.find(b"K", at + 1)
        if at < 0:
            return False
        if text.startswith((b"KIA", b"KEY-----"), at):
            return True
    return text.find(b"AKIA", at) >= 0 or text.find(b"PRIVATE KEY-----", max(at - 8, 0)) >= 0
