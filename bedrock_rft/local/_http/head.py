"""The one reading of a request's head: what is wrong with it, and where its body ends."""

from __future__ import annotations

import re

__all__ = ["END", "LARGEST_HEAD", "body_length", "fault"]

LARGEST_HEAD = 64 << 10
"""Bytes of a request line and its headers."""

END = b"\r\n\r\n"
"""What a head ends with."""

_FIELDS = 100  # header lines
_LINES = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00|\n[ \t]")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_UNKNOWN = 10**15  # more than any length that is read


def fault(head: bytes) -> tuple[int, str] | None:
    """Why a head is not read: the status and a sentence. None where there is one way to read it.

    Args:
        head: request line and headers, with the empty line.
    """
    if _LINES.search(head):
        return 400, "Lines end with CR LF, hold no NUL, and are not folded."
    request, fields = _parts(head)
    if not request.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return 400, "This is no request of HTTP/1.1."
    if len(fields) > _FIELDS:
        return 431, f"There are more than {_FIELDS} headers."
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
        return 400, "A body has one Content-Length, a plain number of bytes."
    if codings and (codings != [b"chunked"] or lengths or not request.endswith(b"HTTP/1.1")):
        return 400, "A body has a Content-Length or the Transfer-Encoding chunked, not both and no other."
    return None


def body_length(head: bytes) -> int:
    """Bytes of the body behind a sound head; 10**15 where its end is not known before it comes, as with chunks.

    Args:
        head: request line and headers, with the empty line, that `fault` finds nothing wrong with.
    """
    fields = dict(_parts(head)[1])
    return _UNKNOWN if b"transfer-encoding" in fields else int(fields.get(b"content-length", 0))


def _parts(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    request, *lines = head[: -len(END)].split(b"\r\n")
    return request, [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
