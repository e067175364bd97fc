"""Choose the transport for an identity, and import no other."""

from __future__ import annotations

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.transport import Transport

__all__ = ["create_transport"]


def create_transport(config: Config, *, blocking: bool) -> Transport:
    """Return the transport for the identity in `config`: the OpenAI SDK for API keys, SigV4 for AWS credentials."""
    if config.auth == "api_key":
        from bedrock_rft._transport.openai import OpenAITransport

        return OpenAITransport(config, blocking=blocking)
    from bedrock_rft._transport.sigv4 import SigV4Transport

    return SigV4Transport(config, blocking=blocking)
