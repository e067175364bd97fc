"""botocore clients for the services of an AWS account, with the credentials of a client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bedrock_rft._auth.aws_credentials import AwsCredentials, chain
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_loopback

__all__ = ["AwsServices"]


class AwsServices:
    """Clients of AWS services. For a client with an API key, they use the credentials that botocore finds.

    Args:
        config: settings of the client.
        regions: region by service. Default: the client's own.
        timeout: seconds for one call.
        retries: number of retries of a call.
    """

    def __init__(self, config: Config, regions: Mapping[str, str], *, timeout: float, retries: int) -> None:
        self._config, self._regions, self._timeout, self._retries = config, regions, timeout, retries
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self.credentials: AwsCredentials = config.aws or chain(None)
        if config.aws is None:
            self.credentials.none_found = (
                "There are no AWS credentials, and IAM, STS and Lambda take no Bedrock API key. Run 'aws configure' or "
                "'aws sso login', or make the client with profile=… or credentials=…."
            )

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
        """Return the host of a service of AWS, if the client itself uses a local service; otherwise an empty text."""
        base = self._config.base_url
        if not base.startswith("local:") and not is_loopback(urlsplit(base).hostname or ""):
            return ""
        host = urlsplit(str(self.client(service).meta.endpoint_url)).hostname or ""
        return "" if is_loopback(host) else host

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
