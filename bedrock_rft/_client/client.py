"""The door: one client, in two colours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

from typing_extensions import Self

from bedrock_rft._auth.api_key import ApiKeyInput
from bedrock_rft._auth.config import carried, resolve
from bedrock_rft._auth.identity import Auth, Identity
from bedrock_rft._client.workflows import AsyncWings, Wings
from bedrock_rft._core.redaction import as_secret
from bedrock_rft._resources.base import AsyncResource, Session, blocking
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft._resources.models import AsyncModels, Models
from bedrock_rft._transport.connect import create_transport
from bedrock_rft._transport.transport import Query, Request, Response, Transport
from bedrock_rft.errors import ConfigurationError

__all__ = ["AsyncClient", "Client"]

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class AsyncClient(AsyncWings):
    """Reinforcement fine-tuning of open-weight models on Amazon Bedrock, with `await`.

    The settings are those of `Client`. AWS credentials are looked for at the first call, away from the event loop.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        api_key: ApiKeyInput | None = None,
        profile: str | None = None,
        credentials: object | None = None,
        auth: Auth | None = None,
        base_url: str | None = None,
        project: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        ca_bundle: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Decide who and where; nothing is sent. Raises `ConfigurationError`."""
        settings = {
            "region": region,
            "api_key": as_secret(api_key),
            "profile": profile,
            "credentials": as_secret(credentials),
            "auth": auth,
            "base_url": as_secret(base_url),
            "project": project,
            "timeout": timeout,
            "max_retries": max_retries,
            "ca_bundle": ca_bundle,
        }
        del api_key, credentials, base_url  # a traceback may show the variables of this frame
        super().__init__(_open(settings, transport, blocking=False))
        self._furnish(blocking=False)

    @classmethod
    def _over(cls, session: Session) -> Self:
        """The source of a blocking client."""
        client = cls.__new__(cls)
        AsyncResource.__init__(client, session)
        client._furnish(blocking=True)
        return client

    def _furnish(self, *, blocking: bool) -> None:
        self.files = AsyncFiles(self._session)
        self.jobs = AsyncJobs(self._session)
        self.models = AsyncModels(self._session)
        self._set_up(blocking=blocking)

    @property
    def identity(self) -> Identity:
        """Who and where: endpoint, region, mode, which setting won and what it beat. No secret is in it."""
        config = self._session.config
        return config.identity if config.aws is None else replace(config.identity, source=config.aws.origin)

    async def request(self, method: str, path: str, *, query: Query | None = None, json: Any = None) -> Response:
        """Any route of the service, raw, with this client's identity, retries and errors.

        `client.request("GET", "/files", query={"purpose": "fine-tune"})` is what curl would send, signed.

        Args:
            method: GET, POST, PUT, PATCH or DELETE. Only GET and DELETE are sent again after an unclear outcome.
            path: from the base URL on, such as `/models`. What has to be escaped is.
            query: parameters; None leaves one out.
            json: a body to send as JSON.

        Raises:
            APIStatusError: the service said no.
            ConfigurationError: it is no path of this service.
        """
        verb = method.upper()
        if verb not in _METHODS:
            raise ConfigurationError(f"method must be one of {', '.join(sorted(_METHODS))}.")
        return await self._session.exchange(Request(verb, _route(path), query=query or {}, json=json))

    async def close(self) -> None:
        """Close the connections, and let go of keys and credentials. A client in a `with` block does it by itself."""
        try:
            await self._session.transport.close()
        finally:
            self._session.config.forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return _shown(self, "_session")


class Client(Wings):
    """Reinforcement fine-tuning of open-weight models on Amazon Bedrock.

    ```python
    with Client(region="us-west-2") as client:
        file = client.files.upload("train.jsonl")
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=arn)
        job = client.jobs.wait(job)
    ```

    Args:
        region: the AWS region. Else a short-term key's own, the endpoint's host, AWS_REGION, AWS_DEFAULT_REGION, the
            profile's.
        api_key: a Bedrock API key, or a function that gives the current one, asked for every attempt.
        profile: a profile of the AWS configuration.
        credentials: a botocore `Credentials`, anything with `get_frozen_credentials()`, or a boto3 or botocore session.
        auth: `api_key` or `aws`, to say which of the two the environment is searched for.
        base_url: the endpoint. Else OPENAI_BASE_URL where it points at this service or at this machine,
            AWS_ENDPOINT_URL_BEDROCK_MANTLE, or the region's public endpoint. Whoever runs it gets the credentials.
        project: a Bedrock project, for the header `OpenAI-Project`.
        timeout: seconds an attempt may take. For files it limits each read and write instead.
        max_retries: how many times a call is sent again where that is safe.
        ca_bundle: a PEM file of certificate authorities to trust instead of the usual ones.
        transport: something else to send calls with, such as the service in a box. No identity is looked for then.

    Raises:
        ConfigurationError: there is no region or no identity, or arguments contradict each other. Nothing was sent.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        api_key: str | Callable[[], str] | None = None,
        profile: str | None = None,
        credentials: object | None = None,
        auth: Auth | None = None,
        base_url: str | None = None,
        project: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        ca_bundle: str | os.PathLike[str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Decide who and where; nothing is sent. Raises `ConfigurationError`."""
        settings = {
            "region": region,
            "api_key": as_secret(api_key),
            "profile": profile,
            "credentials": as_secret(credentials),
            "auth": auth,
            "base_url": as_secret(base_url),
            "project": project,
            "timeout": timeout,
            "max_retries": max_retries,
            "ca_bundle": ca_bundle,
        }
        del api_key, credentials, base_url  # a traceback may show the variables of this frame
        source = AsyncClient._over(_open(settings, transport, blocking=True))
        super().__init__(source)
        self.files = Files(source.files)
        self.jobs = Jobs(source.jobs)
        self.models = Models(source.models)

    @property
    def identity(self) -> Identity:
        """Who and where: endpoint, region, mode, which setting won and what it beat. No secret is in it."""
        return cast("Identity", self._async.identity)

    request = blocking(AsyncClient.request)
    close = blocking(AsyncClient.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return _shown(self, "_async")


def _shown(client: AsyncClient | Client, last: str) -> str:
    name = type(client).__name__
    if last not in vars(client):
        return f"<{name}, not made>"  # a traceback shows it where its settings are refused
    return f"{name}({client.identity.base_url!r}, auth={client.identity.auth!r})"


def _open(settings: Mapping[str, Any], transport: Transport | None, *, blocking: bool) -> Session:
    if transport is not None:
        return Session(transport, carried(transport, **settings))
    config = resolve(**settings)
    if blocking and config.aws is not None:
        config.aws.find()  # a missing identity is an error here, not at the first call
    return Session(create_transport(config, blocking=blocking), config)


def _route(path: str) -> str:
    if not path.startswith("/") or path.startswith("//") or re.search(r"[?#\\\x00-\x1f\x7f]", path):
        raise ConfigurationError(
            "path must begin with one slash and hold no query, fragment, backslash or control character."
        )
    if {".", ".."} & set(path.split("/")):
        raise ConfigurationError("path must not hold dot segments.")
    return quote(path, safe="/-_.~%")
