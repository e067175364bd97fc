"""Passwords of proxies never appear in the failures of botocore."""

from __future__ import annotations

import logging
import traceback
import urllib.request
from pathlib import Path

import botocore.utils
import pytest

from bedrock_rft._auth.aws_credentials import credential_chain
from bedrock_rft._auth.aws_failures import read_aws_failure
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft.errors import ConfigurationError

PASSWORD = "wint3rfrost"
PROFILES = """
[profile assumed]
role_arn = arn:aws:iam::123456789012:role/example
source_profile = base
region = us-west-2

[profile base]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = xxxxxxxxxxxxxxxx
"""
URLS = [
    *(f"http://jo:{PASSWORD}{extra}@127.0.0.1:9" for extra in ("", "/x", "#x", "?x", "[", "%", "@x", ":x", "%2Fx")),
    *(f"{scheme}://jo:{PASSWORD}@127.0.0.1:9" for scheme in ("socks5", "socks4", "ftp")),
    *(f"http://jo:{PASSWORD}@127.0.0.1{port}" for port in (":99999", ":port", ":9:9")),
    f"jo:{PASSWORD}@127.0.0.1:9",
    f"http:/jo:{PASSWORD}@127.0.0.1:9",
    f"http://{PASSWORD}@127.0.0.1:99999",
]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", URLS)
def test_a_failed_request_hides_the_password_of_the_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTPS_PROXY", url)
    client = service_client("lambda", region="us-west-2", credentials=credential_chain(None), timeout=3, retries=0)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - botocore raises unrelated types
        client.list_functions()
    client.close()
    failure = read_aws_failure(caught.value)
    assert PASSWORD not in str(failure)
    assert failure.code
    assert PASSWORD not in caplog.text


def test_a_proxy_that_refuses_the_connection_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    client = service_client("sts", region="us-west-2", credentials=credential_chain(None), timeout=3, retries=0)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - botocore raises unrelated types
        client.get_caller_identity()
    client.close()
    failure = read_aws_failure(caught.value)
    assert (failure.kind, failure.sent) == ("connection", False)
    assert "http://127.0.0.1:9" in failure.message


def test_the_part_of_a_password_that_urllib3_reads_as_a_port_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:4711/{PASSWORD}@127.0.0.1:9")
    client = service_client("lambda", region="us-west-2", credentials=credential_chain(None), timeout=3, retries=0)
    with pytest.raises(Exception, match="proxy"):
        client.list_functions()
    client.close()
    assert "(hidden because it contains a part of the proxy password in HTTPS_PROXY)" in caplog.text
    assert PASSWORD not in caplog.text
    assert "4711" not in caplog.text


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("source", ["HTTPS_PROXY", "the system settings"])
def test_a_failure_to_resolve_credentials_hides_the_password_of_the_proxy(
    source: str, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    if source == "HTTPS_PROXY":
        monkeypatch.setenv(source, url)
    else:
        for module in (urllib.request, botocore.utils):
            monkeypatch.setattr(module, "getproxies", lambda: {"https": url})
    with pytest.raises(ConfigurationError) as caught:
        credential_chain("assumed").freeze()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_the_password_of_a_proxy_in_the_system_settings_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": URLS[0]})
    message = read_aws_failure(OSError(f"cannot use {URLS[0]}")).message
    assert message.startswith("the proxy in the system settings cannot be used")


def test_a_client_that_cannot_be_created_hides_the_password_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", URLS[0])
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://jo:{PASSWORD}@bad!host")
    with pytest.raises(ConfigurationError, match="Could not create a client for AWS lambda in us-west-2") as caught:
        service_client("lambda", region="us-west-2", credentials=credential_chain(None))
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_other_messages_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://jo:a%2Fb@proxy.example:8080")
    assert read_aws_failure(OSError("a cable is unplugged")).message == "a cable is unplugged"
