"""Create OpenAI SDK clients on an HTTP client that authenticates every request."""

from __future__ import annotations

from typing import Any

import openai

from bedrock_rft._auth.config import Config

__all__ = ["create_openai_client"]

_PLACEHOLDER = "set-for-every-attempt"


def create_openai_client(
    config: Config, http_client: Any, *, max_retries: int, blocking: bool, for_inference: bool = False
) -> Any:
    """Return an OpenAI client on an HTTP client that authenticates every request.

    One `for_inference` is what users get as `client.openai`: it has the SDK's own timeout, and closing it leaves the
    shared connections open.
    """
    client: Any = (openai.OpenAI if blocking else openai.AsyncOpenAI)(
        api_key=_PLACEHOLDER,
        base_url=config.base_url,
        max_retries=max_retries,
        http_client=http_client,
        timeout=openai.DEFAULT_TIMEOUT if for_inference else config.timeout,
    )
    # The SDK reads these from variables that are meant for OpenAI's own service. The auth removes them from requests;
    # here they are removed from the object.
    client.organization, client.project = None, config.project
    client.webhook_secret = None
    client._custom_headers = {}
    if hasattr(client, "admin_api_key"):
        client.admin_api_key = None
    if for_inference:
        # The transport owns the connections: `with client.openai as …` must not close them.
        client.close = _keep_open if blocking else _keep_open_async
    return client


def _keep_open() -> None:
    pass


async def _keep_open_async() -> None:
    pass
