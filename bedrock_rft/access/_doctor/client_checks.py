"""Offline checks of a client: its identity, its API key and its region."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bedrock_rft._auth.api_key import ApiKey
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import KNOWN_REGIONS, RFT_REGIONS, host_region
from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding

__all__ = ["check_identity", "check_key", "check_region"]

_SHORT = timedelta(hours=1)
_METHODS = {"api_key": "an API key", "aws": "AWS credentials"}


def check_identity(identity: Identity) -> Iterator[Finding]:
    """Report which identity is used and which others are ignored."""
    method = _METHODS.get(identity.auth or "", "the identity of the custom transport")
    yield Finding("ok", "identity", f"Requests use {method} from {identity.source}")
    explicit = identity.source.startswith(("api_key=", "credentials=", "profile", "the session", "transport="))
    for entry in identity.shadowed:
        name, _, reason = entry.partition(": ")
        if explicit or "comes first" not in reason:
            yield Finding("ok", "shadowed", f"{name} is set and not used", reason)
        else:
            remedy = f"Unset {name} or {identity.source.partition(' ')[0]}, or choose: auth='api_key', auth='aws'."
            yield Finding("warning", "shadowed", f"{name} is set and not used", reason, remedy)


def check_key(key: ApiKey, now: datetime, remedy: str = "") -> Iterator[Finding]:
    """Check the kind and the expiry of an API key that can be sent: it has not expired, and is for the region."""
    if key.kind == "long-term":
        reason = "the default policy of long-term keys cannot create a file or a job, and a lost key stays valid"
        yield Finding("warning", "key", "The API key is a long-term key", reason, remedy)
    elif key.kind == "opaque":
        reason = "the key does not have the form of Bedrock's own keys"
        yield Finding("unknown", "key", "The kind and the expiry of the API key are not known", reason)
    else:
        yield _short_term_finding(key, now)


def _short_term_finding(key: ApiKey, now: datetime) -> Finding:
    if key.expires_at is None:
        return Finding("unknown", "key", "The expiry of the short-term key is not known", "its form is a new one")
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
