"""Proxies, certificate authorities, event loops and HTTP libraries."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme
from botocore.credentials import Credentials
from support.fault_client import Caller
from support.fault_server import Faults

from bedrock_rft import APIConnectionError, APITimeoutError, AsyncClient, Client, ConfigurationError, SigV4Auth
from bedrock_rft._auth.aws_credentials import AwsCredentials
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._transport.http_library import http_library, library_of
from bedrock_rft._transport.proxy import find_proxy
from bedrock_rft.local import LocalService

MODES: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": "key-1"},
    "aws": {"credentials": Credentials("AKIDEXAMPLE", "secret-1", "token-1")},
}
modes = pytest.mark.parametrize("mode", MODES)
V6 = "https://[2001:db8::7]:8443/v1"
HOST = "https://bedrock-mantle.us-west-2.api.aws/v1"
REACHED = {400, 404, 415, 422}
"""Statuses of a request whose signature was accepted."""
OURS = trustme.CA(organization_name="Ours")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def models(client: Any) -> Any:
    return client.models.list()


class TestProxies:
    @pytest.mark.parametrize(
        ("address", "entry"),
        [
            (V6, "2001:db8::7"), (V6, "[2001:db8::7]"), (V6, "[2001:db8::7]:8443"), (V6, "2001:db8::/32"),
            (V6, "[2001:db8::]/32"), (V6, "2001:0DB8:0:0::7"), (V6, "localhost, ::1 , 2001:db8::7"), (V6, "*"),
            ("https://10.1.2.3/v1", "10.0.0.0/8"), ("https://10.1.2.3/v1", "10.1.2.3:443"),
            (HOST, "api.aws"), (HOST, ".api.aws"), (HOST, "*.api.aws"), (HOST, "bedrock-mantle.us-west-2.api.aws:443"),
            (HOST, "API.AWS"), (HOST, "https://bedrock-mantle.us-west-2.api.aws"),
        ],
    )  # fmt: skip
    def test_no_proxy_entries_bypass_the_proxy(self, monkeypatch: pytest.MonkeyPatch, address: str, entry: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        assert find_proxy(address) is not None
        monkeypatch.setenv("NO_PROXY", entry)
        assert find_proxy(address) is None

    @pytest.mark.parametrize(
        ("address", "entry"),
        [
            (V6, "2001:db8::8"), (V6, "[2001:db8::7]:443"), (V6, "2001:db9::/32"), (V6, "::1"), (V6, "[nonsense"),
            ("https://10.1.2.3/v1", "10.2.0.0/16"), ("https://10.1.2.3/v1", "10.1.2.3:80"),
            (HOST, "i.aws"), (HOST, "api.aws.example"), (HOST, "api.aws:80"), (HOST, ""), (HOST, ","), (HOST, "."),
            (HOST, "10.0.0.0/8"), (HOST, "::/0"),
        ],
    )  # fmt: skip
    def test_unrelated_no_proxy_entries_keep_the_proxy(
        self, monkeypatch: pytest.MonkeyPatch, address: str, entry: str
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", entry)
        assert find_proxy(address) is not None

    @modes
    def test_a_client_accepts_ipv6_entries_in_no_proxy(self, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        for entry in ("::1", "[::1]", "fd00::/8", "[fd00::]/8", "2001:db8::7,[::1]:443"):
            monkeypatch.setenv("NO_PROXY", entry)
            Client("us-west-2", **MODES[mode]).close()

    def test_a_lower_case_variable_without_a_scheme_sets_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("all_proxy", "u:pw@proxy.example:3128")
        proxy = find_proxy(HOST)
        assert proxy is not None
        assert (proxy.address, proxy.source, proxy.problem) == ("proxy.example:3128", "all_proxy", None)
        assert "pw" not in repr(proxy)

    @pytest.mark.parametrize("client_kind", ["sync", "async"])
    @modes
    def test_a_proxy_that_refuses_the_connection_is_named_in_the_error(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, client_kind: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        error = self._failure(monkeypatch, mode, client_kind, f"http://jo:hidden@127.0.0.1:{port}")
        assert error.reason == "refused"
        assert not error.sent
        assert f"the proxy 127.0.0.1:{port} (HTTPS_PROXY) refused the connection" in str(error)
        assert "NO_PROXY" in str(error)

    @pytest.mark.parametrize("client_kind", ["sync", "async"])
    @modes
    def test_a_proxy_without_an_address_is_named_in_the_error(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, client_kind: str
    ) -> None:
        error = self._failure(monkeypatch, mode, client_kind, "http://jo:hidden@proxy.invalid:3128")
        assert error.reason == "dns"
        assert "the proxy proxy.invalid:3128 (HTTPS_PROXY) has no address" in str(error)

    @pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
    @modes
    def test_a_proxy_that_opens_no_tunnel_is_named_in_the_error(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, status: str
    ) -> None:
        with _proxy(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
            error = self._failure(monkeypatch, mode, "sync", f"http://jo:hidden@127.0.0.1:{port}")
        assert error.reason == "proxy"
        assert f"the proxy 127.0.0.1:{port} (HTTPS_PROXY) did not open a connection to bedrock-mantle" in str(error)
        assert status[:3] in str(error)

    @modes
    def test_a_proxy_that_does_not_answer_is_named_in_the_error(
        self, monkeypatch: pytest.MonkeyPatch, mode: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            error = self._failure(monkeypatch, mode, "sync", f"http://127.0.0.1:{port}")
        assert isinstance(error, APITimeoutError)

    def _failure(self, monkeypatch: pytest.MonkeyPatch, mode: str, client_kind: str, proxy: str) -> APIConnectionError:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        kind: Any = Client if client_kind == "sync" else AsyncClient
        client = kind("us-west-2", max_retries=0, timeout=1.0, **MODES[mode])

        async def ask_async() -> None:
            async with client:
                await client.models.retrieve("m")

        def ask() -> None:
            with client:
                client.models.retrieve("m")

        with pytest.raises(APIConnectionError) as raised:
            ask() if client_kind == "sync" else asyncio.run(ask_async())
        assert "hidden" not in str(raised.value)
        return raised.value

    @pytest.mark.parametrize(
        "proxy",
        [
            "http://jo:1234/x@127.0.0.1:9", "http://jo:hidden#x@127.0.0.1:9", "http://jo:hidden@127.0.0.1:99999",
            "http://jo:hidden[@127.0.0.1:9", "socks4://jo:hidden@127.0.0.1:9", "http:/jo:hidden@127.0.0.1:9",
            "http://jo:hidden@ 127.0.0.1:9", "http://jo:hidden@127.0.0.1:9:9", "http://", "http://jo:hidden\x01@127.0.0.1:9",
            "http://jo:hid\tden@127.0.0.1:9", f"http://jo:hidden@{'a' * 64}.example:9", "http://jo:hidden@a..example:9",
        ],
    )  # fmt: skip
    @modes
    def test_the_error_for_an_unusable_proxy_hides_its_password(
        self, monkeypatch: pytest.MonkeyPatch, mode: str, proxy: str
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(ConfigurationError, match="The proxy in HTTPS_PROXY cannot be used") as raised:
            Client("us-west-2", **MODES[mode])
        shown = "".join(traceback.format_exception(raised.value))
        assert not [secret for secret in ("hidden", "1234", "hid\tden") if secret in shown]


@contextlib.contextmanager
def _proxy(response: bytes) -> Generator[int, None, None]:
    """Run a proxy with one response to every request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(65536)
                        peer.sendall(response)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


class TestAuthorities:
    def _server(self, certificate: trustme.LeafCert) -> Faults:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # its signature includes pyOpenSSL contexts
        return Faults(tls=context)

    @pytest.mark.parametrize("name", ["ours.pem", "ours.crt", "ours", "0a1b2c3d.0"])
    @modes
    def test_ca_bundle_can_be_a_directory(self, tmp_path: Path, mode: str, name: str) -> None:
        (tmp_path / "README").write_text("hello")
        (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        (tmp_path / "folder").mkdir()
        OURS.cert_pem.write_to_path(str(tmp_path / name))
        with self._server(OURS.issue_cert("127.0.0.1")) as server:
            for client_kind in ("sync", "async"):
                assert Caller(server, mode, client_kind)(models, ca_bundle=tmp_path)

    def test_other_aws_services_accept_a_ca_directory(self, tmp_path: Path) -> None:
        OURS.cert_pem.write_to_path(str(tmp_path / "ours.crt"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        OURS.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                peer, _ = listener.accept()
                with context.wrap_socket(peer, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

            thread = threading.Thread(target=serve)
            thread.start()
            credentials = AwsCredentials(lambda: MODES["aws"]["credentials"], "credentials=")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"https://127.0.0.1:{listener.getsockname()[1]}")
                client = service_client(
                    "lambda", region="us-west-2", credentials=credentials, ca_bundle=str(tmp_path), retries=0
                )
                assert client.list_functions()["ResponseMetadata"]["HTTPStatusCode"] == 200
            client.close()
            thread.join(5)

    @pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3, 0), reason="needs OpenSSL 3")
    @modes
    def test_a_certificate_without_a_key_identifier_is_accepted_in_strict_mode(
        self, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python sets this flag since 3.13."""
        create = ssl.create_default_context

        def create_strict(*args: Any, **options: Any) -> ssl.SSLContext:
            context = create(*args, **options)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            return context

        monkeypatch.setattr(ssl, "create_default_context", create_strict)
        authority, context = _without_key_identifiers(tmp_path)
        with Faults(tls=context) as server:
            error = Caller(server, mode, "sync").fails(APIConnectionError, models, ca_bundle=authority)
        assert (error.reason, error.sent, error.attempts) == ("certificate", False, 1)
        for part in ("RFC 5280", "3.13", "Key Identifier", "ca_bundle="):
            assert part in str(error)


def _without_key_identifiers(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Create an authority and a certificate without the Authority Key Identifier, as many proxies do."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(timezone.utc)

    def build(subject: str, issuer: str, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = (
        build("Proxy", "Proxy", authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        build("server", "Proxy", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "authority.pem", context


class TestEventLoops:
    @modes
    def test_an_async_client_works_in_successive_event_loops(self, mode: str) -> None:
        with Faults() as server, warnings.catch_warnings():
            warnings.simplefilter("error")
            client = AsyncClient(**self._options(server, mode))
            for _ in range(3):
                assert asyncio.run(self._ids(client))
            asyncio.run(client.close())
            gc.collect()  # an open socket would cause a warning here
            assert server.connections == 3  # every loop used a new connection

    @modes
    def test_the_async_openai_client_works_in_successive_event_loops(self, mode: str) -> None:
        async def ask() -> None:
            await client.openai.get("/models", cast_to=object)

        with Faults() as server:
            client = AsyncClient(**self._options(server, mode))
            asyncio.run(ask())
            asyncio.run(self._ids(client))
            asyncio.run(ask())
            asyncio.run(client.close())

    @modes
    def test_a_client_works_after_its_event_loop_was_closed_without_clean_up(self, mode: str) -> None:
        with Faults() as server, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the sockets of that loop cannot be closed in it
            client = AsyncClient(**self._options(server, mode))
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(self._ids(client))
            loop.close()
            assert asyncio.run(self._ids(client))
            asyncio.run(client.close())
            gc.collect()

    @modes
    def test_use_in_a_second_event_loop_is_refused_while_the_first_is_open(self, mode: str) -> None:
        with Faults() as server:
            client = AsyncClient(**self._options(server, mode))
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(self._ids(client))
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(self._ids(client))
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(client.close())
            loop.run_until_complete(client.close())
            loop.close()

    @modes
    def test_a_closed_client_stays_closed_in_another_event_loop(self, mode: str) -> None:
        with Faults() as server:
            client = AsyncClient(**self._options(server, mode))
            asyncio.run(self._ids(client))
            asyncio.run(client.close())
            with pytest.raises(ConfigurationError, match="is closed"):
                asyncio.run(self._ids(client))

    def _options(self, server: Faults, mode: str) -> dict[str, Any]:
        return {"region": "us-west-2", "base_url": server.base_url, "max_retries": 0, **MODES[mode]}

    async def _ids(self, client: AsyncClient) -> list[str]:
        return [model.id async for model in client.models.list()]


class TestLibraries:
    def test_the_http_library_is_the_one_of_the_openai_sdk(self) -> None:
        library = http_library()
        assert issubclass(openai.DefaultHttpxClient, library.Client)
        assert library_of(openai.DefaultAsyncHttpxClient) is library

    def test_the_http_library_is_found_without_importing_the_openai_sdk(self) -> None:
        code = (
            "import sys; from bedrock_rft._transport.http_library import http_library; name = http_library().__name__;"
            "assert 'openai' not in sys.modules; import openai;"
            "assert openai.DefaultHttpxClient.__mro__[1].__module__.partition('.')[0] == name"
        )
        subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603

    @modes
    def test_a_process_imports_only_one_http_library(self, mode: str) -> None:
        other = "httpx" if http_library().__name__ == "httpx2" else "httpx2"
        argument = "api_key='k'" if mode == "api_key" else "auth='aws'"
        code = (
            f"import os, sys; os.environ.update(AWS_ACCESS_KEY_ID='A', AWS_SECRET_ACCESS_KEY='s'); import bedrock_rft;"
            f"client = bedrock_rft.Client('us-west-2', {argument}); client.openai;"
            f"assert {other!r} not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603

    @pytest.mark.parametrize("name", ["httpx", "httpx2"])
    def test_sigv4auth_signs_for_httpx_and_httpx2(self, name: str) -> None:
        library = pytest.importorskip(name)

        def grade(event: Any, _: Any) -> Any:
            return [{"id": rollout["id"], "aggregate_reward_score": 1.0} for rollout in event]

        def once() -> Iterator[bytes]:
            yield b'{"model": "m", '
            yield b'"messages": []}'

        async def once_async() -> AsyncIterator[bytes]:
            for chunk in once():
                yield chunk

        async def ask_async() -> list[int]:
            async with library.AsyncClient(base_url=auth.base_url, auth=auth) as http:
                responses = [await http.get("/models"), await http.post("/chat/completions", content=once_async())]
            return [response.status_code for response in responses]

        with LocalService(reward=grade) as service:
            options = service.client_options(auth="aws")
            auth = SigV4Auth(options["region"], credentials=options["credentials"], base_url=options["base_url"])
            with library.Client(base_url=auth.base_url, auth=auth) as http:
                assert http.get("/models").status_code == 200
                assert http.post("/chat/completions", content=once()).status_code in REACHED
                with pytest.raises(ConfigurationError, match="Refusing to sign"):
                    http.get("http://localhost:9/v1/models")
            first, second = asyncio.run(ask_async())
            assert first == 200
            assert second in REACHED
