"""What the endpoint says when it is asked once: that it is there, what time it is, and which models it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from bedrock_rft._auth.config import Config
from bedrock_rft._core.findings import Finding
from bedrock_rft._transport.status_errors import map_status_error
from bedrock_rft._transport.transport import Request, Response, Transport
from bedrock_rft.errors import APIConnectionError, AuthenticationError, BedrockRFTError, PermissionDeniedError
from bedrock_rft.types.models import KNOWN_MODELS

__all__ = ["clock", "endpoint", "models"]

_SKEWED = timedelta(seconds=60)
_MENDS = {
    "dns": "Check base_url and the region, or this machine's DNS; a PrivateLink endpoint needs private DNS.",
    "refused": "Check base_url, and whether the service or a proxy listens there.",
    "certificate": "Trust the authority that signed it: ca_bundle='authorities.pem', or AWS_CA_BUNDLE.",
    "tls": "Check whether a proxy or firewall takes part in the connection.",
    "timeout": "Check firewalls and proxies: HTTPS_PROXY, and NO_PROXY for a PrivateLink endpoint.",
    "proxy": "Check HTTPS_PROXY.",
}


async def endpoint(transport: Transport, config: Config, wanted: tuple[str, ...]) -> list[Finding]:
    """Whether the endpoint resolves and answers, what the time is there, and which models it serves."""
    call = Request("GET", "/models")
    before = datetime.now(timezone.utc)
    try:
        reply = await transport.send(call)
    except APIConnectionError as lost:
        mend = _MENDS.get(lost.reason, "")
        return [Finding("error", "endpoint", f"{config.base_url} does not answer", lost.message, mend)]
    except BedrockRFTError as error:
        return [Finding("error", "endpoint", "No request could be made", error.message)]
    found = [clock(reply.headers, before, datetime.now(timezone.utc))]
    answers = Finding("ok", "endpoint", f"{config.base_url} answers")
    if reply.ok:
        return [answers, *found, *models(reply, wanted)]
    refused = map_status_error(reply, call, config)
    if isinstance(refused, PermissionDeniedError):
        found.append(Finding("error", "admitted", "The endpoint knows this identity, and does not let it list models",
                             refused.message))  # fmt: skip
    elif isinstance(refused, AuthenticationError):
        found.append(Finding("error", "admitted", "The endpoint does not accept this identity", refused.message))
    else:
        what = f"{config.base_url} answers, but not as the service does"
        answers = Finding("error", "endpoint", what, refused.message)
    return [answers, *found]


def clock(headers: Mapping[str, str], before: datetime, after: datetime) -> Finding:
    """How far this machine's clock is from the service's."""
    try:
        there = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return Finding("unknown", "clock", "The endpoint does not say what time it is", "its answer has no Date")
    if there.tzinfo is None or "age" in headers:
        return Finding("unknown", "clock", "The endpoint does not say what time it is", "its answer comes from a cache")
    # It says whole seconds, and said so while the request was under way.
    ahead, behind = before - (there + timedelta(seconds=1)), there - after
    off = max(ahead, behind)
    if off < _SKEWED:
        return Finding("ok", "clock", "This machine's clock agrees with the service's")
    return Finding(
        "warning",
        "clock",
        f"This machine's clock is {off.total_seconds():.0f} s {'ahead' if ahead > behind else 'behind'}",
        "signatures and short-term keys are good for minutes around the true time; this client corrects itself, other "
        "tools may not",
        "Synchronise it (NTP).",
    )


def models(reply: Response, wanted: tuple[str, ...]) -> Iterator[Finding]:
    """Whether the models that are to be trained are served, and known to be trainable."""
    try:
        served = {str(each["id"]) for each in reply.json()["data"]}
    except (ValueError, TypeError, KeyError):
        yield Finding("error", "models", "The list of models cannot be read", "a proxy may have answered")
        return
    for name in wanted:
        if name not in served:
            mend = f"Those known to be trainable: {', '.join(sorted(KNOWN_MODELS & served)) or 'none here'}."
            yield Finding("error", "models", f"'{name}' is not served here", "", mend)
        elif name not in KNOWN_MODELS:
            yield Finding("warning", "models", f"'{name}' is served, but not known to be trainable", "AWS adds models")
        else:
            yield Finding("ok", "models", f"'{name}' is served, and known to be trainable")
    if not wanted:
        known = sorted(KNOWN_MODELS & served)
        if known:
            yield Finding("ok", "models", f"{len(served)} models are served; known to be trainable: {', '.join(known)}")
        else:
            yield Finding("warning", "models", "No model that is known to be trainable is served here", "",
                          "Check the region, and the project's models.")  # fmt: skip
