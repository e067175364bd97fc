"""The identity and endpoint of a client, for display. It contains no secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bedrock_rft._core.text import ShortRepr

Auth = Literal["api_key", "aws"]


@dataclass(frozen=True)
class Identity(ShortRepr):
    """The settings that a client uses, and the settings that were found but not used.

    Attributes:
        auth: `api_key` or `aws`, or None if a transport was passed in.
        source: the source of the key or the credentials.
        base_url: the endpoint.
        base_url_source: the setting that the endpoint came from.
        region: the region that requests are signed for.
        region_source: the setting that the region came from.
        key_kind: for an API key, `short-term`, `long-term` or `opaque`.
        expires_at: when a short-term key expires.
        project: the Bedrock project, or None for the default one.
        shadowed: settings that were found but not used, each with the reason.
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
        """Return a few lines for a terminal."""
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
