"""Who a client is and where it speaks, for people to read. No secret is in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["Auth", "Identity"]

Auth = Literal["api_key", "aws"]


@dataclass(frozen=True)
class Identity:
    """Which settings won, and what they beat.

    Attributes:
        auth: `api_key` or `aws`; `None` for a transport that was passed in.
        source: where the key or the credentials come from.
        base_url: the endpoint.
        base_url_source: which setting said so.
        region: the region that is signed for.
        region_source: which setting said so.
        key_kind: for an API key, `short-term`, `long-term` or `opaque`.
        expires_at: for a short-term key, when it ends.
        project: the project that requests name, or None for the default one.
        shadowed: settings that were found and not used, each with the reason.
    """

    auth: Auth | None
    source: str
    base_url: str
    base_url_source: str
    region: str
    region_source: str
    key_kind: str | None = None
    expires_at: datetime | None = None
    project: str | None = None
    shadowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A few lines for a terminal."""
        kind = "" if self.key_kind in {None, "opaque"} else f"{self.key_kind} "
        mode = {"api_key": f"{kind}API key", "aws": "AWS credentials, SigV4"}.get(self.auth or "", "none")
        lines = [
            f"endpoint  {self.base_url}  (from {self.base_url_source})",
            f"region    {self.region}  (from {self.region_source})",
            f"identity  {mode}  (from {self.source})",
        ]
        if self.expires_at is not None:
            lines.append(f"expires   {self.expires_at:%Y-%m-%d %H:%M} UTC")
        if self.project is not None:
            lines.append(f"project   {self.project}")
        lines += [f"not used  {entry}" for entry in self.shadowed]
        return "\n".join(lines)
