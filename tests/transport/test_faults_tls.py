"""Faults of TLS: untrusted certificates and failed handshakes."""

from __future__ import annotations

import ssl
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.fault_client import MODEL, WAYS, Caller, create
from support.fault_server import Faults

from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import APIConnectionError, APITimeoutError

row = pytest.mark.row
ways = pytest.mark.parametrize(("mode", "client_kind"), WAYS)
OURS = trustme.CA(organization_name="Ours")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write the certificate of the trusted authority."""
    path = tmp_path / "ours.pem"
    OURS.cert_pem.write_to_path(str(path))
    return path


def models(client: Any) -> Any:
    return client.models.list()


def peer(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # its signature includes pyOpenSSL contexts
    return context


UNTRUSTED = [
    pytest.param(trustme.CA(organization_name="Theirs").issue_cert("127.0.0.1"), "issuer", marks=row("N05"), id="CA"),
    pytest.param(
        OURS.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=9)),
        "expired", marks=row("N06"), id="expired",
    ),
    pytest.param(OURS.issue_cert("other.example"), "127.0.0.1", marks=row("N07"), id="host"),
]  # fmt: skip


@pytest.mark.parametrize(("certificate", "why"), UNTRUSTED)
@pytest.mark.parametrize("operation", [models, create])
@ways
def test_an_untrusted_certificate_raises_without_a_retry(
    mode: str, client_kind: str, operation: Any, certificate: trustme.LeafCert, why: str, bundle: Path
) -> None:
    with Faults(tls=peer(certificate)) as server:
        error = Caller(server, mode, client_kind).fails(APIConnectionError, operation, ca_bundle=bundle)
        assert server.connections == 1
        assert server.requests == []
    assert (error.reason, error.sent, error.attempts) == ("certificate", False, 1)
    for part in (f"127.0.0.1:{server.port}", why, "certificate", "ca_bundle=", "AWS_CA_BUNDLE"):
        assert part in str(error)
    assert "disable" not in str(error)
    assert "verify=" not in str(error)


@row("N09")
@ways
def test_a_connection_closed_during_the_handshake_is_retried_and_raises(mode: str, client_kind: str) -> None:
    with Faults(tls="close") as server:
        error = Caller(server, mode, client_kind).fails(APIConnectionError, models)
        assert server.connections == error.attempts == 3
    assert error.reason in {"tls", "closed"}
    assert not isinstance(error, APITimeoutError)
    assert f"127.0.0.1:{server.port}" in str(error)


@row("N08")
@ways
def test_a_server_without_tls_raises_a_tls_error(mode: str, client_kind: str) -> None:
    with Faults() as server:
        plain = server.base_url.replace("http:", "https:")
        error = Caller(server, mode, client_kind).fails(APIConnectionError, models, base_url=plain)
        assert server.requests == []
    assert (error.reason, error.sent, error.attempts) == ("tls", False, 3)
    assert f"127.0.0.1:{server.port}" in str(error)


@row("N10")
@ways
def test_an_unanswered_handshake_times_out(mode: str, client_kind: str) -> None:
    began = time.monotonic()
    with Faults(tls="silent") as server:
        error = Caller(server, mode, client_kind).fails(APITimeoutError, models, timeout=0.3)
        assert server.connections == error.attempts == 3
    assert not error.sent
    assert time.monotonic() - began < 10


@row("N09")
@pytest.mark.parametrize("mode", ["api_key", "aws"])
def test_a_job_is_created_once_after_a_failed_handshake(mode: str, bundle: Path) -> None:
    with Faults(tls="close") as server:
        caller = Caller(server, mode, "sync")
        good = peer(OURS.issue_cert("127.0.0.1"))

        def create_after_failure(client: Any) -> Any:
            with pytest.raises(APIConnectionError):
                list(client.models.list())
            server.tls = good
            return create(client)

        assert caller(create_after_failure, ca_bundle=bundle).id == "ftjob-1"
        caller.check_identity()
        assert len(server.jobs) == 1


@row("N11")
@pytest.mark.parametrize("setting", ["ca_bundle", "AWS_CA_BUNDLE", "SSL_CERT_FILE"])
@ways
def test_a_configured_authority_is_trusted(
    mode: str, client_kind: str, setting: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"ca_bundle": bundle} if setting == "ca_bundle" else {}
    if not settings:
        monkeypatch.setenv(setting, str(bundle))
    with Faults(tls=peer(OURS.issue_cert("127.0.0.1"))) as server:
        caller = Caller(server, mode, client_kind)
        assert [model.id for model in caller(models, **settings)] == [MODEL]
        caller.check_identity()
        assert len(server.requests) == 1
