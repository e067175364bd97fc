"""A reply that is not a success, as the error it means: by the service's code before the status."""

from __future__ import annotations

import math
import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

from bedrock_rft._auth.config import Config
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import (
    APIError,
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
)
from bedrock_rft.types._payload import Payload
from bedrock_rft.types.errors import ErrorBody, ErrorEnvelope

__all__ = ["body", "kind", "parse_response", "refusal", "retry_after"]

P = TypeVar("P", bound=Payload)

_SHOWN = 300  # characters of a foreign body that a message repeats

# Codes are compared without case, separators and the suffix "Exception" or "Error", since every layer spells its own.
_BY_CODE: dict[str, type[APIStatusError]] = {
    "accessdenied": PermissionDeniedError,
    "permissiondenied": PermissionDeniedError,
    "unauthorizedoperation": PermissionDeniedError,
    "invalidapikey": AuthenticationError,
    "expiredtoken": AuthenticationError,
    "requestexpired": AuthenticationError,
    "requesttimetooskewed": AuthenticationError,
    "invalidsignature": AuthenticationError,
    "signaturedoesnotmatch": AuthenticationError,
    "incompletesignature": AuthenticationError,
    "unrecognizedclient": AuthenticationError,
    "invalidclienttokenid": AuthenticationError,
    "missingauthenticationtoken": AuthenticationError,
    "throttling": RateLimitError,
    "throttled": RateLimitError,
    "toomanyrequests": RateLimitError,
    "ratelimit": RateLimitError,
    "ratelimitexceeded": RateLimitError,
    "requestlimitexceeded": RateLimitError,
    "resourcenotfound": NotFoundError,
    "validation": BadRequestError,
}
_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: RateLimitError,
}
_SERVER_SIDE = 500
_CLIENT_SIDE = 400

_ACTIONS = (
    ("POST", r"/files", "CreateFile"),
    ("GET", r"/files", "ListFiles"),
    ("GET", r"/files/.*", "GetFile"),
    ("DELETE", r"/files/.*", "DeleteFile"),
    ("POST", r"/fine_tuning/jobs", "CreateFineTuningJob"),
    ("GET", r"/fine_tuning/jobs", "ListFineTuningJobs"),
    ("POST", r"/fine_tuning/jobs/[^/]*/cancel", "CancelFineTuningJob"),
    ("GET", r"/fine_tuning/jobs/.*", "GetFineTuningJob"),
    ("GET", r"/models", "ListModels"),
    ("GET", r"/models/.*", "GetModel"),
    ("POST", r"/(chat/completions|responses)", "CreateInference"),
)


def body(reply: Response) -> ErrorBody:
    """The service's account of an error, from any envelope it is known to use; empty where there is none."""
    try:
        found = ErrorEnvelope.read(reply.content).body
    except ValueError:
        found = ErrorBody()
    code = found.code or reply.headers.get("x-amzn-errortype", "").partition(":")[0] or None
    return ErrorBody(code=code, message=found.message, param=found.param, type=found.type)


def kind(reply: Response, said: ErrorBody) -> type[APIStatusError]:
    """Which error it is. An IAM denial arrives as 401, throttling as anything: the code decides where there is one."""
    for name in (said.code, said.type):
        folded = re.sub(r"[^a-z]", "", (name or "").lower())
        folded = re.sub(r"(exception|error)$", "", folded)
        if folded in _BY_CODE:
            return _BY_CODE[folded]
    if reply.status in {401, 403} and "not authorized to perform" in (said.message or ""):
        return PermissionDeniedError
    if reply.status in _BY_STATUS:
        return _BY_STATUS[reply.status]
    return InternalServerError if reply.status >= _SERVER_SIDE else BadRequestError


def refusal(reply: Response, call: Request, config: Config) -> APIError:
    """The error that a reply without success means."""
    doing = f"{call.method} {call.path}"
    if reply.status < _CLIENT_SIDE:
        return RedirectRefusedError(
            f"{doing}: HTTP {reply.status} points to {sanitize_line(_target(reply), 100)}. It was not followed: credentials "
            f"and data go to {urlsplit(config.base_url).netloc} only. Check base_url and any proxy.",
            status=reply.status,
            request_id=reply.request_id,
        )
    said = body(reply)
    error_type = kind(reply, said)
    text = sanitize_line(_redacted(said.message or "", config) or _page(reply, config), _SHOWN * 3)
    request = f" (request {sanitize_line(reply.request_id, 100)})" if reply.request_id else ""
    label = f"HTTP {reply.status}" + (f" {sanitize_line(said.code, 100)}" if said.code else "")
    action, resource = (
        _permission(said.message or "", call, config) if error_type is PermissionDeniedError else (None, None)
    )
    error = error_type(
        f"{doing}: {label}: {text}{request}.{_advice(error_type, reply, said, action, resource, call, config)}",
        status=reply.status,
        code=said.code,
        param=said.param,
        type=said.type,
        request_id=reply.request_id,
        retry_after=retry_after(reply),
    )
    if isinstance(error, PermissionDeniedError):
        error.action, error.resource = action, resource
    return error


def _target(reply: Response) -> str:
    """Where a redirect points: its host, never the user, path or query that may hold a secret."""
    try:
        parts = urlsplit(reply.headers.get("location", ""))
    except ValueError:
        return "another place"
    return parts.netloc.rpartition("@")[2] or (f"a '{parts.scheme}:' address" if parts.scheme else "another path")


def _page(reply: Response, config: Config) -> str:
    text = _redacted(reply.content.decode("utf-8", "replace").strip(), config)
    if not text:
        return "no explanation"
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    if "<html" in text[:1000].lower() or "<!doctype" in text[:1000].lower():
        return f"an HTML page titled '{title.group(1).strip()[:_SHOWN]}'" if title else "an HTML page"
    return text[:_SHOWN]


def _redacted(text: str, config: Config) -> str:
    """Text of the service without what it echoes: a refused signature is explained by the headers that were signed."""
    key = config.key.static() if config.key else None
    if key:
        text = text.replace(key, "****")
    return redact(text)


def _permission(message: str, call: Request, config: Config) -> tuple[str, str]:
    """The IAM action that is missing and the resource it is missing on: the service's word, or what the route needs."""
    stated = re.search(r"perform:? ([a-z-]+:[A-Za-z*]+)(?: on resource:? (\S+))?", message)
    if stated:
        return stated[1], (stated[2] or _project(config)).rstrip(".,")
    for method, route, action in _ACTIONS:
        if method == call.method and re.fullmatch(route, call.path):
            return f"bedrock-mantle:{action}", _project(config)
    return "bedrock-mantle:*", _project(config)


def _project(config: Config) -> str:
    partition = "aws-us-gov" if config.region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:bedrock-mantle:{config.region}:*:project/{config.project or 'default'}"


def _advice(
    error: type[APIStatusError],
    reply: Response,
    said: ErrorBody,
    action: str | None,
    resource: str | None,
    call: Request,
    config: Config,
) -> str:
    if error is PermissionDeniedError:
        long_term = config.identity.key_kind == "long-term" and call.path.startswith(("/files", "/fine_tuning"))
        reason = (
            " A long-term API key's default policy (AmazonBedrockLimitedAccess) can neither create files nor jobs: "
            "attach a policy to the key's IAM user, or use AWS credentials."
            if long_term
            else ""
        )
        return f" Allow {action} on {resource} to the identity from {config.identity.source}.{reason}"
    if error is AuthenticationError:
        words = f"{said.code} {said.message}"
        # What was signed too long ago, by the service's clock, was most likely signed just now by one that is slow.
        late = re.search(r"(?i)signature expired|not yet current|request.?(has )?expired|skewed", words)
        if not late and re.search(r"(?i)expired", words):
            return " Renew the credentials ('aws sso login', a new session token) or make a new API key."
        return f" The identity came from {config.identity.source}.{_clock(reply)}"
    if error is NotFoundError and not reply.content.strip():
        return f" An empty answer means a wrong path. Files and jobs are under '/v1'; base_url is {config.base_url}."
    pause = retry_after(reply)
    wait = f" The service asks to wait {pause:.0f} s." if pause is not None else ""
    return wait + (" Ask less often, or ask AWS for a higher quota." if error is RateLimitError else "")


def _clock(reply: Response) -> str:
    cached = "age" in reply.headers  # its date is that of another answer
    theirs = None if cached else _moment(reply.headers.get("date", ""))
    if theirs is None:
        return " If the signature is refused, check this machine's clock."
    behind = theirs - time.time()
    far = 240
    return (
        f" This machine's clock differs from the service's by {behind:.0f} s. Set it right."
        if abs(behind) > far
        else ""
    )


def retry_after(reply: Response) -> float | None:
    """Seconds the service asked to wait; None where it did not, or said something that is no time to come."""
    text = reply.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        seconds = float(text)
    else:
        moment = _moment(text)
        if moment is None:
            return None
        seconds = moment - time.time()
    return seconds if 0 < seconds < math.inf else None


def _moment(text: str) -> float | None:
    """Unix seconds of an HTTP date; None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
        # Without a zone it is GMT, as HTTP says, not this machine's.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def parse_response(model: type[P], reply: Response, call: Request, config: Config) -> P:
    """The payload of a success. Raises `APIResponseError` where it is not the service's answer."""
    try:
        return model.read(reply.content)
    except ValueError:
        host = urlsplit(config.base_url).netloc
        shown = sanitize_line(_page(reply, config), _SHOWN)
        html = " A proxy or a log-in page may stand between: check base_url and the network." if "HTML" in shown else ""
        request = f" (request {sanitize_line(reply.request_id, 100)})" if reply.request_id else ""
        error = APIResponseError(
            f"{call.method} {call.path}: HTTP {reply.status} from {host} is not the answer of the service: "
            f"{shown!r}{request}.{html}",
            status=reply.status,
            request_id=reply.request_id,
        )
    error.method, error.path, error.attempts = call.method, call.path, reply.attempts
    raise error
