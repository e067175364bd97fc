"""`Client` and `AsyncClient`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import quote

from typing_extensions import Self

from bedrock_rft._auth.api_key import ApiKeyInput
from bedrock_rft._auth.config import config_for_transport, resolve
from bedrock_rft._auth.identity import Auth, Identity
from bedrock_rft._client.workflows import AsyncWorkflows, Workflows
from bedrock_rft._core.redaction import as_secret
from bedrock_rft._resources.base import AsyncResource, Resource, Session, blocking
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft._resources.models import AsyncModels, Models
from bedrock_rft._transport.transport import Query, Request, Response, Transport
from bedrock_rft.errors import ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft.rollouts._latest import LatestRollouts

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


KeyT = TypeVar("KeyT")


class _Settings(Generic[KeyT]):
    """The arguments of both clients."""

    def __init__(
        self,
        region: str | None = None,
        *,
        api_key: KeyT | None = None,
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
        """Resolve settings and identity. Nothing is sent."""
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
        del api_key, credentials, base_url  # tracebacks may show local variables
        self._open(settings, transport)

    def _open(self, settings: Mapping[str, Any], transport: Transport | None) -> None:
        raise NotImplementedError


class AsyncClient(_Settings[ApiKeyInput], AsyncWorkflows):
    """Async client for reinforcement fine-tuning of open-weight models on Amazon Bedrock.

    The arguments are those of `Client`. AWS credentials are resolved at the first request, in a thread.
    """

    def _open(self, settings: Mapping[str, Any], transport: Transport | None, *, blocking: bool = False) -> None:
        AsyncResource.__init__(self, _open_session(settings, transport, blocking=blocking))
        self.files = AsyncFiles(self._session)
        self.jobs = AsyncJobs(self._session)
        self.jobs.latest_rollouts = self._latest_rollouts
        self.models = AsyncModels(self._session)
        self._blocking = blocking

    def _latest_rollouts(self, location: str | os.PathLike[str]) -> LatestRollouts:
        from bedrock_rft.rollouts._latest import LatestRollouts

        return LatestRollouts(location, self)

    @property
    def identity(self) -> Identity:
        """Return endpoint, region and identity, and the setting that each came from, without any secret."""
        config = self._session.config
        return config.identity if config.aws is None else replace(config.identity, source=config.aws.origin)

    async def request(self, method: str, path: str, *, query: Query | None = None, json: Any = None) -> Response:
        """Send a request to any route, with the identity, retries and errors of this client.

        Example: `client.request("GET", "/files", query={"purpose": "fine-tune"})`.

        Args:
            method: GET, POST, PUT, PATCH or DELETE. Only GET and DELETE are retried if the outcome is unclear.
            path: the path after the base URL, such as `/models`. It is percent-encoded.
            query: query parameters; those with the value None are left out.
            json: the body, sent as JSON.

        Raises:
            APIStatusError: the service returned an error status.
            ConfigurationError: the path is invalid.
        """
        verb = method.upper()
        if verb not in _METHODS:
            raise ConfigurationError(f"method must be one of {', '.join(sorted(_METHODS))}.")
        return await self._session.exchange(Request(verb, _quote_path(path), query=query or {}, json=json))

    async def close(self) -> None:
        """Close connections, and drop keys and credentials. A `with` block does this automatically."""
        try:
            await self._session.transport.close()
        finally:
            self._session.config.forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return _describe(self, initialised="_session" in vars(self))


class Client(_Settings[str | Callable[[], str]], Workflows):
    """Reinforcement fine-tuning of open-weight models on Amazon Bedrock.

    ```python
    with Client(region="us-west-2") as client:
        file = client.files.upload("train.jsonl")
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=arn)
        job = client.jobs.wait(job)
    ```

    Args:
        region: the AWS region. Default: the region of a short-term key, of the host in the endpoint, of AWS_REGION, of
            AWS_DEFAULT_REGION, or of the profile.
        api_key: a Bedrock API key, or a function that returns the current key and is called for every attempt.
        profile: name of a profile in the AWS configuration.
        credentials: a botocore `Credentials`, an object with `get_frozen_credentials()`, or a boto3 or botocore
            session.
        auth: `api_key` or `aws`; restricts the search in the environment to one kind of identity.
        base_url: the endpoint, which receives the credentials. Default: OPENAI_BASE_URL if it points to this service or
            this machine, AWS_ENDPOINT_URL_BEDROCK_MANTLE, or the public endpoint of the region.
        project: a Bedrock project, sent in the header `OpenAI-Project`.
        timeout: seconds for one attempt. For file transfers, the timeout limits each read and write instead.
        max_retries: maximum number of retries, if a retry is safe.
        ca_bundle: a file or folder with PEM certificates to trust instead of the default certificates.
        transport: a custom transport, such as the local service's. With a custom transport, no identity is resolved.

    Raises:
        ConfigurationError: there is no region or identity, or arguments contradict each other. Nothing was sent.
    """

    def _open(self, settings: Mapping[str, Any], transport: Transport | None) -> None:
        source = AsyncClient.__new__(AsyncClient)
        source._open(settings, transport, blocking=True)
        Resource.__init__(self, source)
        self.files = Files(source.files)
        self.jobs = Jobs(source.jobs)
        self.models = Models(source.models)

    @property
    def identity(self) -> Identity:
        """Return endpoint, region and identity, and the setting that each came from, without any secret."""
        return cast("Identity", self._async.identity)

    request = blocking(AsyncClient.request)
    close = blocking(AsyncClient.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return _describe(self, initialised="_async" in vars(self))


def _describe(client: AsyncClient | Client, *, initialised: bool) -> str:
    name = type(client).__name__
    if not initialised:
        return f"<{name}, not initialised>"  # shown in tracebacks of invalid settings
    return f"{name}({client.identity.base_url!r}, auth={client.identity.auth!r})"


def _open_session(settings: Mapping[str, Any], transport: Transport | None, *, blocking: bool) -> Session:
    if transport is not None:
        return Session(transport, config_for_transport(transport, **settings))
    config = resolve(**settings)
    if blocking and config.aws is not None:
        config.aws.find()  # raise for a missing identity now, not at the first request
    if config.auth == "api_key":  # a client imports the transport of its identity only
        from bedrock_rft._transport.openai import OpenAITransport

        return Session(OpenAITransport(config, blocking=blocking), config)
    from bedrock_rft._transport.sigv4 import SigV4Transport

    return Session(SigV4Transport(config, blocking=blocking), config)


def _quote_path(path: str) -> str:
    if not path.startswith("/") or path.startswith("//") or re.search(r"[?#\\\x00-\x1f\x7f]", path):
        raise ConfigurationError(
            "path must begin with one slash and contain no query, fragment, backslash or control character."
        )
    if {".", ".."} & set(path.split("/")):
        raise ConfigurationError("path must not contain the segments '.' and '..'.")
    return quote(path, safe="/-_.~%")
