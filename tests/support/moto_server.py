"""IAM, Lambda, STS and other services on loopback: moto behind a server, for botocore's real clients over HTTP."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bedrock_rft._auth.aws_credentials import credential_chain
from support.quick_aws import shared_client

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

EXAMPLES = Path(__file__).parents[2] / "examples"
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
        return shared_client(service, region=self.region, credentials=credential_chain(None))


def signed_for(environ: dict[str, Any]) -> str:
    """Return the service in the signature of a request."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    return authorization.partition("/aws4_request")[0].rpartition("/")[2]


class Connection(socketserver.StreamRequestHandler):
    """Answer requests of one connection until the client closes it. werkzeug's server closes it after each request."""

    disable_nagle_algorithm = True
    server: MotoServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := self.rfile.readline():
                self._respond(*line.decode("latin-1").split()[:2])

    def _respond(self, method: str, target: str) -> None:
        environ = self._environ(method, target)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ["wsgi.input"] = io.BytesIO(self._read_body(environ))
        status, headers, content = self._answer(environ)
        if method == "HEAD":
            content = b""
        elif not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("content-length", str(len(content)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.wfile.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + content)

    def _answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        answered: list[Any] = []
        try:
            content = b"".join(self.server.application(environ, lambda *begin: answered.extend(begin)))
        except Exception:  # noqa: BLE001 - the test sees it as the response
            return "500 Error", [("content-type", "text/plain")], traceback.format_exc().encode()
        return answered[0], answered[1], content

    def _environ(self, method: str, target: str) -> dict[str, Any]:
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
        }
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            key = name.upper().replace("-", "_")
            environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value.strip()
        return environ

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        if environ.get("HTTP_TRANSFER_ENCODING") != "chunked":
            return self.rfile.read(int(environ.get("CONTENT_LENGTH", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content


class MotoServer(socketserver.ThreadingTCPServer):
    """Server for moto, or for an application in front of it that a fixture sets as `application`.

    `emulation` is moto that executes functions.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        name = "aws_here"
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.emulation = module.Emulation()
        self.moto: Application = self.emulation.moto
        self.application: Application = self.moto

    def empty(self) -> None:
        """Delete everything in moto, and remove an application in front of it."""
        from moto.moto_api._internal.models import moto_api_backend

        moto_api_backend.reset()
        self.application = self.moto


@pytest.fixture(scope="session")
def moto_server(quick_moto: None) -> Iterator[MotoServer]:  # noqa: ARG001 - used for its effect
    """Yield the server that all tests of this process share."""
    with MotoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.emulation.close()


@pytest.fixture
def aws(moto_server: MotoServer, shared_clients: None, monkeypatch: pytest.MonkeyPatch) -> Aws:  # noqa: ARG001 - see above
    """Set up an empty AWS in the environment of botocore and this package."""
    moto_server.empty()
    for service in SERVICES:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", moto_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE000000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake9Secret8Access7Key+/6Zm9v5YmFy4YmF63")
    monkeypatch.setenv("AWS_REGION", REGION)
    return Aws(moto_server.url)
