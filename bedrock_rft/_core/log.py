"""The logger of the package, and redaction of the botocore loggers that show secrets at DEBUG."""

from __future__ import annotations

import logging

from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line

__all__ = ["log", "redact_botocore_logs"]


def _sanitize(record: logging.LogRecord) -> bool:
    # Ids, names and messages come from a service or a file. They must not start a line or move the cursor.
    if isinstance(record.args, tuple):
        record.args = tuple(
            sanitize_line(str(each)) if isinstance(each, (str, Exception)) else each for each in record.args
        )
    return True


log = logging.getLogger("bedrock_rft")
"""Programs set level and handlers. The null handler keeps Python from printing to stderr without one."""
log.addHandler(logging.NullHandler())
log.addFilter(_sanitize)

_LOGGERS_WITH_SECRETS = ("botocore.auth", "botocore.endpoint", "botocore.parsers")


def _redact_record(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    redacted = redact(message)
    if redacted != message:
        record.msg, record.args = redacted, ()
    return True


def redact_botocore_logs() -> None:
    """Remove session tokens, signatures and keys from the DEBUG log of botocore."""
    for name in _LOGGERS_WITH_SECRETS:
        logging.getLogger(name).addFilter(_redact_record)
