"""The package's one logger: silent unless the program asks, and without a control character of foreign text.

Of botocore's loggers, three show secrets at DEBUG. They are read as before, with those blotted out.
"""

from __future__ import annotations

import logging

from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line

__all__ = ["log", "redact_botocore_logs"]


def _printable(record: logging.LogRecord) -> bool:
    # Ids, names and refusals come from a service or a file: none of them may begin a line or move a cursor.
    if isinstance(record.args, tuple):
        record.args = tuple(
            sanitize_line(str(each)) if isinstance(each, (str, Exception)) else each for each in record.args
        )
    return True


log = logging.getLogger("bedrock_rft")
"""Level and handlers are the program's own; the null handler keeps Python from printing in their stead."""
log.addHandler(logging.NullHandler())
log.addFilter(_printable)

_TELLING = ("botocore.auth", "botocore.endpoint", "botocore.parsers")


def _blotted(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    shown = redact(said)
    if shown != said:
        record.msg, record.args = shown, ()
    return True


def redact_botocore_logs() -> None:
    """Keep session tokens, signatures and keys that botocore resolves out of the program's log."""
    for name in _TELLING:
        logging.getLogger(name).addFilter(_blotted)
