"""Signature Version 4 verification, written from AWS's description and independent of the client's signer.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote_from_bytes, unquote_to_bytes

__all__ = ["SERVICE", "SHORT_TERM_PREFIX", "Credential", "InvalidSignature", "verify", "verify_short_term_key"]

SERVICE = "bedrock-mantle"
"""Service name in the credential scope of a request."""

SHORT_TERM_PREFIX = "bedrock-api-key-"
"""First characters of a short-term API key; the rest is a presigned URL in base64."""

_KEY_SERVICE = "bedrock"
_KEY_HOST = "bedrock.amazonaws.com"
_MAX_KEY_SECONDS = 12 * 3600
_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=5)
_UNRESERVED = "-._~"
_FIELD = re.compile(r"\s*([A-Za-z]+)=([^,\s]+)\s*", re.ASCII)
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Credential:
    """AWS credentials; their repr shows the access key only.

    Attributes:
        access_key: the public part.
        secret_key: the secret part, which is never sent.
        token: the session token, sent in a signed header; None for a long-term key.
    """

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.access_key!r})"


@dataclass(eq=False)
class InvalidSignature(Exception):  # noqa: N818 - it becomes an error response
    """The request is not authenticated.

    Attributes:
        status: 401, or 403 if the clocks differ.
        code: the service's error code.
        message: the service's error message.
    """

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class _Authorization:
    """The parsed `Authorization` header."""

    access_key: str
    date: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def verify(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Sequence[tuple[str, str]],
    body_sha256: str | None,
    *,
    lookup: Callable[[str], Credential | None],
    region: str,
    now: datetime,
) -> str:
    """Verify a request that is signed in its headers.

    Args:
        method: the HTTP method.
        raw_path: the path of the request line, not decoded.
        raw_query: the query of the request line, not decoded, without the question mark.
        headers: names in any case, in the order received.
        body_sha256: hex digest of the received body. None before the body was read; then everything but the signature
            itself is checked.
        lookup: returns the credential of an access key.
        region: the region that the signature must be scoped to.
        now: the current time, aware.

    Returns:
        The access key that signed.

    Raises:
        InvalidSignature: the request is not signed, or not validly.
    """
    values = _merge_headers(headers)
    authorization = _parse_authorization(values)
    credential = lookup(authorization.access_key)
    _check_scope(authorization, region)
    if credential is None:
        raise InvalidSignature(
            401, "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    _check_signed_headers(authorization, values)
    _check_time(authorization, values, now)
    if body_sha256 is not None:
        _check_body(values, body_sha256)
    if credential.token is not None and not _equal(values.get("x-amz-security-token", ""), credential.token):
        raise InvalidSignature(
            401, "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    if body_sha256 is None:
        return authorization.access_key
    # Signers that get the path decoded encode it twice; signers that get the URL encode what it holds once more. Both
    # are the same unless the URL has characters that need no encoding, such as the colon of a tuned model's name.
    signatures = [
        _signature(credential.secret_key, authorization, values["x-amz-date"], request)
        for request in (
            canonical_request(method, path, raw_query, values, signed=authorization.signed, body_sha256=body_sha256)
            for path in (canonical_path(raw_path), canonical_path(raw_path, decode=False))
        )
    ]
    if not any([_equal(signature, authorization.signature) for signature in signatures]):  # noqa: C419 - constant time
        raise InvalidSignature(
            401,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    return authorization.access_key


def verify_short_term_key(key: str, *, lookup: Callable[[str], Credential | None], region: str, now: datetime) -> str:
    """Verify a short-term API key: a presigned `CallWithBearerToken` URL in base64, as AWS's own generator makes it.

    Args:
        key: the bearer token.
        lookup: returns the credential of an access key.
        region: the region that the signature must be scoped to.
        now: the current time, aware.

    Returns:
        The access key that signed.

    Raises:
        InvalidSignature: it is not such a key, has expired, or was not signed by a known credential.
    """
    host, query = _decode_short_term_key(key)
    fields = dict(parse_qsl(query, keep_blank_values=True))
    parts = fields.get("X-Amz-Credential", "").split("/")
    stamp, seconds = fields.get("X-Amz-Date", ""), fields.get("X-Amz-Expires", "")
    signed_at = _parse_date(stamp)
    if (
        host != _KEY_HOST
        or fields.get("Action") != "CallWithBearerToken"
        or fields.get("X-Amz-Algorithm") != _ALGORITHM
        or fields.get("X-Amz-SignedHeaders") != "host"
        or parts[1:] != [stamp[:8], region, _KEY_SERVICE, "aws4_request"]
        or signed_at is None
        or not (seconds.isascii() and seconds.isdigit() and 0 < int(seconds[:9]) <= _MAX_KEY_SECONDS)
    ):
        raise _invalid_key()
    credential = lookup(parts[0])
    if credential is None or not _equal(fields.get("X-Amz-Security-Token", ""), credential.token or ""):
        raise _invalid_key()
    authorization = _Authorization(parts[0], parts[1], parts[2], parts[3], ("host",), fields.get("X-Amz-Signature", ""))
    # The signature covers all parameters but itself and the version, which the generator appends to the signed URL.
    signed = "&".join(pair for pair in query.split("&") if pair.partition("=")[0] not in {"X-Amz-Signature", "Version"})
    request = canonical_request(
        "POST", "/", signed.encode(), {"host": host}, signed=("host",), body_sha256=hashlib.sha256().hexdigest()
    )
    if not _equal(_signature(credential.secret_key, authorization, stamp, request), authorization.signature):
        raise _invalid_key()
    if not signed_at - _SKEW <= now < signed_at + timedelta(seconds=int(seconds)):
        raise InvalidSignature(401, "invalid_api_key", "The bearer token has expired.")
    return credential.access_key


def _decode_short_term_key(key: str) -> tuple[str, str]:
    try:
        url = base64.b64decode(key.removeprefix(SHORT_TERM_PREFIX), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise _invalid_key() from None
    host, slash, query = url.partition("/?")
    return (host, query) if slash else ("", "")


def _invalid_key() -> InvalidSignature:
    return InvalidSignature(401, "invalid_api_key", "Invalid bearer token.")


def canonical_request(
    method: str, path: str, raw_query: bytes, values: dict[str, str], *, signed: Iterable[str], body_sha256: str
) -> bytes:
    """Return the text that is hashed and signed. `path` is canonical already."""
    names = tuple(signed)
    lines = [method, path, canonical_query(raw_query)]
    lines += [f"{name}:{values[name]}" for name in names]
    lines += ["", ";".join(names), body_sha256]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def canonical_path(raw_path: bytes, *, decode: bool = True) -> str:
    """Resolve dot segments and empty segments, then encode each segment.

    With `decode`, a segment is decoded and encoded twice, as AWS describes it for every service but S3. Without, it is
    encoded once as it stands in the URL, as botocore does.
    """
    segments: list[bytes] = []
    for segment in raw_path.split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in {b"", b"."}:
            segments.append(segment)
    slash = "/" if segments and raw_path.endswith((b"/", b"/.", b"/..")) else ""
    encoded = (_encode(_encode(unquote_to_bytes(part)).encode()) if decode else _encode(part) for part in segments)
    return "/" + "/".join(encoded) + slash


def canonical_query(raw_query: bytes) -> str:
    """Encode names and values once, and sort by encoded name, then by encoded value."""
    pairs: list[tuple[str, str]] = []
    for piece in raw_query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_encode(unquote_to_bytes(name)), _encode(unquote_to_bytes(value))))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encode(text: bytes) -> str:
    return quote_from_bytes(text, safe=_UNRESERVED)


def _merge_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower the names, trim the values, collapse inner spaces, and join the values of one name with commas."""
    values: dict[str, str] = {}
    for name, value in headers:
        key, clean = name.strip().lower(), _SPACES.sub(" ", value.strip(" \t"))
        values[key] = f"{values[key]},{clean}" if key in values else clean
    return values


def _parse_authorization(values: dict[str, str]) -> _Authorization:
    scheme, _, rest = values.get("authorization", "").partition(" ")
    if scheme != _ALGORITHM:
        raise InvalidSignature(401, "MissingAuthenticationTokenException", "Missing Authentication Token")
    fields: dict[str, str] = {}
    for piece in rest.split(","):
        match = _FIELD.fullmatch(piece)
        if match is None or match[1] in fields:
            raise _malformed("is not a list of Credential, SignedHeaders and Signature")
        fields[match[1]] = match[2]
    for name in ("Credential", "SignedHeaders", "Signature"):
        if name not in fields:
            raise _malformed(f"has no {name}")
    parts = fields["Credential"].split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":  # noqa: PLR2004 - key, date, region, service, aws4_request
        raise _malformed("has no Credential of the form KEY/DATE/REGION/SERVICE/aws4_request")
    key, date, region, service, _ = parts
    return _Authorization(key, date, region, service, tuple(fields["SignedHeaders"].split(";")), fields["Signature"])


def _malformed(problem: str) -> InvalidSignature:
    return InvalidSignature(401, "IncompleteSignatureException", f"The Authorization header {problem}.")


def _check_scope(authorization: _Authorization, region: str) -> None:
    if authorization.service != SERVICE:
        raise _wrong_scope(f"correct service: '{SERVICE}'.")
    if authorization.region != region:
        raise _wrong_scope(f"a valid region, not '{authorization.region[:60]}'.")


def _wrong_scope(expected: str) -> InvalidSignature:
    return InvalidSignature(401, "InvalidSignatureException", f"Credential should be scoped to {expected}")


def _check_signed_headers(authorization: _Authorization, values: dict[str, str]) -> None:
    if list(authorization.signed) != sorted(set(authorization.signed)) or any(
        name not in values for name in authorization.signed
    ):
        raise _malformed("signs headers that the request does not have, or does not list them in order")
    required = {"host", "x-amz-date"} | {name for name in values if name.startswith("x-amz-")}
    missing = sorted(required - set(authorization.signed))
    if missing:
        raise InvalidSignature(
            401,
            "InvalidSignatureException",
            f"Headers that must be signed are not: {', '.join(missing)}.",
        )


def _check_time(authorization: _Authorization, values: dict[str, str], now: datetime) -> None:
    stamp = values["x-amz-date"]
    signed_at = _parse_date(stamp)
    if signed_at is None:
        raise _malformed("comes with an X-Amz-Date that is not of the form 20260131T235959Z")
    if authorization.date != stamp[:8]:
        raise _wrong_scope(f"the date of X-Amz-Date, {stamp[:8]}.")
    if abs(now - signed_at) > _SKEW:
        early = signed_at > now
        bound = (now + _SKEW if early else now - _SKEW).strftime("%Y%m%dT%H%M%SZ")
        server_time = now.strftime("%Y%m%dT%H%M%SZ")
        verdict = (
            f"not yet current: {stamp} is still later than {bound}"
            if early
            else f"expired: {stamp} is now earlier than {bound}"
        )
        sign = "+" if early else "-"
        raise InvalidSignature(403, "InvalidSignatureException", f"Signature {verdict} ({server_time} {sign} 5 min.)")


def _parse_date(stamp: str) -> datetime | None:
    if _DATE.fullmatch(stamp) is None:
        return None
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _check_body(values: dict[str, str], body_sha256: str) -> None:
    stated = values.get("x-amz-content-sha256")
    if stated is not None and not _equal(stated, body_sha256):
        raise InvalidSignature(
            401,
            "InvalidSignatureException",
            "The X-Amz-Content-SHA256 header does not match the body that was received.",
        )


def _signature(secret: str, authorization: _Authorization, stamp: str, request: bytes) -> str:
    text = "\n".join((_ALGORITHM, stamp, authorization.scope, hashlib.sha256(request).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (authorization.date, authorization.region, authorization.service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))
