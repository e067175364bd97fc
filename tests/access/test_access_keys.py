"""Tests of short-term keys: offline creation, expiry and renewal, and no secret in any output."""

from __future__ import annotations

import base64
import hmac
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from support.fake_secrets import ACCESS_KEY, SECRET, TOKEN, find_leaks, find_secrets
from support.fault_client import Gate
from support.fault_server import Faults, Request

from bedrock_rft import AsyncClient, Client, ConfigurationError
from bedrock_rft._auth import api_key
from bedrock_rft._auth.api_key import parse_key as read
from bedrock_rft._cli.app import run as main
from bedrock_rft._core.redaction import Secret
from bedrock_rft.access import MintedKey, _keys, api_key_provider, mint_api_key
from bedrock_rft.errors import AuthenticationError, MissingExtraError
from bedrock_rft.local._http.signature import Credential, verify_short_term_key

WEST = "us-west-2"


def minted(**settings: Any) -> MintedKey:
    return mint_api_key(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN), **settings)


def fields(key: str) -> dict[str, str]:
    text = base64.b64decode(key.removeprefix("bedrock-api-key-")).decode()
    return {name: values[0] for name, values in parse_qs(text.partition("?")[2]).items()}


def test_a_key_is_a_signature_that_the_service_can_verify() -> None:
    key = minted(expires_in=timedelta(hours=1))
    found = fields(key.reveal())
    scope = found["X-Amz-Credential"].partition("/")[2]
    assert found["Action"] == "CallWithBearerToken"
    assert found["X-Amz-Credential"] == f"{ACCESS_KEY}/{found['X-Amz-Date'][:8]}/{WEST}/bedrock/aws4_request"
    assert found["X-Amz-Expires"] == "3600"
    assert found["X-Amz-Security-Token"] == TOKEN
    signature = found.pop("X-Amz-Signature")
    assert found.pop("Version") == "1"
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(found.items()))
    nothing = sha256(b"").hexdigest()
    asked = f"POST\n/\n{query}\nhost:bedrock.amazonaws.com\n\nhost\n{nothing}"
    signed = "\n".join(["AWS4-HMAC-SHA256", found["X-Amz-Date"], scope, sha256(asked.encode()).hexdigest()])
    secret = f"AWS4{SECRET}".encode()
    for part in [*scope.split("/"), signed]:
        secret = hmac.digest(secret, part.encode(), "sha256")
    assert secret.hex() == signature


def test_a_minted_key_has_a_region_and_an_expiry() -> None:
    key = minted(expires_in=900)
    about = read(key.reveal())
    assert (about.kind, about.region, about.expires_at) == ("short-term", WEST, key.expires_at)
    assert key.region == WEST
    left = (key.expires_at - datetime.now(timezone.utc)).total_seconds()
    assert 890 < left <= 900
    assert repr(key) == f"MintedKey('****', us-west-2, until {key.expires_at:%Y-%m-%d %H:%M} UTC)"


def test_a_key_and_its_provider_show_no_secret() -> None:
    key = minted()
    middle = key.reveal()[400:430]
    assert find_secrets(key.reveal(), [middle]), "the search would find it"
    assert find_leaks(key, [middle]) == []
    provider = api_key_provider(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN))
    assert provider().startswith("bedrock-api-key-")
    assert find_leaks(provider, [provider()[400:430]]) == []


def test_a_key_ends_with_its_session() -> None:
    soon = datetime.now(timezone.utc) + timedelta(minutes=40)
    session = RefreshableCredentials(
        ACCESS_KEY, SECRET, TOKEN, expiry_time=soon, refresh_using=dict[str, str], method="test"
    )
    assert mint_api_key(WEST, credentials=session).expires_at == soon
    assert mint_api_key(WEST, credentials=session, expires_in=60).expires_at < soon


@pytest.mark.parametrize(
    "lives", [0, -1, 0.5, 43_201, float("nan"), float("inf"), True, "1h", None, timedelta(hours=13), timedelta(0)]
)
def test_an_invalid_lifetime_is_refused(lives: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 second to 12 hours"):
        minted(expires_in=lives)


def test_an_ended_session_makes_no_key() -> None:
    ended = Credentials(ACCESS_KEY, SECRET, TOKEN)
    vars(ended)["_expiry_time"] = datetime.now(timezone.utc) - timedelta(minutes=1)
    with pytest.raises(ConfigurationError, match=r"The session .* ended at .* UTC, and a key ends with it\. Sign in"):
        mint_api_key(WEST, credentials=ended)
    with pytest.raises(ConfigurationError, match="Sign in again"):
        api_key_provider(WEST, credentials=ended)()


def test_no_key_without_credentials_or_region(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="No identity"):
        mint_api_key(WEST)
    with pytest.raises(ConfigurationError, match="No region"):
        mint_api_key(credentials=Credentials(ACCESS_KEY, SECRET))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    # An API key in the environment has no part in this.
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", minted().reveal())
    assert mint_api_key(credentials=Credentials(ACCESS_KEY, SECRET)).region == "eu-west-1"


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_bedrock_token_generator", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bedrock_rft\[keys\]'"):
        minted()


def test_errors_of_the_generator_show_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(aws_credentials_provider: Any, **_: Any) -> str:
        raise ValueError(aws_credentials_provider.load().secret_key)

    monkeypatch.setattr("aws_bedrock_token_generator.provide_token", fail)
    with pytest.raises(ConfigurationError, match="could not make a key: ValueError") as caught:
        api_key_provider(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN))()
    error = caught.value
    # The frame of this test holds the fake secret, so the search begins below it.
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    assert find_leaks(error) == []


class Clock:
    """Fake of the class `datetime` with a time that tests set."""

    def __init__(self) -> None:
        self.time = datetime.now(timezone.utc)

    def now(self, _: object) -> datetime:
        return self.time


def test_a_provider_makes_the_next_key_before_the_last_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    made: list[datetime] = []

    def mint(*_: Any) -> MintedKey:
        made.append(clock.time)
        return MintedKey(Secret(f"key-{len(made)}"), WEST, clock.time + timedelta(hours=1))

    provider = api_key_provider(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN))
    monkeypatch.setattr(_keys, "datetime", clock)
    monkeypatch.setattr(_keys, "_mint", mint)
    assert [provider(), provider()] == ["key-1", "key-1"]
    clock.time += timedelta(minutes=54, seconds=59)
    assert provider() == "key-1"
    clock.time += timedelta(seconds=1)
    assert provider() == "key-2"


class Rotating:
    def __init__(self) -> None:
        self.key = "ASIA0000000000000001"

    def get_frozen_credentials(self) -> Credentials:
        return Credentials(self.key, SECRET, TOKEN)


def test_credentials_that_were_replaced_make_a_new_key() -> None:
    rotating = Rotating()
    provider = api_key_provider(WEST, credentials=rotating)
    first = provider()
    assert provider() == first
    rotating.key = "ASIA0000000000000002"
    assert fields(provider())["X-Amz-Credential"].startswith("ASIA0000000000000002/")


def test_threads_share_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MintedKey] = []
    mint = _keys._mint

    def counted(*arguments: Any) -> MintedKey:
        made.append(mint(*arguments))
        return made[-1]

    monkeypatch.setattr(_keys, "_mint", counted)
    provider = api_key_provider(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN))
    start = threading.Barrier(8)

    def ask() -> str:
        start.wait(10)
        return provider()

    with ThreadPoolExecutor(8) as pool:
        answers = {each.result() for each in [pool.submit(ask) for _ in range(8)]}
    assert len(made) == len(answers) == 1


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the `Authorization` headers that a small server receives."""
    found: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.append(self.headers["authorization"])
            body = b'{"object": "list", "data": []}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class it overrides
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.anyio
async def test_a_client_accepts_a_provider(seen: list[str]) -> None:
    provider = api_key_provider(WEST, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN))
    with Client(WEST, api_key=provider) as client:
        assert list(client.models.list()) == []
    async with AsyncClient(WEST, api_key=provider) as other:
        assert [model async for model in other.models.list()] == []
    assert seen == [f"Bearer {provider()}"] * 2


@dataclass
class KeyGate(Gate):
    """Gate that takes short-term keys of one credential, by its own clock."""

    def _identify(self, request: Request) -> str:
        known = {ACCESS_KEY: Credential(ACCESS_KEY, SECRET, TOKEN)}
        key = request.headers["authorization"].removeprefix("Bearer ")
        now = datetime.now(timezone.utc) + self.off
        return verify_short_term_key(key, lookup=known.get, region=WEST, now=now)


def key_of(source: str) -> Any:
    credentials = Credentials(ACCESS_KEY, SECRET, TOKEN)
    if source == "provider":
        return api_key_provider(WEST, credentials=credentials)
    return mint_api_key(WEST, credentials=credentials).reveal()


@pytest.mark.parametrize("source", ["key", "provider"])
def test_clocks_that_differ_by_minutes_do_not_matter_and_larger_differences_are_named(source: str) -> None:
    with Faults() as server:
        gate = server.guard = KeyGate()
        with Client(WEST, api_key=key_of(source), base_url=server.base_url) as client:
            for minutes in (-4, 0, 4, 60):
                gate.off = timedelta(minutes=minutes)
                list(client.models.list())
            for minutes, difference in ((-10, "-60[01]"), (13 * 60, "46(800|799)")):
                gate.off, gate.dated = timedelta(minutes=minutes), True
                with pytest.raises(AuthenticationError, match=rf"clock differs from the service's by {difference} s"):
                    list(client.models.list())
                gate.dated = False
                with pytest.raises(AuthenticationError, match="create a new API key"):
                    list(client.models.list())


def test_an_expired_key_names_the_clock_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    key = minted().reveal()
    clock.time += timedelta(hours=13)
    monkeypatch.setattr(api_key, "datetime", SimpleNamespace(now=clock.now, strptime=datetime.strptime))
    with pytest.raises(ConfigurationError, match=r"expired at .* Make a new key, or check this machine's clock"):
        Client(WEST, api_key=key)


def test_the_command_prints_a_key_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert main(["key", "--region", WEST, "--hours", "1"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert fields(key)["X-Amz-Expires"] == "3600"
    assert said.err.startswith("for us-west-2, until 20")
    assert main(["key", "--region", WEST, "--hours", "13"]) == 2
