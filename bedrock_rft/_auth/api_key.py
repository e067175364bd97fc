"""What a Bedrock API key says about itself, offline."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs

from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import ConfigurationError

__all__ = ["ApiKey", "check", "has_bedrock_form", "read"]

_SHORT = "bedrock-api-key-"
_LONG = "ABSK"
_LONGEST = 16_384  # a short-term key wraps a session token, and those reach several kilobytes
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class ApiKey:
    """What can be told from a key without asking anybody. It does not hold the key.

    Attributes:
        kind: `short-term`, `long-term`, or `opaque` for any other text.
        region: the only region a short-term key works in.
        expires_at: when a short-term key ends, in UTC. Its session may end sooner.
        access_key_id: of the credentials that a short-term key was made with. It is no secret.
    """

    kind: str
    region: str | None = None
    expires_at: datetime | None = None
    access_key_id: str | None = None


def has_bedrock_form(text: str) -> bool:
    """Whether a text looks like a key that Bedrock made."""
    return text.startswith((_SHORT, _LONG))


def check(given: Secret[Any], name: str) -> Secret[str]:
    """Return a key that can go into a header. Raises `ConfigurationError`, without repeating the key."""
    wrong = _wrong(given.reveal(), name)
    if wrong:
        raise ConfigurationError(wrong)
    return Secret(given.reveal().strip())


def _wrong(key: object, name: str) -> str:
    """Why a key cannot be one. It does not raise, since the key would stand among its variables in a traceback."""
    if not isinstance(key, str):
        return f"{name} must be a string, not {type(key).__name__}."
    text = key.strip()
    rules = (
        (not text, "is empty. Give a Bedrock API key, or leave it out to use AWS credentials."),
        (len(text) > _LONGEST, f"has {len(text)} characters. No Bedrock API key is that long."),
        (
            text.lower().startswith("bearer "),
            "begins with 'Bearer'. Give the key alone: the word belongs to the header.",
        ),
        (
            "${" in text or re.fullmatch(r"\$\w+", text),
            "is an unexpanded variable. Let the shell or your settings expand it.",
        ),
        (text[:1] in {'"', "'"}, "begins with a quotation mark. Remove the quotes around the key."),
        (
            not re.fullmatch(r"[\x21-\x7e]+", text),
            "contains a space, a control or a non-ASCII character. Copy the key again.",
        ),
        (
            re.fullmatch(r"(AKIA|ASIA)[A-Z0-9]{16}", text),
            "is an AWS access key id, not a Bedrock API key. Use AWS credentials (profile=… or credentials=…).",
        ),
    )
    return next((f"{name} {complaint}" for broken, complaint in rules if broken), "")


def read(key: str) -> ApiKey:
    """Tell the kind of a key, and for a short-term one its region and end."""
    if key.startswith(_LONG):
        return ApiKey("long-term")
    if not key.startswith(_SHORT):
        return ApiKey("opaque")
    try:
        wrapped = key.removeprefix(_SHORT)
        text = base64.b64decode(wrapped + "=" * (-len(wrapped) % 4), validate=True).decode("ascii")
        fields = parse_qs(text.partition("?")[2])
        key_id, _, region, *_ = fields["X-Amz-Credential"][0].split("/")
        made = datetime.strptime(fields["X-Amz-Date"][0], _STAMP).replace(tzinfo=timezone.utc)
        ends = made + timedelta(seconds=int(fields["X-Amz-Expires"][0]))
    except (ValueError, KeyError, IndexError, OverflowError):
        # Whatever AWS wraps one day, the service can judge it; only this look ahead is lost.
        return ApiKey("short-term")
    return ApiKey("short-term", region=region, expires_at=ends, access_key_id=key_id)
