"""From settings to a transport: the only place that imports a carrier, and only the one that was chosen."""

from __future__ import annotations

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.transport import Transport

__all__ = ["connect"]


def connect(config: Config, *, blocking: bool) -> Transport:
    """The carrier for an identity, in the colour that is asked for."""
    if config.auth == "api_key":
        from bedrock_rft._transport.openai import OpenAITransport

        return OpenAITransport(config, blocking=blocking)
    from bedrock_rft._transport.sigv4 import SigV4Transport

    return SigV4Transport(config, blocking=blocking)
