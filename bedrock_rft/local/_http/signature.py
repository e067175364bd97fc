"""A signature check written from AWS's description of Signature Version 4, so that two independent readings must agree.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = ["SERVICE", "Credential", "Refused", "verify"]

SERVICE = "bedrock-mantle"

_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=5)
_UNRESERVED = "-._~"
_FIELD = re.compile(r"\s*([A-Za-z]+)=([^,\s]+)\s*", re.ASCII)
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Credential:
    """What signs: shown as its access key alone.

    Attributes:
        access_key: the public half.
        secret_key: the secret half; it never travels.
        token: the session token, which travels signed; None for a key that lasts.
    """

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.access_key!r})"


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """Why a request is not let in.

    Attributes:
        status: 401, or 403 where the clocks differ.
        code: the service's own word.
        message: the service's own sentence.
    """

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class _Claim:
    """What an `Authorization` header says about itself."""

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
    """Check a request that was signed in its headers.

    Args:
        method: the HTTP method.
        raw_path: the path as it stood on the request line.
        raw_query: the query as it stood there, without the question mark.
        headers: names in any case, in the order they came.
        body_sha256: hex digest of the body that came. None before it has come: all but the signature is checked then.
        lookup: finds the credential of an access key.
        region: what the signature must be scoped to.
        now: this machine's time, aware.

    Returns:
        The access key that signed.

    Raises:
        Refused: it is not signed, or not validly.
    """
    values = _gathered(headers)
    claim = _claim(values)
    credential = lookup(claim.access_key)
    _check_scope(claim, region)
    if credential is None:
        raise Refused(401, "UnrecognizedClientException", "The security token included in the request is invalid.")
    _check_signed_headers(claim, values)
    _check_time(claim, values, now)
    if body_sha256 is not None:
        _check_body(values, body_sha256)
    if credential.token is not None and not _same(values.get("x-amz-security-token", ""), credential.token):
        raise Refused(401, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if body_sha256 is None:
        return claim.access_key
    request = canonical_request(method, raw_path, raw_query, values, signed=claim.signed, body_sha256=body_sha256)
    text = "\n".join((_ALGORITHM, values["x-amz-date"], claim.scope, hashlib.sha256(request).hexdigest()))
    if not _same(_signature(credential.secret_key, claim, text), claim.signature):
        raise Refused(
            401,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    return claim.access_key


def canonical_request(
    method: str, raw_path: bytes, raw_query: bytes, values: dict[str, str], *, signed: Iterable[str], body_sha256: str
) -> bytes:
    """What is signed: one text for all spellings of one request."""
    names = tuple(signed)
    lines = [method, canonical_path(raw_path), canonical_query(raw_query)]
    lines += [f"{name}:{values[name]}" for name in names]
    lines += ["", ";".join(names), body_sha256]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def canonical_path(raw_path: bytes) -> str:
    """Encode each segment twice, as for every service but S3, after dot segments and empty ones are resolved."""
    kept: list[bytes] = []
    for segment in raw_path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    slash = "/" if kept and raw_path.endswith((b"/", b"/.", b"/..")) else ""
    return "/" + "/".join(_encoded(_encoded(unquote_to_bytes(segment)).encode()) for segment in kept) + slash


def canonical_query(raw_query: bytes) -> str:
    """Encode names and values once, and sort by name, then value, as encoded."""
    pairs: list[tuple[str, str]] = []
    for piece in raw_query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_encoded(unquote_to_bytes(name)), _encoded(unquote_to_bytes(value))))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: bytes) -> str:
    return quote_from_bytes(text, safe=_UNRESERVED)


def _gathered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names; values trimmed, their inner spaces collapsed, those of one name joined by commas."""
    values: dict[str, str] = {}
    for name, value in headers:
        key, clean = name.strip().lower(), _SPACES.sub(" ", value.strip(" \t"))
        values[key] = f"{values[key]},{clean}" if key in values else clean
    return values


def _claim(values: dict[str, str]) -> _Claim:
    scheme, _, rest = values.get("authorization", "").partition(" ")
    if scheme != _ALGORITHM:
        raise Refused(401, "MissingAuthenticationTokenException", "Missing Authentication Token")
    fields: dict[str, str] = {}
    for piece in rest.split(","):
        match = _FIELD.fullmatch(piece)
        if match is None or match[1] in fields:
            raise _incomplete("is not a list of Credential, SignedHeaders and Signature")
        fields[match[1]] = match[2]
    for name in ("Credential", "SignedHeaders", "Signature"):
        if name not in fields:
            raise _incomplete(f"has no {name}")
    parts = fields["Credential"].split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":  # noqa: PLR2004 - key, date, region, service, aws4_request
        raise _incomplete("has no Credential of the form KEY/DATE/REGION/SERVICE/aws4_request")
    key, date, region, service, _ = parts
    return _Claim(key, date, region, service, tuple(fields["SignedHeaders"].split(";")), fields["Signature"])


def _incomplete(why: str) -> Refused:
    return Refused(401, "IncompleteSignatureException", f"The Authorization header {why}.")


def _check_scope(claim: _Claim, region: str) -> None:
    if claim.service != SERVICE:
        raise _scoped(f"correct service: '{SERVICE}'.")
    if claim.region != region:
        raise _scoped(f"a valid region, not '{claim.region[:60]}'.")


def _scoped(what: str) -> Refused:
    return Refused(401, "InvalidSignatureException", f"Credential should be scoped to {what}")


def _check_signed_headers(claim: _Claim, values: dict[str, str]) -> None:
    if list(claim.signed) != sorted(set(claim.signed)) or any(name not in values for name in claim.signed):
        raise _incomplete("signs headers that are not there, or not in order")
    must = {"host", "x-amz-date"} | {name for name in values if name.startswith("x-amz-")}
    missing = sorted(must - set(claim.signed))
    if missing:
        raise Refused(
            401,
            "InvalidSignatureException",
            f"There were headers that must be signed and are not: {', '.join(missing)}.",
        )


def _check_time(claim: _Claim, values: dict[str, str], now: datetime) -> None:
    stamp = values["x-amz-date"]
    signed_at = _moment(stamp)
    if signed_at is None:
        raise _incomplete("belongs to an X-Amz-Date that is not of the form 20260131T235959Z")
    if claim.date != stamp[:8]:
        raise _scoped(f"the date of X-Amz-Date, {stamp[:8]}.")
    if abs(now - signed_at) > _SKEW:
        early = signed_at > now
        bound = (now + _SKEW if early else now - _SKEW).strftime("%Y%m%dT%H%M%SZ")
        here = now.strftime("%Y%m%dT%H%M%SZ")
        verdict = (
            f"not yet current: {stamp} is still later than {bound}"
            if early
            else f"expired: {stamp} is now earlier than {bound}"
        )
        sign = "+" if early else "-"
        raise Refused(403, "InvalidSignatureException", f"Signature {verdict} ({here} {sign} 5 min.)")


def _moment(stamp: str) -> datetime | None:
    if _DATE.fullmatch(stamp) is None:
        return None
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _check_body(values: dict[str, str], body_sha256: str) -> None:
    claimed = values.get("x-amz-content-sha256")
    if claimed is not None and not _same(claimed, body_sha256):
        raise Refused(
            401,
            "InvalidSignatureException",
            "The X-Amz-Content-SHA256 header does not match the body that was received.",
        )


def _signature(secret: str, claim: _Claim, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (claim.date, claim.region, claim.service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))
