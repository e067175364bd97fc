"""Check the keys and signatures of requests: botocore signs the received request again for comparison.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bedrock_rft._auth.endpoint import SERVICE
from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._service.requests import ServiceError
from bedrock_rft.local._service.store import open_private

SHORT_TERM_PREFIX = "bedrock-api-key-"
"""First characters of a short-term API key; the rest is a presigned URL in base64."""

_KEY_SERVICE = "bedrock"
_KEY_HOST = "bedrock.amazonaws.com"
_MAX_KEY_SECONDS = 12 * 3600
_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=([^,/\s]*)/([^,/\s]*)/([^,/\s]*)/([^,/\s]*)/aws4_request, ?"
    r"SignedHeaders=([^,\s]+), ?Signature=([^,\s]+)"
)
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Credential:
    """AWS credentials; their repr shows the access key only. Long-term credentials have no token."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.access_key!r})"


@dataclass(eq=False)
class InvalidSignatureError(ServiceError):
    """The request is not authenticated. The status is 401, or 403 if the clocks differ."""

    type: str = "authentication_error"


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
    """Check the Signature Version 4 headers of a request, and return the access key id that signed them.

    If `body_sha256` is None, the key, the scope, the time and the token are checked, but not the signature itself.
    Raises `InvalidSignatureError`.
    """
    values = _merge_headers(headers)
    text = values.get("authorization", "")
    if text.partition(" ")[0] != _ALGORITHM:
        raise InvalidSignatureError(401, "Missing Authentication Token", "MissingAuthenticationTokenException")
    match = _AUTHORIZATION.fullmatch(text)
    if match is None:
        raise _malformed_header_error(
            "is not of the form 'Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…'"
        )
    key, date, scope_region, service, signed_names, signature = match.groups()
    if service != SERVICE:
        raise _invalid_signature_error(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if scope_region != region:
        raise _invalid_signature_error(f"Credential should be scoped to a valid region, not '{scope_region[:60]}'.")
    credential = lookup(key)
    if credential is None:
        raise _unknown_sender_error()
    _check_signed_headers(signed_names.split(";"), values)
    _check_time(date, values["x-amz-date"], now)
    if body_sha256 is not None and not _is_equal(values.get("x-amz-content-sha256", body_sha256), body_sha256):
        raise _invalid_signature_error("The X-Amz-Content-SHA256 header does not match the body that was received.")
    if credential.token is not None and not _is_equal(values.get("x-amz-security-token", ""), credential.token):
        raise _unknown_sender_error()
    if body_sha256 is None:
        return key
    # Accept both forms of the path: some signers encode the decoded path twice, others encode the path of the URL
    # once more. The results differ only for characters that need no encoding, such as the colon of a tuned model.
    path = raw_path.decode("utf-8", "surrogateescape")
    signed = {name: values[name] for name in signed_names.split(";")}
    signatures = [
        _sign(
            credential,
            SERVICE,
            region,
            values["x-amz-date"],
            _SignedParts(method, target, raw_query, signed, body_sha256),
        )
        for target in {path, "/".join(map(_encode, path.split("/")))}
    ]
    if not any([_is_equal(each, signature) for each in signatures]):  # noqa: C419 - constant time
        raise _invalid_signature_error(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )
    return key


def verify_short_term_key(key: str, *, lookup: Callable[[str], Credential | None], region: str, now: datetime) -> str:
    """Check a short-term key, a presigned URL in base64, and return the access key id that signed it.

    Raises `InvalidSignatureError`.
    """
    try:
        url = base64.b64decode(key.removeprefix(SHORT_TERM_PREFIX), validate=True).decode("ascii")
    except ValueError:
        raise _invalid_key_error() from None
    host, _, query = url.partition("/?")
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
        raise _invalid_key_error()
    credential = lookup(parts[0])
    if credential is None or not _is_equal(fields.get("X-Amz-Security-Token", ""), credential.token or ""):
        raise _invalid_key_error()
    # The signature covers all parameters but itself and the version, which the generator appends to the signed URL.
    signed = "&".join(pair for pair in query.split("&") if pair.partition("=")[0] not in {"X-Amz-Signature", "Version"})
    parts_signed = _SignedParts("POST", "/", signed.encode(), {"host": host}, hashlib.sha256().hexdigest())
    if not _is_equal(_sign(credential, _KEY_SERVICE, region, stamp, parts_signed), fields.get("X-Amz-Signature", "")):
        raise _invalid_key_error()
    if not signed_at - _SKEW <= now < signed_at + timedelta(seconds=int(seconds)):
        raise InvalidSignatureError(401, "The bearer token has expired.", "invalid_api_key")
    return credential.access_key


def _invalid_key_error() -> InvalidSignatureError:
    return InvalidSignatureError(401, "Invalid bearer token.", "invalid_api_key")


class _Signer(SigV4Auth):  # type: ignore[misc] # botocore has no annotations
    """botocore's signer, for the headers that the sender signed and a body that is no longer in memory."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers

    def payload(self, request: Any) -> Any:
        return request.context["body_sha256"]


class _SignedParts(NamedTuple):
    """The parts of a request that its signature covers."""

    method: str
    path: str
    raw_query: bytes
    headers: dict[str, str]
    body_sha256: str


def _sign(credential: Credential, service: str, region: str, stamp: str, parts: _SignedParts) -> str:
    """Return the signature of the parts of a request; empty if a header or the path is not UTF-8."""
    method, path, raw_query, headers, body_sha256 = parts
    pairs = [piece.partition("=") for piece in raw_query.decode("utf-8", "surrogateescape").split("&") if piece]
    query = "&".join(f"{_encode(name)}={_encode(value)}" for name, _, value in pairs)
    signer: Any = _Signer(Credentials(credential.access_key, credential.secret_key), service, region)
    message: Any = AWSRequest(method, f"http://local.invalid{path or '/'}?{query}", headers)
    message.context.update(timestamp=stamp, body_sha256=body_sha256)
    try:
        return str(signer.signature(signer.string_to_sign(message, signer.canonical_request(message)), message))
    except UnicodeError:
        return ""


def _encode(text: str) -> str:
    """Decode a text, and encode all but its unreserved characters."""
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe="")


def _merge_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers with names in lower case, values trimmed, and the values of one name joined with commas."""
    values: dict[str, str] = {}
    for name, value in headers:
        key, clean = name.strip().lower(), value.strip(" \t")
        values[key] = f"{values[key]},{clean}" if key in values else clean
    return values


def _unknown_sender_error() -> InvalidSignatureError:
    return InvalidSignatureError(
        401, "The security token included in the request is invalid.", "UnrecognizedClientException"
    )


def _malformed_header_error(problem: str) -> InvalidSignatureError:
    return InvalidSignatureError(401, f"The Authorization header {problem}.", "IncompleteSignatureException")


def _invalid_signature_error(message: str, status: int = 401) -> InvalidSignatureError:
    return InvalidSignatureError(status, message, "InvalidSignatureException")


def _check_signed_headers(names: Sequence[str], values: Mapping[str, str]) -> None:
    if list(names) != sorted({*names}) or not {*names} <= values.keys():
        raise _malformed_header_error("signs headers that the request does not have, or does not list them in order")
    missing = {"host", "x-amz-date", *(name for name in values if name.startswith("x-amz-"))} - {*names}
    if missing:
        raise _invalid_signature_error(f"Headers that must be signed are not: {', '.join(sorted(missing))}.")


def _check_time(date: str, stamp: str, now: datetime) -> None:
    signed_at = _parse_date(stamp)
    if signed_at is None:
        raise _malformed_header_error("comes with an X-Amz-Date that is not of the form 20260131T235959Z")
    if date != stamp[:8]:
        raise _invalid_signature_error(f"Credential should be scoped to the date of X-Amz-Date, {stamp[:8]}.")
    limits = [(now + offset).strftime(_DATE_FORMAT) for offset in (-_SKEW, timedelta(0), _SKEW)]
    if signed_at > now + _SKEW:
        message = f"Signature not yet current: {stamp} is still later than {limits[2]} ({limits[1]} + 5 min.)"
        raise _invalid_signature_error(message, status=403)
    if signed_at < now - _SKEW:
        message = f"Signature expired: {stamp} is now earlier than {limits[0]} ({limits[1]} - 5 min.)"
        raise _invalid_signature_error(message, status=403)


def _parse_date(stamp: str) -> datetime | None:
    if _DATE.fullmatch(stamp) is None:
        return None
    try:
        return datetime.strptime(stamp, _DATE_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _is_equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))


_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class Keys:
    """A bearer key, and an AWS credential that may sign requests and short-term API keys for a region."""

    region: str
    api_key: Secret[str]
    credential: Secret[Credential]

    @classmethod
    def generate(cls, region: str) -> Keys:
        """Generate random keys."""
        credential = Credential(
            access_key="LOCAL" + "".join(secrets.choice(_LETTERS) for _ in range(15)),
            secret_key=secrets.token_urlsafe(30),
            token=f"local-token-{secrets.token_urlsafe(48)}",
        )
        return cls(region, Secret(f"local-key-{secrets.token_urlsafe(32)}"), Secret(credential))

    @classmethod
    def load_or_generate(cls, path: Path, region: str) -> Keys:
        """Load the keys of an earlier service, or write new ones (mode 0600), or raise `ConfigurationError`."""
        try:
            if path.exists():
                fields = json.loads(path.read_text(encoding="utf-8"))
                api_key, credential = str(fields["api_key"]), Credential(**fields["credential"])
                return cls(region, Secret(api_key), Secret(credential))
            keys = cls.generate(region)
            text = json.dumps({"api_key": keys.api_key.reveal(), "credential": asdict(keys.credential.reveal())})
            with open(path, "x", encoding="utf-8", opener=open_private) as file:
                file.write(text)
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = getattr(error, "strerror", None) or "it is not a key file of the local service"
            raise ConfigurationError(
                f"The keys of the local service in {path} cannot be used: {reason}. Remove the file to get new keys."
            ) from None  # no cause, because its text may repeat a key
        return keys

    def check(
        self,
        method: str,
        raw_path: bytes,
        raw_query: bytes,
        headers: Sequence[tuple[str, str]],
        body_sha256: str | None,
    ) -> None:
        """Authenticate a request, or raise `InvalidSignatureError`. Without the hash, the signature is not checked."""
        values = [value for name, value in headers if name.lower() == "authorization"]
        if len(values) != 1:
            message = "Send one Authorization header: a bearer key or a signature."
            raise InvalidSignatureError(401, message, "missing_authentication")
        scheme, _, key = values[0].partition(" ")
        credential = self.credential.reveal()
        key, now, find = key.strip(), datetime.now(timezone.utc), {credential.access_key: credential}.get
        if scheme.lower() != "bearer":
            verify(method, raw_path, raw_query, headers, body_sha256, lookup=find, region=self.region, now=now)
        elif key.startswith(SHORT_TERM_PREFIX):
            verify_short_term_key(key, lookup=find, region=self.region, now=now)
        elif not hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self.api_key.reveal().encode()):
            raise InvalidSignatureError(401, "Invalid bearer token.", "invalid_api_key")
