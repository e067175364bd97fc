"""Passwords of proxies never appear in the failure of a botocore client."""

from __future__ import annotations

import pytest

from bedrock_rft._auth.aws_credentials import chain
from bedrock_rft._auth.aws_failures import read_aws_failure
from bedrock_rft._auth.botocore_clients import service_client

PASSWORD = "wint3rfrost"
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
def test_a_failure_hides_the_password_of_the_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    client = service_client("lambda", region="us-west-2", credentials=chain(None), timeout=3, retries=0)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - botocore raises unrelated types here
        client.list_functions()
    client.close()
    failure = read_aws_failure(caught.value)
    assert PASSWORD not in str(failure)
    assert failure.code


def test_other_messages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://jo:a%2Fb@proxy.example:8080")
    assert read_aws_failure(OSError("a cable is unplugged")).message == "a cable is unplugged"
