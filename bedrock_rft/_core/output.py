"""Output of commands and live views that survives old code pages, closed streams and broken pipes."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from typing import TextIO

# Readable substitutes for characters that cp437, cp1252 or ASCII lack. Others are escaped.
_SUBSTITUTES = str.maketrans(
    {"…": "...", "→": "->", "←": "<-", "·": "-", "≥": ">=", "≤": "<="}
    | dict.fromkeys("\u2013\u2014\u2212", "-")  # dashes and the minus sign
    | {"\u00d7": "x", "\u2019": "'"}
    | dict.fromkeys("▁▂", "_")
    | dict.fromkeys("▃▄▅", "-")
    | dict.fromkeys("▆▇█", "#")
)


def print_line(text: str = "") -> None:
    """Print text to standard output. Never raises because of the stream's encoding or state."""
    write(sys.stdout, f"{text}\n")


def print_error(text: str) -> None:
    """Print text to standard error. Never raises because of the stream's encoding or state."""
    write(sys.stderr, f"{text}\n")


def write(stream: TextIO | None, text: str) -> bool:
    """Write text to a stream, and return whether it was written. Never raises, so that no work is lost to a report."""
    if stream is None:
        return False
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(encodable(text, stream.encoding))
        stream.flush()
    except BrokenPipeError:
        discard(stream)
    except (OSError, ValueError):  # ValueError: the stream is closed
        return False
    else:
        return True
    return False


def encodable(text: str, encoding: str | None) -> str:
    """Return text with each character that an encoding lacks replaced by a similar one or escaped."""
    codec = encoding or "ascii"
    return text.encode(codec, "bedrock_rft.similar").decode(codec)


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    similar = error.object[error.start : error.end].translate(_SUBSTITUTES)
    return similar.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("bedrock_rft.similar", _replace_unencodable)


def discard(stream: TextIO) -> None:
    """Discard all further output of a stream whose reader has closed the pipe."""
    # Otherwise Python, which flushes the standard streams at exit, would report the broken pipe once more.
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
