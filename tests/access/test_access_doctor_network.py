"""Tests that carry out the advice of the doctor on the endpoint: certificates, names, ports, proxies and time-outs."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Generator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.doctor_setup import find_one
from support.fault_server import Faults

from bedrock_rft import Client
from bedrock_rft._core.findings import Finding
from bedrock_rft._transport import retry
from bedrock_rft.access import doctor

HOST = "service.test"
OURS = trustme.CA(organization_name="Ours")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def peer(*hosts: str, **validity: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    OURS.issue_cert(*hosts, **validity).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.01)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    """Write the certificate of the authority."""
    path = tmp_path / "authorities.pem"
    OURS.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def named_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names under `.test` lead to this machine, as a DNS server would."""
    look_up = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **named: Any) -> Any:
        here = str(host).endswith(".test")
        return look_up("127.0.0.1" if here else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def endpoint(base_url: str, **settings: Any) -> Finding:
    with Client("us-west-2", api_key="some-key", base_url=base_url, max_retries=0, **settings) as client:
        return find_one(doctor(client), "endpoint")


@contextlib.contextmanager
def tunnels(port: int) -> Generator[str]:
    """Run a proxy that opens a tunnel to a port of this machine, whatever host is named."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pump(one: socket.socket, other: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
                other.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, socket.create_connection(("127.0.0.1", port)) as upstream:
                        assert peer.recv(65536).startswith(b"CONNECT ")
                        peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        back = threading.Thread(target=pump, args=(upstream, peer))
                        back.start()
                        pump(peer, upstream)
                        back.join()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("setting", ["ca_bundle", "AWS_CA_BUNDLE"])
def test_an_authority_that_is_trusted_removes_the_finding(
    setting: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Faults(tls=peer("127.0.0.1")) as server:
        found = endpoint(server.base_url)
        assert (found.level, found.remedy) == (
            "error",
            "Trust the authority that signed it: ca_bundle='authorities.pem', or AWS_CA_BUNDLE.",
        )
        if setting == "ca_bundle":
            assert endpoint(server.base_url, ca_bundle=bundle).level == "ok"
        else:
            monkeypatch.setenv(setting, bundle)
            assert endpoint(server.base_url).level == "ok"


@pytest.mark.usefixtures("named_here")
def test_another_certificate_removes_the_finding(bundle: str) -> None:
    expired = peer("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=9))
    with Faults(tls=expired) as server:
        found = endpoint(server.base_url, ca_bundle=bundle)
        assert found.remedy == "Renew the certificate of the server, or correct this machine's clock (NTP)."
        server.tls = peer(HOST)
        found = endpoint(server.base_url, ca_bundle=bundle)
        assert found.remedy == "Correct base_url, or get a certificate for its host."
        assert endpoint(f"https://{HOST}:{server.port}/v1", ca_bundle=bundle).level == "ok"
        server.tls = peer("127.0.0.1")
        assert endpoint(server.base_url, ca_bundle=bundle).level == "ok"


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (None, "Check whether a proxy or firewall intercepts the connection."),
        ("silent", "Check firewalls, and whether this network needs a proxy: HTTPS_PROXY."),
    ],
    ids=["plain text", "silence"],
)
def test_a_direct_connection_removes_the_finding(fault: str | None, remedy: str, bundle: str) -> None:
    with Faults(tls=fault) as server:
        url = f"https://127.0.0.1:{server.port}/v1"
        found = endpoint(url, ca_bundle=bundle, timeout=0.5)
        assert (found.level, found.remedy) == ("error", remedy)
        server.tls = peer("127.0.0.1")
        assert endpoint(url, ca_bundle=bundle).level == "ok"


def test_a_correct_address_removes_the_finding() -> None:
    with Faults(up=False) as server:
        found = endpoint(f"http://127.0.0.1:{server.port}/v1")
        assert (found.level, found.remedy) == (
            "error",
            "Check base_url, and whether the service or a proxy listens there.",
        )
        server.start_listening()
        assert endpoint(server.base_url).level == "ok"
        found = endpoint(f"https://nowhere.invalid:{server.port}/v1")
        assert found.level == "error"
        assert found.remedy.startswith("Check base_url, the region and this machine's DNS")


@pytest.mark.usefixtures("named_here")
def test_a_name_that_dns_knows_removes_the_finding(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(tls=peer(HOST)) as server:
        url = f"https://{HOST}:{server.port}/v1"
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", _unknown)
            assert "this machine's DNS" in endpoint(url, ca_bundle=bundle).remedy
        assert endpoint(url, ca_bundle=bundle).level == "ok"


def _unknown(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.usefixtures("named_here")
@pytest.mark.parametrize("fault", ["refuses", "has no address", "opens no tunnel"])
def test_advice_on_a_proxy_removes_the_finding(fault: str, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faults(tls=peer(HOST)) as server, Faults() as other, tunnels(server.port) as proxy:
        url = f"https://{HOST}:{server.port}/v1"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        wrong = {"refuses": closed, "has no address": "http://proxy.invalid:3128"}
        monkeypatch.setenv("HTTPS_PROXY", wrong.get(fault, other.base_url.removesuffix("/v1")))
        found = endpoint(url, ca_bundle=bundle)
        assert (found.level, found.remedy) == (
            "error",
            f"Correct or unset HTTPS_PROXY, or add {HOST} to NO_PROXY, as for a PrivateLink endpoint.",
        )
        with monkeypatch.context() as patch:
            patch.setenv("NO_PROXY", HOST)
            assert endpoint(url, ca_bundle=bundle).level == "ok"
        with monkeypatch.context() as patch:
            patch.setenv("HTTPS_PROXY", proxy)
            assert endpoint(url, ca_bundle=bundle).level == "ok"
        monkeypatch.delenv("HTTPS_PROXY")
        assert endpoint(url, ca_bundle=bundle).level == "ok"
