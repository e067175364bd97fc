"""Wrong, expired and rotated identities, and clocks that differ from the service's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from support.fault_client import ACCESS_KEY, KEY, SECRET, TOKEN, WAYS, Caller, Gate, create
from support.fault_server import Exchange, Faults, always, status

from bedrock_rft import AsyncClient, Client
from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import AuthenticationError, ConfigurationError, PermissionDeniedError
from bedrock_rft.local._http.signature import Credential

# Each value is tried with both identities, and with the sync and the async client in turn, which share their code.
pytestmark = pytest.mark.pairwise()
row = pytest.mark.row
JOB = "/fine_tuning/jobs/ftjob-1"
OURS = {ACCESS_KEY: Credential(ACCESS_KEY, SECRET, TOKEN)}


def key(number: int) -> str:
    return f"fake-key-{number}"


def triple(number: int) -> Credential:
    return Credential(f"AKIAFAKE{number}", f"{SECRET}{number}", f"{TOKEN}{number}")


def set_accepted(gate: Gate, *numbers: int) -> None:
    """Accept these identities and no others."""
    gate.keys = {key(number) for number in numbers}
    gate.credentials = {triple(number).access_key: triple(number) for number in numbers}


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        faults.add_job(statuses=["running"] * 7 + ["succeeded"])
        yield faults


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, server: Faults) -> Caller:
    return Caller(server, *request.param)


@pytest.fixture(params=[way for way in WAYS if way[0] == "aws"], ids="-".join)
def signing(request: pytest.FixtureRequest, server: Faults) -> Caller:
    return Caller(server, *request.param)


@pytest.fixture
def gate(server: Faults) -> Gate:
    """Let the server accept the default identities only."""
    gate = Gate({KEY}, dict(OURS))
    server.guard = gate
    return gate


def models(client: Any) -> Any:
    return client.models.list()


def upload(client: Any) -> Any:
    return client.files.upload(b'{"messages": []}\n' * 5000, validate=False)


def wait(client: Any) -> Any:
    return client.jobs.wait("ftjob-1", poll_interval=0.001)


# Wrong identities.


@row("A02")
@pytest.mark.parametrize("operation", [models, create, upload])
def test_a_wrong_identity_raises_with_the_services_message(caller: Caller, gate: Gate, operation: Any) -> None:
    wrong = (
        {"api_key": "another-key-9876543210"}
        if caller.mode == "api_key"
        else {"credentials": Credentials(ACCESS_KEY, "anotherSecret+/9876543210", TOKEN)}
    )
    error = caller.fails(AuthenticationError, operation, **wrong)
    said = "The API key is not valid." if caller.mode == "api_key" else "does not match the signature you provided"
    assert said in str(error)
    assert not set(wrong.values()) & set(str(error).split())
    assert 1 <= gate.refused <= 2
    assert gate.entered == []


@row("A13", mode="api_key")
@pytest.mark.parametrize("client_kind", ["sync", "async"])
def test_an_api_key_argument_takes_precedence_over_environment_credentials(
    server: Faults, gate: Gate, client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "another-key")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    Caller(server, "api_key", client_kind)(models)
    assert gate.entered == [KEY]
    assert "x-amz-security-token" not in server.requests[0].headers


@row("A14")
def test_a_credentials_argument_takes_precedence_over_an_environment_key(
    signing: Caller, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    signing(models, upload, lambda client: client.openai.models.list())
    assert gate.entered == [ACCESS_KEY] * 3
    assert KEY not in str([request.headers for request in signing.server.requests])


@row("A16")
def test_a_single_denial_raises_for_a_call_but_not_for_a_wait(caller: Caller, gate: Gate) -> None:
    denied = status(403, {"error": {"code": "access_denied", "message": "Not yet."}})
    caller.server.script("GET", "/models", [denied])
    assert "Not yet." in str(caller.fails(PermissionDeniedError, models))
    assert len(gate.entered) == 1
    caller.server.script("GET", JOB, [denied])  # a wait polls again
    assert caller(wait).status == "succeeded"


# Short-lived credentials.


class Vault:
    """Provider of keys and credentials that are valid for three requests each."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def _now(self) -> int:
        number = len(self._gate.entered) // 3
        set_accepted(self._gate, number)
        return number

    def key(self) -> str:
        return key(self._now())

    async def key_async(self) -> str:
        return self.key()

    def get_frozen_credentials(self) -> Credential:
        return triple(self._now())


@row("A03")
def test_a_wait_continues_with_refreshed_credentials(caller: Caller, gate: Gate) -> None:
    vault = Vault(gate)
    keys = vault.key_async if caller.client_kind == "async" else vault.key
    settings: dict[str, Any] = {"api_key": keys} if caller.mode == "api_key" else {"credentials": vault}
    assert caller(wait, **settings).status == "succeeded"
    assert (len(gate.entered), len(set(gate.entered)), gate.refused) == (8, 3, 0)


@row("A03")
def test_every_attempt_of_one_call_uses_current_credentials(caller: Caller, gate: Gate) -> None:
    """Let the identity expire between two attempts."""
    vault = Vault(gate)
    settings: dict[str, Any] = {"api_key": vault.key} if caller.mode == "api_key" else {"credentials": vault}
    caller.server.script("POST", "/files", [status(503)] * 3)
    caller(upload, max_retries=3, **settings)
    assert (len(gate.entered), len(set(gate.entered)), gate.refused) == (4, 2, 0)


@row("A04")
def test_a_wait_continues_after_credentials_are_replaced(
    caller: Caller, gate: Gate, aws_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write the new credentials to the file, and revoke the old ones."""
    file = aws_files / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(number: int) -> None:
        set_accepted(gate, number)
        new = triple(number)
        file.write_text(
            f"[dev]\naws_access_key_id = {new.access_key}\naws_secret_access_key = {new.secret_key}\n"
            f"aws_session_token = {new.token}\n# {key(number)}\n"
        )

    def read() -> str:
        return file.read_text().split("# ")[1].strip()

    def rotate(exchange: Exchange) -> None:
        write(len(gate.entered))
        exchange.send(*exchange.carry_out())

    write(0)
    caller.server.script("GET", JOB, [rotate] * 4)
    settings: dict[str, Any] = {"api_key": read} if caller.mode == "api_key" else {"profile": "dev"}
    assert caller(wait, **settings).status == "succeeded"
    assert len(gate.entered) == 8
    assert len(set(gate.entered)) == 5


@row("A05")
def test_a_wait_continues_if_credentials_are_unavailable_for_a_moment(caller: Caller, gate: Gate) -> None:
    asked: list[int] = []

    def shut() -> None:
        asked.append(1)
        if len(asked) in {3, 4}:
            raise ConfigurationError("The vault is shut.")

    class Shut:
        def get_frozen_credentials(self) -> Credential:
            shut()
            return OURS[ACCESS_KEY]

    def ask() -> str:
        shut()
        return KEY

    settings: dict[str, Any] = {"api_key": ask} if caller.mode == "api_key" else {"credentials": Shut()}
    assert caller(wait, **settings).status == "succeeded"
    assert gate.refused == 0


@row("A06")
def test_the_error_for_an_expired_session_says_how_to_renew_it(caller: Caller) -> None:
    said = {"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}
    caller.server.script("GET", "/models", always(status(403, said)))
    message = str(caller.fails(AuthenticationError, models))
    assert said["message"] in message
    assert "aws sso login" in message
    assert len(caller.server.requests) <= 2


# Clocks.


@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(10, marks=row("A07")),
        pytest.param(-10, marks=row("A08")),
        pytest.param(180, marks=row("A09")),
        pytest.param(-180, marks=row("A09")),
    ],
)
@pytest.mark.parametrize("operation", [models, create, upload])
def test_a_wrong_clock_is_corrected_from_the_services_date(
    signing: Caller, gate: Gate, operation: Any, ahead: int
) -> None:
    gate.off = timedelta(minutes=ahead)
    signing(operation, models)
    assert (len(gate.entered), gate.refused) == (2, 1)
    assert len(signing.server.jobs) == 1 + (operation is create)


@row("A10", mode="aws")
@pytest.mark.parametrize("ahead", [10, -10])
def test_without_a_date_the_error_suggests_checking_the_local_clock(signing: Caller, gate: Gate, ahead: int) -> None:
    gate.off, gate.dated = timedelta(minutes=ahead), False
    assert "check this machine's clock" in str(signing.fails(AuthenticationError, models))
    assert 1 <= gate.refused <= 2


@row("A11")
@pytest.mark.parametrize("code", [200, 401, 403, 503])
def test_the_date_of_a_cached_response_does_not_correct_the_clock(signing: Caller, gate: Gate, code: int) -> None:
    old = {"Date": format_datetime(datetime.now(timezone.utc) - timedelta(hours=2), usegmt=True), "Age": "7200"}
    said: dict[str, Any] = {"__type": "InvalidSignatureException", "message": "Signature expired.", "data": []}
    signing.server.script("GET", "/models", [status(code, said, old)])
    if code in {401, 403}:
        message = str(signing.fails(AuthenticationError, models))
        assert "check this machine's clock" in message
        assert "differs" not in message
    signing(models, models)
    assert gate.refused == 0


# Several clients.


def identity(mode: str, number: int) -> dict[str, Any]:
    lent = triple(number)
    if mode == "api_key":
        return {"api_key": key(number)}
    return {"credentials": Credentials(lent.access_key, lent.secret_key, lent.token)}


@row("T03")
def test_two_clients_do_not_mix_their_identities(caller: Caller, gate: Gate) -> None:
    set_accepted(gate, 0, 1)
    given: dict[str, Any] = {"base_url": caller.server.base_url, "region": "us-west-2", "timeout": 5.0}

    async def both() -> None:
        async with (
            AsyncClient(**given, **identity(caller.mode, 0)) as one,
            AsyncClient(**given, **identity(caller.mode, 1)) as other,
        ):
            asks = [client.models.retrieve(f"m{n}") for _ in range(20) for n, client in enumerate((one, other))]
            await asyncio.gather(*asks)

    if caller.client_kind == "async":
        asyncio.run(both())
    else:
        with (
            Client(**given, **identity(caller.mode, 0)) as one,
            Client(**given, **identity(caller.mode, 1)) as other,
            ThreadPoolExecutor(4) as pool,
        ):
            asked = [
                pool.submit(client.models.retrieve, f"m{n}") for _ in range(20) for n, client in enumerate((one, other))
            ]
            assert len([each.result() for each in asked]) == 40
    assert gate.refused == 0
    by_path = zip((request.path for request in caller.server.requests), gate.entered, strict=True)
    assert {(path[-1], who[-1]) for path, who in by_path} == {("0", "0"), ("1", "1")}


@row("T07")
def test_credentials_can_change_while_ten_threads_call(caller: Caller, gate: Gate) -> None:
    """Use botocore's refreshing: a session close to its expiry is renewed for every request."""
    set_accepted(gate, *range(500))
    lock = threading.Lock()
    lent: list[int] = []

    def lend() -> int:
        with lock:
            lent.append(len(lent))
            return lent[-1]

    def renew() -> dict[str, str]:
        new, soon = triple(lend()), datetime.now(timezone.utc) + timedelta(seconds=30)
        named = {"access_key": new.access_key, "secret_key": new.secret_key, "token": str(new.token)}
        return {**named, "expiry_time": soon.isoformat()}

    botocores: Any = RefreshableCredentials
    settings: dict[str, Any] = (
        {"api_key": lambda: key(lend())}
        if caller.mode == "api_key"
        else {"credentials": botocores.create_from_metadata(renew(), renew, "test")}
    )
    given: dict[str, Any] = {"base_url": caller.server.base_url, "region": "us-west-2", **settings}

    async def many() -> None:
        async with AsyncClient(**given) as client:
            await asyncio.gather(*(client.models.retrieve(f"m{number}") for number in range(40)))

    if caller.client_kind == "async":
        asyncio.run(many())
    else:
        with Client(**given) as client, ThreadPoolExecutor(10) as pool:
            list(pool.map(client.models.retrieve, [f"m{number}" for number in range(40)]))
    assert (len(gate.entered), gate.refused) == (40, 0)
    assert len(set(gate.entered)) > 10
