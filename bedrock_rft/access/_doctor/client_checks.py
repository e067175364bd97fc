"""What can be told of a client offline: which identity won, what its key is good for, and where it speaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bedrock_rft._auth.api_key import ApiKey
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import KNOWN_REGIONS, RFT_REGIONS, host_region
from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding

__all__ = ["about_key", "identity", "region"]

_SHORT = timedelta(hours=1)


def identity(found: Identity) -> Iterator[Finding]:
    """Which identity won, and what it beats."""
    mode = {"api_key": "an API key", "aws": "AWS credentials"}.get(found.auth or "", "what its transport brings")
    yield Finding("ok", "identity", f"Calls are made with {mode}, from {found.source}")
    chosen = found.source.startswith(("api_key=", "credentials=", "profile", "the session", "transport="))
    for entry in found.shadowed:
        name, _, why = entry.partition(": ")
        if chosen or "comes first" not in why:
            yield Finding("ok", "shadowed", f"{name} is set and not used", why)
        else:
            mend = f"Unset {name} or {found.source.partition(' ')[0]}, or say which: auth='api_key', auth='aws'."
            yield Finding("warning", "shadowed", f"{name} is set and not used", why, mend)


def about_key(key: ApiKey, region: str, now: datetime) -> Iterator[Finding]:
    """What an API key says about itself."""
    if key.kind == "long-term":
        yield Finding(
            "warning",
            "key",
            "The API key is a long-term one",
            "the policy that such keys get by default cannot create a file or a job, and the key stays valid if lost",
            "Give its user the policy of `python -m bedrock_rft.access policy caller --api-key`",
        )
    if key.kind == "opaque":
        yield Finding("unknown", "key", "The API key does not say what kind it is, or when it ends", "only keys in "
                      "Bedrock's own form do")  # fmt: skip
    if key.kind != "short-term":
        return
    if key.expires_at is None:
        yield Finding("unknown", "key", "The short-term key does not say when it ends", "its form is a new one")
        return
    ends, left = f"{key.expires_at:%Y-%m-%d %H:%M} UTC", key.expires_at - now
    mend = "Make one in time, or let a function do it: Client(api_key=access.api_key_provider())."
    if left <= timedelta(0):
        yield Finding("error", "key", f"The short-term key expired at {ends}", "", mend)
    elif left < _SHORT:
        yield Finding("warning", "key", f"The short-term key ends at {ends}", "jobs take hours", mend)
    else:
        yield Finding("ok", "key", f"The API key is a short-term one, for {key.region}, until {ends}")
    if key.region != region:
        yield Finding("error", "key_region", f"The key works in {key.region}, and the client is set to {region}", "",
                      f"Make a key for {region}, or use region='{key.region}'.")  # fmt: skip


def region(config: Config) -> Finding:
    """Whether reinforcement fine-tuning is known to be offered there."""
    name = config.region
    if host_region(config.base_url) is None:
        return Finding("ok", "region", f"Calls are for {name}, at an endpoint of your own")
    if name in RFT_REGIONS:
        return Finding("ok", "region", f"Reinforcement fine-tuning is documented for {name}")
    known = "the endpoint is there, but jobs are" if name in KNOWN_REGIONS else "neither the endpoint nor jobs are"
    return Finding(
        "warning",
        "region",
        f"Reinforcement fine-tuning is not documented for {name}",
        f"{known} known to be offered; AWS adds regions",
        f"Use region='{min(RFT_REGIONS)}'.",
    )
