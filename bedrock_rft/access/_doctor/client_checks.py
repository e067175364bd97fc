"""Checks of a client: its identity, key and region, and the endpoint with its clock and models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from bedrock_rft._auth.api_key import ApiKey
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import KNOWN_REGIONS, RFT_REGIONS, host_region
from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding
from bedrock_rft._transport.http import parse_http_date
from bedrock_rft._transport.proxy import find_proxy
from bedrock_rft._transport.status_errors import map_status_error
from bedrock_rft._transport.transport import Request, Response, Transport
from bedrock_rft.errors import APIConnectionError, AuthenticationError, BedrockRFTError, PermissionDeniedError
from bedrock_rft.types.models import KNOWN_MODELS

_SHORT = timedelta(hours=1)
_METHODS = {"api_key": "an API key", "aws": "AWS credentials"}
_KEY_VARIABLES = {"OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"}


def check_identity(identity: Identity) -> Iterator[Finding]:
    """Report which identity is used and which other settings are ignored."""
    method = _METHODS.get(identity.auth or "", "the identity of the custom transport")
    yield Finding("ok", "identity", f"Requests use {method} from {identity.source}")
    for entry in identity.shadowed:
        name, _, reason = entry.partition(": ")
        summary = f"{name} is set and not used"
        winner = reason.removesuffix(" comes first")
        if winner in {reason, "base_url="}:
            yield Finding("ok", "shadowed", summary, reason)
        else:
            remedy = f"Unset {name} or {winner}"
            if len(_KEY_VARIABLES & {name, winner}) == 1:  # auth= chooses between an API key and AWS credentials only
                remedy += ", or choose: auth='api_key', auth='aws'"
            yield Finding("warning", "shadowed", summary, reason, f"{remedy}.")


def check_key(key: ApiKey, now: datetime, remedy: str = "") -> Iterator[Finding]:
    """Check the kind and the expiry of an API key that has not expired and is for the client's region."""
    if key.kind == "long-term":
        reason = (
            "the default policy of long-term keys does not allow creating files or jobs, and a leaked key stays valid "
            "until you revoke it"
        )
        yield Finding("warning", "key", "The API key is a long-term key", reason, remedy)
    elif key.kind == "opaque":
        reason = "the key does not have the form of Bedrock's own keys"
        yield Finding("unknown", "key", "The kind and the expiry of the API key are not known", reason)
    else:
        yield _short_term_finding(key, now)


def _short_term_finding(key: ApiKey, now: datetime) -> Finding:
    if key.expires_at is None:
        return Finding(
            "unknown", "key", "The expiry of the short-term key is not known", "the key does not have the known form"
        )
    end = f"{key.expires_at:%Y-%m-%d %H:%M} UTC"
    if key.expires_at - now < _SHORT:
        remedy = "Make a new key, or renew keys automatically: Client(api_key=access.api_key_provider())."
        return Finding("warning", "key", f"The short-term key expires at {end}", "jobs take hours", remedy)
    return Finding("ok", "key", f"The API key is a short-term key for {key.region}, valid until {end}")


def check_region(config: Config) -> Finding:
    """Check whether AWS documents reinforcement fine-tuning for the region."""
    region = config.region
    if host_region(config.base_url) is None:
        return Finding("ok", "region", f"Requests are for {region}, at a custom endpoint")
    if region in RFT_REGIONS:
        return Finding("ok", "region", f"Reinforcement fine-tuning is documented for {region}")
    offered = "the endpoint exists there, but jobs are" if region in KNOWN_REGIONS else "neither endpoint nor jobs are"
    summary = f"Reinforcement fine-tuning is not documented for {region}"
    reason = f"{offered} known to be offered; AWS adds regions"
    return Finding("warning", "region", summary, reason, f"Use region='{min(RFT_REGIONS)}'.")


_MAX_SKEW = 60.0  # seconds
_REMEDIES = {
    "dns": "Check {setting}, the region and this machine's DNS; a PrivateLink endpoint needs private DNS.",
    "refused": "Check {setting}, and whether the service or a proxy listens there.",
    "tls": "Check whether a proxy or firewall intercepts the connection.",
    "timeout": "Check firewalls, and whether this network needs a proxy: HTTPS_PROXY.",
}


def _connection_remedy(error: APIConnectionError, config: Config) -> str:
    if error.reason == "certificate":
        text = error.message.lower()
        if "expired" in text or "not yet valid" in text:
            return "Renew the certificate of the server, or correct this machine's clock (NTP)."
        if "mismatch" in text or "not valid for" in text:
            return f"Correct {config.endpoint_setting}, or get a certificate for its host."
        if "rfc 5280" in text:
            return ""  # the message names the ways out
        return "Trust the authority that signed it: ca_bundle='authorities.pem', or AWS_CA_BUNDLE."
    proxy = find_proxy(config.base_url)
    if proxy is not None and error.reason != "tls":
        host = urlsplit(config.base_url).hostname
        return f"Correct or unset {proxy.source}, or add {host} to NO_PROXY, as for a PrivateLink endpoint."
    return _REMEDIES.get(error.reason, "").format(setting=config.endpoint_setting)


async def check_endpoint(transport: Transport, config: Config, models: tuple[str, ...]) -> list[Finding]:
    """Check that the endpoint responds, that the clocks agree, and that it serves the models."""
    request = Request("GET", "/models")
    before = datetime.now(timezone.utc)
    try:
        response = await transport.send(request)
    except APIConnectionError as error:
        summary = f"{config.base_url} does not respond"
        remedy = _connection_remedy(error, config)
        # The remedy is more precise than the advice at the end of the message.
        reason = re.sub(r" Check [^.]* any proxy\.$", "", error.message) if remedy else error.message
        return [Finding("error", "endpoint", summary, reason, remedy)]
    except BedrockRFTError as error:
        return [Finding("error", "endpoint", "The request could not be sent", error.message)]
    clock = check_clock(response.headers, before, datetime.now(timezone.utc))
    responds = Finding("ok", "endpoint", f"{config.base_url} responds")
    if response.ok:
        return [responds, clock, *check_models(response, models)]
    refused = map_status_error(response, request, config)
    if not isinstance(refused, (PermissionDeniedError, AuthenticationError)):
        summary = f"{config.base_url} responds, but not as the service does"
        return [Finding("error", "endpoint", summary, refused.message), clock]
    summary = "The endpoint does not accept this identity"
    if isinstance(refused, PermissionDeniedError):
        summary = "The endpoint accepts this identity, but does not allow it to list models"
    return [responds, clock, Finding("error", "admitted", summary, refused.message)]


def check_clock(headers: Mapping[str, str], before: datetime, after: datetime) -> Finding:
    """Compare this machine's clock with the service's."""
    summary = "The service's time is not known"
    moment = parse_http_date(headers.get("date", ""))
    if moment is None:
        return Finding("unknown", "clock", summary, "the response has no Date header")
    if "age" in headers:
        return Finding("unknown", "clock", summary, "the response comes from a cache")
    # The header has whole seconds, and was written between `before` and `after`.
    ahead, behind = before.timestamp() - (moment + 1), moment - after.timestamp()
    skew = max(ahead, behind)
    if skew < _MAX_SKEW:
        return Finding("ok", "clock", "This machine's clock agrees with the service's")
    summary = f"This machine's clock is {skew:.0f} s {'ahead' if ahead > behind else 'behind'}"
    reason = "signatures and short-term keys are valid for minutes; this client corrects the difference, others may not"
    return Finding("warning", "clock", summary, reason, "Synchronise the clock (NTP).")


def check_models(response: Response, models: tuple[str, ...]) -> Iterator[Finding]:
    """Check that models are served and known to be trainable; without models, list the trainable ones."""
    try:
        served = {str(model["id"]) for model in response.json()["data"]}
    except (ValueError, TypeError, KeyError):
        yield Finding("error", "models", "The list of models cannot be read", "a proxy may have responded")
        return
    trainable = sorted(KNOWN_MODELS & served)
    for name in models:
        if name not in served:
            remedy = f"Known to be trainable here: {', '.join(trainable) or 'none'}."
            yield Finding("error", "models", f"'{name}' is not served here", "", remedy)
        elif name not in KNOWN_MODELS:
            yield Finding("warning", "models", f"'{name}' is served, but not known to be trainable", "AWS adds models")
        else:
            yield Finding("ok", "models", f"'{name}' is served and known to be trainable")
    if not models and trainable:
        number = "1 model is" if len(served) == 1 else f"{len(served)} models are"
        yield Finding("ok", "models", f"{number} served; known to be trainable: {', '.join(trainable)}")
    elif not models:
        summary = "No model that is known to be trainable is served here"
        yield Finding("warning", "models", summary, "", "Check the region, and the project's models.")
