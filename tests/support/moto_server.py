"""IAM, Lambda and STS on loopback: moto's server, for botocore's real clients over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bedrock_rft._auth.aws_credentials import chain
from support.quick_aws import shared_client

ACCOUNT = "123456789012"
REGION = "us-west-2"
SERVICES = ("lambda", "iam", "sts")


@dataclass(frozen=True)
class Aws:
    """An AWS that is empty at the start of every test."""

    url: str
    account: str = ACCOUNT
    region: str = REGION

    def client(self, service: str) -> Any:
        """Return a botocore client, created by the package."""
        return shared_client(service, region=self.region, credentials=chain(None))


@pytest.fixture(scope="session")
def moto_server(quick_moto: None) -> Iterator[str]:  # noqa: ARG001 - used for its effect
    """Yield the address of a server that all tests of this process share."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_server: str, shared_clients: None, monkeypatch: pytest.MonkeyPatch) -> Aws:  # noqa: ARG001 - see above
    """Set up an empty AWS in the environment of botocore and this package."""
    with urllib.request.urlopen(urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")):  # noqa: S310 - http
        pass
    for service in SERVICES:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", moto_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE000000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake9Secret8Access7Key+/6Zm9v5YmFy4YmF63")
    monkeypatch.setenv("AWS_REGION", REGION)
    return Aws(moto_server)
