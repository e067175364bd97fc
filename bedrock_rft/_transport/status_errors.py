"""Map unsuccessful responses to exceptions. The service's error code decides before the HTTP status."""

from __future__ import annotations

import math
import re
import time
from typing import TypeVar
from urllib.parse import urlsplit

from bedrock_rft._auth.config import Config
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.http import clock_offset, parse_http_date
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
from bedrock_rft.types.iam_actions import SERVICE_PREFIX, action_for

P = TypeVar("P", bound=Payload)

_EXCERPT = 300  # characters of an unexpected body that a message quotes

# Codes are compared without case, separators and the suffix "Exception" or "Error", because each layer of the service
# spells them differently.
_CODES: dict[type[APIStatusError], str] = {
    PermissionDeniedError: "accessdenied permissiondenied unauthorizedoperation",
    AuthenticationError: (
        "invalidapikey expiredtoken requestexpired requesttimetooskewed invalidsignature signaturedoesnotmatch "
        "incompletesignature unrecognizedclient invalidclienttokenid missingauthenticationtoken"
    ),
    RateLimitError: "throttling throttled toomanyrequests ratelimit ratelimitexceeded requestlimitexceeded",
    NotFoundError: "resourcenotfound",
    BadRequestError: "validation",
}
_BY_CODE = {code: error for error, codes in _CODES.items() for code in codes.split()}
_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: RateLimitError,
}
_SERVER_ERROR = 500
_CLIENT_ERROR = 400


def parse_error_body(response: Response) -> ErrorBody:
    """Return code, message, parameter and type of an error, from any known envelope. All are None if there is none."""
    try:
        found = ErrorEnvelope.read(response.content).body
    except ValueError:
        found = ErrorBody()
    code = found.code or response.headers.get("x-amzn-errortype", "").partition(":")[0] or None
    return ErrorBody(code=code, message=found.message, param=found.param, type=found.type)


def error_class(response: Response, details: ErrorBody) -> type[APIStatusError]:
    """Return the class of an error. A known code decides before the status, because IAM denials may have status 401."""
    for name in (details.code, details.type):
        folded = re.sub(r"[^a-z]", "", (name or "").lower())
        folded = re.sub(r"(exception|error)$", "", folded)
        if folded in _BY_CODE:
            return _BY_CODE[folded]
    if response.status in {401, 403} and "not authorized to perform" in (details.message or ""):
        return PermissionDeniedError
    if response.status in _BY_STATUS:
        return _BY_STATUS[response.status]
    return InternalServerError if response.status >= _SERVER_ERROR else BadRequestError


def map_status_error(response: Response, request: Request, config: Config) -> APIError:
    """Return the exception for an unsuccessful response."""
    if response.status < _CLIENT_ERROR:
        return RedirectRefusedError(
            f"{request.summary}: HTTP {response.status} redirects to {sanitize_line(_redirect_host(response), 100)}. "
            "The redirect was not followed, because credentials and data are sent to "
            f"{urlsplit(config.base_url).netloc} only. Check {config.endpoint_setting} and any proxy.",
            status=response.status,
            request_id=response.request_id,
        )
    details = parse_error_body(response)
    error_type = error_class(response, details)
    text = sanitize_line(
        _redact_service_text(details.message or "", config) or _describe_body(response, config), _EXCERPT * 3
    )
    label = f"HTTP {response.status}" + (f" {sanitize_line(details.code, 100)}" if details.code else "")
    denied = error_type is PermissionDeniedError
    action, resource = _permission(details.message or "", request, config) if denied else ("", "")
    advice = (
        _permission_advice(action, resource, request, config)
        if denied
        else _advice(error_type, response, details, config)
    )
    error = error_type(
        f"{request.summary}: {label}: {text}{_request_note(response)}.{advice}",
        status=response.status,
        code=details.code,
        param=details.param,
        type=details.type,
        request_id=response.request_id,
        retry_after=retry_after(response),
    )
    if isinstance(error, PermissionDeniedError):
        error.action, error.resource = action, resource
    return error


def _redirect_host(response: Response) -> str:
    """Return the host that a redirect points to, without user, path and query, which may contain a secret."""
    try:
        parts = urlsplit(response.headers.get("location", ""))
    except ValueError:
        return "an invalid address"
    return parts.netloc.rpartition("@")[2] or (f"a '{parts.scheme}:' address" if parts.scheme else "another path")


def _describe_body(response: Response, config: Config) -> str:
    text = _redact_service_text(response.content.decode("utf-8", "replace").strip(), config)
    if not text:
        return "the body is empty"
    if _is_html(text):
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        return f"an HTML page titled '{title.group(1).strip()[:_EXCERPT]}'" if title else "an HTML page"
    return text[:_EXCERPT]


def _is_html(text: str) -> bool:
    return re.search(r"(?i)<html|<!doctype", text[:1000]) is not None


def _request_note(response: Response) -> str:
    return f" (request {response.request_id})" if response.request_id else ""


def _redact_service_text(text: str, config: Config) -> str:
    """Return a text of the service without credentials: the service repeats them if it rejects a signature."""
    key = config.key.constant_key() if config.key else None
    if key:
        text = text.replace(key, "****")
    return redact(text)


def _permission(message: str, request: Request, config: Config) -> tuple[str, str]:
    """Return the missing IAM action and its resource, as the service names them, or else as the route requires them."""
    stated = re.search(r"perform:? ([a-z-]+:[A-Za-z*]+)(?: on resource:? (\S+))?", message)
    if stated:
        return stated[1], (stated[2] or _project_arn(config)).rstrip(".,")
    return action_for(request.method, request.path) or f"{SERVICE_PREFIX}:*", _project_arn(config)


def _project_arn(config: Config) -> str:
    partition = "aws-us-gov" if config.region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:bedrock-mantle:{config.region}:*:project/{config.project or 'default'}"


def _permission_advice(action: str, resource: str, request: Request, config: Config) -> str:
    advice = f" Allow {action} on {resource} to the identity from {config.identity.source}."
    if config.identity.key_kind == "long-term" and request.path.startswith(("/files", "/fine_tuning")):
        advice += (
            " The default policy of a long-term API key (AmazonBedrockLimitedAccess) allows neither files nor jobs. "
            "Attach a policy to the key's IAM user, or use AWS credentials."
        )
    return advice


def _advice(error: type[APIStatusError], response: Response, details: ErrorBody, config: Config) -> str:
    if error is AuthenticationError:
        words = f"{details.code} {details.message}"
        # An expired signature most likely comes from a clock that is slow, not from old credentials.
        late = re.search(r"(?i)signature expired|not yet current|request.?(has )?expired|skewed", words)
        if not late and re.search(r"(?i)expired", words):
            clock = _clock_advice(response) if clock_offset(response.headers) is not None else ""
            return f"{clock} Renew the credentials ('aws sso login', a new session token) or create a new API key."
        return f" The identity came from {config.identity.source}.{_clock_advice(response)}"
    if error is NotFoundError and not response.content.strip():
        return f" An empty response means a wrong path. Files and jobs are below '/v1'; base_url is {config.base_url}."
    pause = retry_after(response)
    wait = f" The service asks for a pause of {pause:.0f} s." if pause is not None else ""
    return wait + (" Send fewer requests, or ask AWS for a higher quota." if error is RateLimitError else "")


def _clock_advice(response: Response) -> str:
    offset = clock_offset(response.headers)
    if offset is None:
        return " If the signature was rejected, check this machine's clock."
    far = 240
    return (
        f" This machine's clock differs from the service's by {offset:.0f} s. Correct it." if abs(offset) > far else ""
    )


def retry_after(response: Response) -> float | None:
    """Return the seconds of `Retry-After`; None if the header is missing, invalid or in the past."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        seconds = float(text)
    else:
        moment = parse_http_date(text)
        if moment is None:
            return None
        seconds = moment - time.time()
    return seconds if 0 < seconds < math.inf else None


def parse_response(model: type[P], response: Response, request: Request, config: Config) -> P:
    """Return the payload of a successful response. Raise `APIResponseError` if the body does not fit the model."""
    try:
        return model.read(response.content)
    except ValueError:
        excerpt = sanitize_line(_describe_body(response, config), _EXCERPT)
    problem, advice = f"is not a response of the service: {excerpt!r}", ""
    if _is_truncated_json(response):
        problem = f"is JSON that ends too early, after {len(response.content)} bytes: it begins with {excerpt!r}"
        advice = " The response was truncated on its way, by a proxy for example. Try again."
    elif _is_html(response.content.decode("utf-8", "replace")):
        problem = f"is {excerpt}, not a response of the service"
        advice = " A proxy or a log-in page may have answered: check base_url and the network."
    host = urlsplit(config.base_url).netloc
    text = f"{request.summary}: HTTP {response.status} from {host} {problem}{_request_note(response)}.{advice}"
    error = APIResponseError(text, status=response.status, request_id=response.request_id)
    error.method, error.path, error.attempts = request.method, request.path, response.attempts
    raise error


def _is_truncated_json(response: Response) -> bool:
    from pydantic_core import from_json

    if not response.content.lstrip().startswith((b"{", b"[")):
        return False
    try:
        from_json(response.content)
    except ValueError as error:
        return "EOF while parsing" in str(error)
    return False
