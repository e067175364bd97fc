"""botocore clients for other AWS services, such as Lambda, IAM and STS, with the credentials of a client."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from bedrock_rft._auth.aws_credentials import AwsCredentials, credential_chain, profile_region
from bedrock_rft._auth.aws_failures import read_aws_failure, redact_botocore_logs
from bedrock_rft._auth.ca_bundle import ca_file
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_local_service, is_loopback
from bedrock_rft.errors import ConfigurationError


def service_client(
    service: str,
    *,
    region: str,
    credentials: AwsCredentials,
    ca_bundle: str | None = None,
    timeout: float = 60.0,
    retries: int = 3,
    signs: bool = True,
) -> Any:
    """Return a botocore client of a service. `timeout` is in seconds and limits the wait for a response.

    If `signs` is False, no credentials are needed, and the client can send nothing that AWS accepts.
    """
    # botocore finds the endpoint, so settings of the profile and variables such as `AWS_ENDPOINT_URL_LAMBDA` apply.
    from botocore.config import Config as Settings
    from botocore.credentials import Credentials
    from botocore.exceptions import BotoCoreError

    redact_botocore_logs()
    credentials_object = credentials.find() if signs else Credentials("none", "none")
    if signs:
        credentials.freeze()  # raises, without their values, if a header cannot hold them
    try:
        with credentials.session() as session:
            # The public setter takes strings, which cannot be refreshed.
            session._credentials = _with_botocore_interface(credentials_object)
            session.register_component("data_loader", _description_loader(session.get_config_variable("data_path")))
            client = session.create_client(
                service,
                region_name=region,
                verify=ca_file(ca_bundle) if ca_bundle else None,
                config=Settings(
                    read_timeout=timeout,
                    connect_timeout=min(timeout, 10.0),
                    retries={"total_max_attempts": retries + 1, "mode": "standard"},
                    tcp_keepalive=True,  # an invocation may take 15 minutes, and gateways drop idle connections
                    user_agent_extra="bedrock_rft",
                ),
            )
            session._credentials = None
    except (BotoCoreError, ValueError) as error:
        why = read_aws_failure(error).message
    else:
        return client
    # Raised outside the handler, because botocore's exception may quote the URL of a proxy with its password.
    raise ConfigurationError(f"Could not create a client for AWS {service} in {region}: {why}.")


def service_client_for(owner: Any, service: str, *, region: str | None = None, timeout: float, retries: int = 3) -> Any:
    """Return a botocore client of a service, with the AWS credentials and the region of `owner` if it is a client."""
    config = _config_of(owner)
    if region is None:
        region = config.region if config is not None else os.environ.get("AWS_REGION") or profile_region(None, None)
    return service_client(
        service,
        region=region or "us-east-1",
        credentials=_credentials_of(config, _NO_CREDENTIALS.get(service)),
        ca_bundle=config.ca_bundle if config is not None else None,
        timeout=timeout,
        retries=retries,
    )


def real_host(owner: Any, service: str, region: str) -> str:
    """Return the host of a service of AWS, if `owner`, a client or its settings, uses a local service; otherwise "".

    Without a client, the environment decides.
    """
    config = owner if isinstance(owner, Config) else _config_of(owner)
    base_url = config.base_url if config is not None else os.environ.get("AWS_ENDPOINT_URL_BEDROCK_MANTLE", "")
    if not is_local_service(base_url):
        return ""
    client = service_client(service, region=region, credentials=_credentials_of(config), signs=False)
    host = urlsplit(str(client.meta.endpoint_url)).hostname or ""
    client.close()
    return "" if is_loopback(host) else host


def _config_of(owner: Any) -> Config | None:
    config: Config | None = getattr(getattr(getattr(owner, "_async", owner), "_session", None), "config", None)
    return config


_NO_CREDENTIALS = {
    "lambda": "Invoking the reward needs AWS credentials, and there are none; Lambda takes no Bedrock API key.",
    "s3": "Reading from S3 needs AWS credentials, and there are none; S3 takes no Bedrock API key.",
}


def _credentials_of(config: Config | None, reason: str | None = None) -> AwsCredentials:
    """Return the AWS credentials of a client, or those of botocore's chain if it has an API key."""
    if config is not None and config.aws is not None:
        return config.aws
    credentials = credential_chain(None)
    credentials.none_found = (
        f"{reason or 'There are no AWS credentials, and IAM, STS and Lambda take no Bedrock API key.'} Run 'aws "
        "configure' or 'aws sso login', or make the client with profile=… or credentials=…."
    )
    return credentials


@cache
def _description_loader(path: str | None) -> Any:
    """Return a loader of service descriptions. It is shared, because reading them takes longer than all else."""
    from botocore import loaders

    return cast("Any", loaders).create_loader(path)


def _with_botocore_interface(credentials: Any) -> Any:
    """Return credentials with the interface that botocore expects."""
    if all(hasattr(credentials, name) for name in ("access_key", "secret_key", "token")):
        return credentials

    from botocore.credentials import Credentials

    class Delegating(Credentials):  # type: ignore[misc] # botocore ships no annotations
        """Read from the source for every request, so that rotated credentials are used."""

        def __init__(self) -> None:
            self.method = "explicit"
            self.account_id = None

        def get_frozen_credentials(self) -> Any:
            return credentials.get_frozen_credentials()

    return Delegating()


class AwsServices:
    """Clients of AWS services, with the client's region or, for some services, a region in `regions`.

    If the client has an API key, the credentials come from botocore's chain.
    """

    def __init__(self, config: Config, regions: Mapping[str, str], *, timeout: float, retries: int) -> None:
        self._config, self._regions, self._timeout, self._retries = config, regions, timeout, retries
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._hosts: dict[str, str] = {}
        self.credentials: AwsCredentials = _credentials_of(config)

    def client(self, service: str) -> Any:
        """Return botocore's client of a service. Raises `ConfigurationError` if there are no credentials."""
        with self._lock:  # threads may share botocore's clients but not create them concurrently
            if service not in self._clients:
                self._clients[service] = service_client(
                    service,
                    region=self._regions.get(service, self._config.region),
                    credentials=self.credentials,
                    ca_bundle=self._config.ca_bundle,
                    timeout=self._timeout,
                    retries=self._retries,
                )
            return self._clients[service]

    def real_host(self, service: str) -> str:
        """Return the host of a service of AWS if the client itself uses a local service, else an empty string."""
        with self._lock:
            if service not in self._hosts:
                region = self._regions.get(service, self._config.region)
                self._hosts[service] = real_host(self._config, service, region)
            return self._hosts[service]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
