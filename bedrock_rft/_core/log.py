"""The logger of the package."""

from __future__ import annotations

import logging

from bedrock_rft._core.text import sanitize_line


def _sanitize(record: logging.LogRecord) -> bool:
    # Ids, names and messages of a service or a file must not start a line or move the cursor.
    if isinstance(record.args, tuple):
        record.args = tuple(
            sanitize_line(str(each)) if isinstance(each, (str, Exception)) else each for each in record.args
        )
    return True


log = logging.getLogger("bedrock_rft")
"""The program sets level and handlers. The null handler keeps Python from printing to stderr without a handler."""
log.addHandler(logging.NullHandler())
log.addFilter(_sanitize)
