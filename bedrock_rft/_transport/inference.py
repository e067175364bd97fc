"""OpenAI's own client over an HTTP client of ours, which authenticates by itself."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import openai

from bedrock_rft._auth.config import Config

__all__ = ["http_library", "inference"]

_PLACEHOLDER = "set-for-every-attempt"


def http_library() -> ModuleType:
    """The HTTP library that the installed OpenAI SDK stands on: httpx for version 2, httpx2 for version 3."""
    client = next(kind for kind in openai.DefaultHttpxClient.__mro__ if kind.__name__ == "Client")
    return importlib.import_module(client.__module__.partition(".")[0])


def inference(config: Config, http: Any, *, max_retries: int, blocking: bool, patient: bool = False) -> Any:
    """An OpenAI client over an HTTP client that authenticates by itself.

    Args:
        config: the endpoint and the project.
        http: an HTTP client of either library whose auth sets the key, or signs, and drops foreign headers.
        max_retries: OpenAI's own retries.
        blocking: `OpenAI` or `AsyncOpenAI`.
        patient: use OpenAI's own time limit, which is made for inference.
    """
    client: Any = (openai.OpenAI if blocking else openai.AsyncOpenAI)(
        api_key=_PLACEHOLDER,
        base_url=config.base_url,
        max_retries=max_retries,
        http_client=http,
        timeout=openai.DEFAULT_TIMEOUT if patient else config.timeout,
    )
    # Read from the environment, and another company's: the auth drops them from requests, this from the object.
    client.organization, client.project = None, config.project
    client.webhook_secret = None
    client._custom_headers = {}
    if hasattr(client, "admin_api_key"):
        client.admin_api_key = None
    if patient:
        # Its connections are the carrier's, and closed with that: `with client.openai as …` must not take them along.
        client.close = _keep_open if blocking else _keep_open_async
    return client


def _keep_open() -> None:
    pass


async def _keep_open_async() -> None:
    pass
