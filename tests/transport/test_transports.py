"""Content, destination and limits of requests and responses, with both identities, sync and async."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from botocore.credentials import Credentials

from bedrock_rft import (
    APIResponseError,
    APITimeoutError,
    AsyncClient,
    AuthenticationError,
    Client,
    ConfigurationError,
)
from bedrock_rft._transport.http_client import tls_context
from bedrock_rft._transport.http_library import http_library

CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
}  # fmt: skip
Answer = Callable[["Peer", BaseHTTPRequestHandler], None]


@dataclass
class Peer:
    """A server that records requests and sends scripted responses."""

    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    paths: list[str] = field(default_factory=list[str])
    bodies: list[bytes] = field(default_factory=list[bytes])
    answer: Answer | None = None

    def reply(self, handler: BaseHTTPRequestHandler, status: int = 200, body: Any = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body if body is not None else {"id": "m"}).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            found.paths.append(self.path)
            if found.answer is not None:
                found.answer(found, self)
            else:
                found.reply(self, body=COMPLETION if "chat" in self.path else None)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore disconnected clients, which some tests cause."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


MODES: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": "key-1"},
    "aws": {"credentials": Credentials("AKIDEXAMPLE", "secret-1", "token-1")},
}
row = pytest.mark.row
modes = pytest.mark.parametrize("mode", MODES)


def client(peer: Peer, mode: str, **options: Any) -> Client:
    return Client("us-west-2", base_url=peer.url, **{**MODES[mode], **options})


@row("A12")
@modes
def test_settings_for_other_services_are_not_sent(peer: Peer, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_ORG_ID": "org-foreign", "OPENAI_PROJECT_ID": "proj_foreign", "OPENAI_ADMIN_KEY": "sk-foreign",
        "OPENAI_API_KEY": "sk-foreign", "OPENAI_CUSTOM_HEADERS": "X-Foreign: 1\nAuthorization: Bearer foreign",
        "OPENAI_WEBHOOK_SECRET": "foreign", "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9",
        "AWS_BEARER_TOKEN_BEDROCK": "foreign",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with client(peer, mode) as rft:
        rft.models.retrieve("m")
        rft.files.upload(b"{}", validate=False)
        rft.openai.chat.completions.create(**CHAT)
        rft.openai.with_options(timeout=5).chat.completions.create(**CHAT)

        async def asked() -> None:
            async with AsyncClient("us-west-2", base_url=peer.url, **MODES[mode]) as other:
                await other.models.retrieve("m")
                await other.openai.chat.completions.create(**CHAT)

        asyncio.run(asked())
    assert len(peer.headers) == 6
    for headers in peer.headers:
        assert "foreign" not in str(headers).lower()
        assert headers["user-agent"].startswith("bedrock-rft/")
        expected = "Bearer key-1" if mode == "api_key" else "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"
        assert headers["authorization"].startswith(expected)
        assert not {"openai-organization", "openai-project", "x-foreign", "cookie"} & headers.keys()


@modes
def test_only_an_explicit_project_is_sent(peer: Peer, mode: str) -> None:
    with client(peer, mode, project="proj_mine") as rft:
        rft.models.retrieve("m")
        rft.openai.chat.completions.create(**CHAT)
    assert [headers["openai-project"] for headers in peer.headers] == ["proj_mine", "proj_mine"]
    if mode == "aws":
        assert all("openai-project" in headers["authorization"] for headers in peer.headers)


@modes
def test_cookies_are_not_kept(peer: Peer, mode: str) -> None:
    peer.answer = lambda found, handler: found.reply(handler, Set_Cookie="a=b; Path=/")
    with client(peer, mode) as rft:
        rft.models.retrieve("m")
        rft.models.retrieve("m")
    assert all("cookie" not in headers for headers in peer.headers)


@row("A15")
@modes
def test_netrc_credentials_are_not_used(peer: Peer, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login foreign password foreign\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with client(peer, mode) as rft:
        rft.models.retrieve("m")
    assert "Basic" not in peer.headers[0]["authorization"]


@modes
def test_the_openai_client_refuses_other_origins(peer: Peer, mode: str) -> None:
    with client(peer, mode) as rft, pytest.raises((ConfigurationError, openai.APIConnectionError)) as refused:
        rft.openai.get("http://localhost:9/v1/models", cast_to=object)
    error = refused.value if isinstance(refused.value, ConfigurationError) else refused.value.__cause__
    assert "Refusing to" in str(error)
    assert peer.headers == []


@modes
def test_paths_and_queries_are_encoded(peer: Peer, mode: str) -> None:
    with client(peer, mode) as rft:
        rft.models.retrieve("a/b?c#d e'(ü)%2F")
        rft.request("GET", "/models", query={"q": "1+1 =2&3?", "é": True, "n": None, "f": 1.5})
    assert peer.paths == [
        "/v1/models/a%2Fb%3Fc%23d%20e%27%28%C3%BC%29%252F",
        "/v1/models?q=1%2B1%20%3D2%263%3F&%C3%A9=true&f=1.5",
    ]


class TestKeys:
    def test_a_key_function_is_called_for_every_request(self, peer: Peer) -> None:
        keys = iter(f"key-{number}" for number in range(9))
        with Client("us-west-2", base_url=peer.url, api_key=lambda: next(keys)) as rft:
            rft.models.retrieve("m")
            rft.openai.chat.completions.create(**CHAT)
        assert [headers["authorization"] for headers in peer.headers] == ["Bearer key-0", "Bearer key-1"]

    def test_a_refused_key_is_replaced_once(self, peer: Peer) -> None:
        def answer(found: Peer, handler: BaseHTTPRequestHandler) -> None:
            fresh = handler.headers["Authorization"] == "Bearer key-1"
            refusal = {"error": {"code": "invalid_api_key", "message": "Invalid bearer token"}}
            found.reply(handler, 200 if fresh else 401, None if fresh else refusal)

        peer.answer = answer
        keys = iter(["key-0", "key-1", "key-2", "key-2"])
        with Client("us-west-2", base_url=peer.url, api_key=lambda: next(keys)) as rft:
            assert rft.models.retrieve("m").id == "m"
            with pytest.raises(AuthenticationError, match="Invalid bearer token"):
                rft.models.retrieve("m")
        assert len(peer.headers) == 3

    def test_async_key_functions_work_in_async_clients_only(self, peer: Peer) -> None:
        async def key() -> str:
            return "key-async"

        async def asked() -> None:
            async with AsyncClient("us-west-2", base_url=peer.url, api_key=key) as rft:
                await rft.models.retrieve("m")
            async with AsyncClient("us-west-2", base_url=peer.url, api_key=lambda: "key-plain") as rft:
                await rft.models.retrieve("m")

        asyncio.run(asked())
        assert [headers["authorization"] for headers in peer.headers] == ["Bearer key-async", "Bearer key-plain"]
        wrong: Any = key
        with (
            Client("us-west-2", base_url=peer.url, api_key=wrong) as rft,
            pytest.raises(ConfigurationError, match="async"),
        ):
            rft.models.retrieve("m")

    def test_the_result_of_a_key_function_is_checked(self, peer: Peer) -> None:
        def asked(given: Any) -> None:
            with Client("us-west-2", base_url=peer.url, api_key=lambda: given) as rft:
                rft.models.retrieve("m")

        for odd in ("", "two words", None):
            with pytest.raises(ConfigurationError, match="api_key"):
                asked(odd)
        assert peer.headers == []


class TestBounds:
    @modes
    def test_a_response_larger_than_16_mib_raises(self, peer: Peer, mode: str) -> None:
        peer.answer = lambda found, handler: found.reply(handler, body=b" " * (17 << 20))
        with client(peer, mode) as rft, pytest.raises(APIResponseError, match="larger than 16 MiB"):
            rft.models.retrieve("m")

    @modes
    def test_a_response_that_arrives_byte_by_byte_times_out(self, peer: Peer, mode: str) -> None:
        def drip(_: Peer, handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            for _number in range(100):
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.02)

        peer.answer = drip
        with client(peer, mode, timeout=0.3, max_retries=0) as rft, pytest.raises(APITimeoutError, match="within 0"):
            rft.models.retrieve("m")

    @modes
    def test_compressed_responses_are_refused(self, peer: Peer, mode: str) -> None:
        packed = gzip.compress(b'{"id": "packed"}')
        peer.answer = lambda found, handler: found.reply(handler, body=packed, Content_Encoding="gzip")
        with client(peer, mode) as rft, pytest.raises(APIResponseError, match="compressed"):
            rft.models.retrieve("m")
        assert peer.headers[0]["accept-encoding"] == "identity"

    @modes
    def test_a_large_file_is_written_to_disk(self, peer: Peer, mode: str, tmp_path: Path) -> None:
        content = b"x" * (20 << 20)
        peer.answer = lambda found, handler: found.reply(handler, body=content)
        with client(peer, mode) as rft:
            rft.files.content("f", to=tmp_path / "large")
        assert (tmp_path / "large").read_bytes() == content


@modes
def test_values_without_a_json_form_are_refused_before_sending(peer: Peer, mode: str) -> None:
    with client(peer, mode) as rft:
        for odd in ({"a": float("nan")}, {"a": object()}, {"a": "\ud800"}):
            with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
                rft.request("POST", "/chat/completions", json=odd)
    assert peer.headers == []


@modes
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_sends_its_body(peer: Peer, mode: str, method: str) -> None:
    with client(peer, mode) as rft:
        assert rft.request(method, "/x", json={"ü": 1}).status == 200
    assert json.loads(peer.bodies[0]) == {"ü": 1}
    assert peer.headers[0]["content-type"] == "application/json"


@modes
def test_a_second_client_shares_the_tls_context_but_not_the_transport(mode: str) -> None:
    with Client("us-west-2", **MODES[mode]) as first, Client("us-west-2", **MODES[mode]) as second:
        assert first._async._session.transport is not second._async._session.transport
    assert tls_context(None) is tls_context(None)


def test_the_http_library_provides_the_openai_sdks_base_classes() -> None:
    library = http_library()
    assert issubclass(openai.DefaultHttpxClient, library.Client)
    assert issubclass(openai.DefaultAsyncHttpxClient, library.AsyncClient)


@modes
def test_a_list_with_a_stuck_cursor_ends(peer: Peer, mode: str) -> None:
    stuck = {"data": [{"id": "e1"}, {"message": "without an id"}], "has_more": True}
    peer.answer = lambda found, handler: found.reply(handler, body=stuck)
    with client(peer, mode) as rft:
        assert [event.id for event in rft.jobs.events("j")] == ["e1", "", ""]
    assert len(peer.paths) == 2


@modes
def test_an_empty_response_to_a_deletion_is_accepted(peer: Peer, mode: str) -> None:
    peer.answer = lambda found, handler: found.reply(handler, status=204, body=b"")
    with client(peer, mode) as rft:
        assert rft.files.delete("file-1").id == "file-1"


@modes
def test_only_training_data_is_validated(peer: Peer, mode: str) -> None:
    with client(peer, mode) as rft:
        assert rft.files.upload(b"{}", purpose="batch").id == "m"


@modes
def test_a_closed_client_raises(peer: Peer, mode: str) -> None:
    rft = client(peer, mode)
    rft.close()
    with pytest.raises(ConfigurationError, match="is closed"):
        rft.models.retrieve("m")
    assert peer.paths == []


@modes
def test_a_slow_upload_does_not_time_out(peer: Peer, mode: str) -> None:
    def progress(sent: int, total: int) -> None:
        assert sent <= total
        time.sleep(0.4)

    with client(peer, mode, timeout=0.6) as rft:
        assert rft.files.upload(b"x" * (3 << 20), validate=False, progress=progress).id == "m"
    assert len(peer.paths) == 1


@modes
def test_an_exception_of_a_callback_is_raised_unchanged(peer: Peer, mode: str) -> None:
    def progress(sent: int, total: int) -> None:
        raise LookupError(f"{sent} of {total}")

    with client(peer, mode) as rft, pytest.raises(LookupError, match="0 of 2"):
        rft.files.upload(b"{}", validate=False, progress=progress)
    assert len(peer.paths) <= 1


def test_an_exception_of_a_key_function_is_raised_unchanged(peer: Peer) -> None:
    asked: list[int] = []

    def sealed() -> str:
        asked.append(1)
        raise PermissionError("the vault is sealed")

    arn = "arn:aws:lambda:us-west-2:123456789012:function:r"
    with Client("us-west-2", base_url=peer.url, api_key=sealed) as rft, pytest.raises(PermissionError, match="sealed"):
        rft.jobs.create("openai.gpt-oss-20b", training_file="f", reward=arn)
    assert len(asked) == 1
    assert peer.paths == []


@modes
def test_closing_the_openai_client_leaves_the_client_open(peer: Peer, mode: str) -> None:
    with client(peer, mode) as rft:
        with rft.openai as lent:
            lent.chat.completions.create(**CHAT)
        assert rft.models.retrieve("m").id == "m"

        async def asked() -> None:
            async with AsyncClient("us-west-2", base_url=peer.url, **MODES[mode]) as other:
                async with other.openai as borrowed:
                    await borrowed.chat.completions.create(**CHAT)
                assert (await other.models.retrieve("m")).id == "m"

        asyncio.run(asked())


@row("A12")
@modes
def test_custom_headers_of_the_environment_are_not_sent(peer: Peer, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Host: evil.example\nContent-Type: text/x\nX-Gone: 1\nX-Odd: é")
    with client(peer, mode) as rft:
        lent = rft.openai
        monkeypatch.delenv("OPENAI_CUSTOM_HEADERS")
        rft.request("POST", "/x", json={})
        lent.chat.completions.create(**CHAT)
    for headers in peer.headers:
        assert headers["host"] in peer.url
        assert headers["content-type"] == "application/json"
        assert not {"x-gone", "x-odd"} & headers.keys()


@pytest.mark.parametrize("proxy", ["ftp://u:hidden@127.0.0.1:1", "http://127.0.0.1:port"])
@modes
def test_an_invalid_proxy_is_refused_with_its_variable(mode: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as refused:
        Client("us-west-2", **MODES[mode])
    assert "hidden" not in str(refused.value)


@modes
def test_a_ca_bundle_without_certificates_is_refused(mode: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("hello")
    with pytest.raises(ConfigurationError, match="no PEM certificates"):
        Client("us-west-2", ca_bundle=tmp_path / "bad.pem", **MODES[mode])
    with pytest.raises(ConfigurationError, match="no PEM certificates"):
        Client("us-west-2", ca_bundle=tmp_path, **MODES[mode])
