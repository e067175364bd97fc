"""Clients of other AWS services use the client's credentials, refreshed, and the configured endpoints."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from bedrock_rft import ConfigurationError
from bedrock_rft._auth.aws_credentials import credential_chain, wrap_credentials
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._core.redaction import Secret


class Triple(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


class Rotating:
    def __init__(self) -> None:
        self.asked = 0

    def get_frozen_credentials(self) -> Triple:
        self.asked += 1
        return Triple(f"AKIA{self.asked:016d}", "fake-secret", f"fake-token-{self.asked}")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """Run a small Lambda endpoint, and yield the headers of its requests."""
    found: list[dict[str, str]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps({"FunctionName": "reward", "Timeout": 300}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_rotating_credentials_are_frozen_for_each_request(seen: list[dict[str, str]]) -> None:
    client = service_client("lambda", region="us-west-2", credentials=wrap_credentials(Secret(Rotating())))
    for _ in range(2):
        assert client.get_function_configuration(FunctionName="reward")["Timeout"] == 300
    keys = [headers["authorization"].partition("Credential=")[2].partition("/")[0] for headers in seen]
    assert len(set(keys)) == 2
    for key, headers in zip(keys, seen, strict=True):
        assert int(key[4:]) == int(headers["x-amz-security-token"].rpartition("-")[2]), "key and token belong together"


def test_the_credential_chain_is_used(seen: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFROMENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    service_client("lambda", region="eu-west-1", credentials=credential_chain(None)).get_function_configuration(
        FunctionName="x"
    )
    assert "AKIAFROMENVIRONMENT/" in seen[0]["authorization"]
    assert "/eu-west-1/lambda/" in seen[0]["authorization"]


def test_missing_credentials_and_unknown_regions_raise_package_errors() -> None:
    with pytest.raises(ConfigurationError, match="No identity"):
        service_client("lambda", region="us-west-2", credentials=credential_chain(None))
    with pytest.raises(ConfigurationError, match="Could not create a client for AWS lambda"):
        service_client("lambda", region="not a region", credentials=wrap_credentials(Secret(Rotating())))
    with pytest.raises(ConfigurationError, match="Could not create a client for AWS no-such-service"):
        service_client("no-such-service", region="us-west-2", credentials=wrap_credentials(Secret(Rotating())))
