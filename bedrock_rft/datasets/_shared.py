"""The check of a large file that several processes share: they look at its lines, and this one hashes it."""

from __future__ import annotations

from pathlib import Path

from bedrock_rft.datasets._beside import Alone, Beside, available, startable
from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._cut import READ
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._scan import BOM, Scan
from bedrock_rft.datasets._stretch import identity
from bedrock_rft.datasets._syntax import LEADING

__all__ = ["shared"]

_HEAD = 1 << 16  # bytes that tell what lines a file has
_SHORT = 1 << 13  # bytes: longer lines are looked at as fast as they are hashed
_SPACE = b" \t\r\n"


def shared(path: Path, *, rules: Rules | None, limit: int, processes: int | None) -> Report | None:
    """The report on a file; None where it has to be looked at by this process.

    Args:
        path: of a regular file.
        rules: the bounds it is held to.
        limit: how many problems to keep of each rule.
        processes: how many to start; None for as many as are worth it here, if any.
    """
    try:
        with path.open("rb", buffering=0) as file, Scan(path.name, rules=rules, limit=limit) as scan:
            opened = identity(file)
            head = file.read(_HEAD)
            count = processes
            if count is None:
                count = available() if head.count(b"\n") * _SHORT > len(head) else 0
            # What is no JSON lines is told by the first bytes, and only a first record tells of a JSON array.
            plain = head.strip(_SPACE) and not head.startswith((BOM, *(magic for magic, *_ in LEADING)))
            if not count or not plain or not startable():
                return None
            file.seek(0)
            with Beside(path, opened, scan.bounds, count) as others:
                while chunk := file.read(READ):
                    scan.pass_by(chunk)
                    _take(scan, others, wait=False)
                _take(scan, others, wait=True)
                # Otherwise they may have looked at something else than was hashed.
                same = identity(file) == opened and scan.size == opened.size
                return scan.finish() if same else None
    except (Alone, OSError):
        return None


def _take(scan: Scan, others: Beside, *, wait: bool) -> None:
    for part in others.parts(wait=wait):
        if part.stop is not None:
            raise Alone
        scan.add(part)
        others.compare = scan.compares
