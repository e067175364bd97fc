from __future__ import annotations

import base64
import pickle
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft import AsyncClient, BedrockRFTWarning, Client, ConfigurationError
from bedrock_rft._auth.api_key import parse_key as read
from bedrock_rft._auth.config import Config, config_for_transport, resolve

MANTLE = "https://bedrock-mantle.us-west-2.api.aws/v1"
KEY = "ABSKQmVkcm9ja0FQSUtleS0xMjM0NTY3ODkwYWJj"


def short_term(region: str = "us-west-2", *, hours: float = 12, age: float = 0) -> str:
    made = datetime.now(timezone.utc) - timedelta(hours=age)
    text = (
        "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential=AKIDEXAMPLE%2F{made:%Y%m%d}%2F{region}%2Fbedrock%2Faws4_request"
        f"&X-Amz-Date={made:%Y%m%dT%H%M%SZ}&X-Amz-Expires={int(hours * 3600)}&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=0123456789abcdef&Version=1"
    )
    return "bedrock-api-key-" + base64.b64encode(text.encode()).decode()


def env(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


class TestRegion:
    def test_region_sources_have_an_order_of_precedence(self, monkeypatch: pytest.MonkeyPatch, aws_files: Path) -> None:
        assert aws_files.exists()
        assert resolve(profile="dev").region == "eu-west-1"
        env(monkeypatch, AWS_DEFAULT_REGION="us-east-2")
        assert resolve(profile="dev").region == "us-east-2"
        env(monkeypatch, AWS_REGION="us-east-1")
        assert resolve(profile="dev").region == "us-east-1"
        assert resolve(api_key=short_term("us-west-2")).region == "us-west-2"
        assert resolve(region="sa-east-1", profile="dev").region == "sa-east-1"

    def test_the_region_of_a_session_is_used(self) -> None:
        session: Any = Session()
        session.set_config_variable("region", "eu-north-1")
        assert resolve(credentials=session).region == "eu-north-1"

    def test_the_region_in_the_host_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_BASE_URL=MANTLE, OPENAI_API_KEY=KEY, AWS_REGION="eu-west-1")
        config = resolve()
        assert (config.region, config.identity.region_source) == ("us-west-2", "the endpoint's host")

    def test_the_error_without_a_region_says_how_to_set_it(self) -> None:
        with pytest.raises(ConfigurationError, match=r"region='us-west-2'.*AWS_REGION.*aws configure"):
            resolve(api_key=KEY)

    @pytest.mark.parametrize("region", ["us-west-2", "us-gov-west-1", "ap-southeast-3", "us-iso-east-1", " us-west-2 "])
    def test_a_valid_region_is_accepted(self, region: str) -> None:
        assert resolve(region=region, api_key=KEY, base_url="http://localhost/v1").region == region.strip()

    @pytest.mark.parametrize(
        "region",
        [
            "", "US-WEST-2", "us-west-2a", "uswest2", "west", "us-west-2/../..", "us-west-2/", "us-west-2@evil.com",
            "us-west-2?x=", "us-west-2:443", "us-west-2\r\nHost: evil.com", "us-west-２", "uѕ-west-2", "a" * 302, 7,
            b"us-west-2",
        ],
    )  # fmt: skip
    def test_an_invalid_region_is_refused(self, region: Any) -> None:
        with pytest.raises(ConfigurationError, match="region"):
            resolve(region=region, api_key=KEY)

    def test_an_unknown_region_warns_once(self) -> None:
        with pytest.warns(BedrockRFTWarning, match="zz-new-9") as caught:
            assert [resolve(region="zz-new-9", api_key=KEY).region for _ in range(2)] == ["zz-new-9"] * 2
        assert len(caught) == 1
        assert caught[0].filename == __file__


class TestBaseUrl:
    def test_base_url_sources_have_an_order_of_precedence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def url(**arguments: Any) -> str:
            return resolve(region="us-west-2", api_key=KEY, **arguments).base_url

        assert url() == MANTLE
        env(monkeypatch, AWS_ENDPOINT_URL_BEDROCK_MANTLE="http://127.0.0.1:1/v1")
        assert url() == "http://127.0.0.1:1/v1"
        env(monkeypatch, OPENAI_BASE_URL="http://localhost:2/v1/")
        assert url() == "http://localhost:2/v1"
        assert url(base_url="http://[::1]:3") == "http://[::1]:3/v1"

    def test_a_base_url_of_another_service_is_ignored_and_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_BASE_URL="https://api.openai.com/v1", OPENAI_API_KEY="sk-other")
        config = resolve(region="us-west-2", api_key=KEY)
        assert config.base_url == MANTLE
        assert any("OPENAI_BASE_URL" in entry for entry in config.identity.shadowed)

    def test_the_region_is_read_from_a_privatelink_host(self) -> None:
        url = "https://vpce-0abc-def.bedrock-mantle.us-west-2.vpce.amazonaws.com/v1"
        assert resolve(base_url=url, api_key=KEY).region == "us-west-2"
        assert resolve(base_url="https://vpce-0abc.example.internal/v1", region="us-west-2", api_key=KEY).base_url

    def test_a_region_that_differs_from_the_host_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_BASE_URL=MANTLE)
        with pytest.raises(ConfigurationError, match=r"eu-west-1.*OPENAI_BASE_URL points to us-west-2"):
            resolve(region="eu-west-1", api_key=KEY)

    @pytest.mark.parametrize(
        ("url", "kept"),
        [
            (MANTLE, MANTLE),
            ("https://bedrock-mantle.us-west-2.api.aws/openai/v1", None),
            ("https://BEDROCK-MANTLE.us-west-2.API.aws/v1", MANTLE),
            ("http://127.0.0.1:8080/v1", None),
            ("https://proxy.example.com/bedrock/v1", None),
            ("https://bedrock-mantle.us-west-2.api.aws", MANTLE),
        ],
    )
    def test_a_valid_base_url_is_accepted(self, url: str, kept: str | None) -> None:
        assert resolve(region="us-west-2", api_key=KEY, base_url=url).base_url == (kept or url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://bedrock-mantle.us-west-2.api.aws/v1", "http://proxy.example.com/v1", "http://169.254.169.254/v1",
            "https://bedrock-runtime.us-west-2.amazonaws.com/v1",
            "https://user:hunter2@bedrock-mantle.us-west-2.api.aws/v1",
            "https://bedrock-mantle.us-west-2.api.aws@evil.com/v1", "https://bedrock-mantle.us-west-2.api.aws/v1#x",
            "https://bedrock-mantle.us-west-2.api.aws\\@evil.com/v1", "ftp://bedrock-mantle.us-west-2.api.aws/v1",
            "javascript:alert(1)", "bedrock-mantle.us-west-2.api.aws/v1", "//bedrock-mantle.us-west-2.api.aws/v1",
            "   ", "https://", "https:///v1", "https://bedrock-mantle.us-west-2.api.aws:0/v1",
            "https://bedrock-mantle.us-west-2.api.aws/v1\r\nX-Evil: 1", "https://bedrock mantle/v1",
            "https://bedrock-mantle.us-west-2.api.аws/v1", "https://bedrock-mantle.us-west-2.api.aws/v1/../../x",
            "https://bedrock-mantle.us-west-2.api.aws/v1?x=1", "https://[::1/v1", "https://h:port/v1", 7,
        ],
    )  # fmt: skip
    def test_an_invalid_base_url_is_refused(self, url: Any) -> None:
        with pytest.raises(ConfigurationError, match="base_url") as refused:
            resolve(region="us-west-2", api_key=KEY, base_url=url)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["base_url"], "so base_url= has no effect. Remove it, or remove transport=."),
        (["api_key", "base_url"], "so api_key= and base_url= have no effect. Remove them, or remove transport=."),
    ],
)
def test_settings_that_a_transport_defines_are_refused(names: list[str], message: str) -> None:
    options = dict.fromkeys(("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle"))
    with pytest.raises(ConfigurationError) as refused:
        config_for_transport(object(), **{**options, **dict.fromkeys(names, "x")})
    assert str(refused.value) == f"transport= defines the endpoint and the identity, {message}"


class TestIdentity:
    def test_identity_sources_have_an_order_of_precedence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def source(**arguments: Any) -> str:
            return resolve(region="us-west-2", **arguments).identity.source

        assert source() == "the AWS credential chain"
        env(monkeypatch, AWS_BEARER_TOKEN_BEDROCK=KEY)
        assert source() == "AWS_BEARER_TOKEN_BEDROCK"
        env(monkeypatch, OPENAI_API_KEY="opaque", OPENAI_BASE_URL=MANTLE)
        assert source() == "OPENAI_API_KEY"
        assert source(api_key=KEY) == "api_key="
        assert source(profile="dev") == "profile 'dev'"
        assert source(auth="aws") == "the AWS credential chain"

    def test_an_openai_key_in_bedrock_format_needs_no_base_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_API_KEY=KEY)
        assert resolve(region="us-west-2").identity.source == "OPENAI_API_KEY"

    def test_an_openai_key_in_another_format_is_ignored_and_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_API_KEY="sk-proj-1234", OPENAI_BASE_URL="https://api.openai.com/v1")
        config = resolve(region="us-west-2")
        assert config.auth == "aws"
        assert any("OPENAI_API_KEY" in entry for entry in config.identity.shadowed)
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY: it is not a Bedrock API key"):
            resolve(region="us-west-2", auth="api_key")

    def test_sending_a_key_in_openai_format_warns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_API_KEY="sk-proj-1234", OPENAI_BASE_URL=MANTLE)
        with pytest.warns(BedrockRFTWarning, match="looks like a key for OpenAI"):
            resolve()

    def test_the_key_of_a_loopback_server_is_sent_nowhere_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, OPENAI_API_KEY="sk-local", OPENAI_BASE_URL="http://localhost:1/v1")
        config = resolve(base_url=MANTLE)
        assert config.auth == "aws"
        assert "OPENAI_BASE_URL: base_url= comes first" in str(config.identity)
        with pytest.warns(BedrockRFTWarning, match="looks like"):
            assert resolve(region="us-west-2", base_url="http://localhost:1/v1").auth == "api_key"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"api_key": KEY, "profile": "dev"}, {"api_key": KEY, "credentials": Credentials("a", "b")},
            {"profile": "dev", "credentials": Credentials("a", "b")}, {"api_key": KEY, "auth": "aws"},
            {"profile": "dev", "auth": "api_key"}, {"auth": "basic"}, {"credentials": "AKIA"}, {"profile": ""},
        ],
    )  # fmt: skip
    def test_contradictory_identities_are_refused(self, arguments: Any) -> None:
        with pytest.raises(ConfigurationError):
            resolve(region="us-west-2", **arguments)

    def test_the_identity_reports_unused_alternatives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, AWS_BEARER_TOKEN_BEDROCK=KEY, AWS_ACCESS_KEY_ID="AKIDENV", AWS_SECRET_ACCESS_KEY="hidden-key")
        text = str(resolve(region="us-west-2").identity)
        assert "AWS_ACCESS_KEY_ID: AWS_BEARER_TOKEN_BEDROCK comes first" in text
        explicit = resolve(region="us-west-2", credentials=Credentials("AKIDX", "hidden-key", "hidden-token"))
        assert "AWS_BEARER_TOKEN_BEDROCK: credentials= was given" in str(explicit.identity)
        for shown in (text, repr(explicit), str(explicit.identity)):
            assert "hidden" not in shown
            assert KEY not in shown

    def test_profiles_and_the_credential_chain_are_used(self, monkeypatch: pytest.MonkeyPatch, aws_files: Path) -> None:
        assert aws_files.exists()
        with Client(profile="dev") as client:
            assert client.identity.source == "profile 'dev' (shared-credentials-file)"
        env(monkeypatch, AWS_ACCESS_KEY_ID="AKIDENV", AWS_SECRET_ACCESS_KEY="s")
        with Client(region="us-west-2") as client:
            assert client.identity.source == "the AWS credential chain (env)"
        with pytest.raises(ConfigurationError, match="nowhere"):
            Client(profile="nowhere")

    def test_a_missing_identity_raises_before_sending(self) -> None:
        with pytest.raises(ConfigurationError, match=r"No identity.*aws configure.*api_key="):
            Client(region="us-west-2")

    @pytest.mark.anyio
    async def test_an_async_client_resolves_its_identity_at_the_first_call(self) -> None:
        async with AsyncClient(region="us-west-2") as client:
            with pytest.raises(ConfigurationError, match="No identity"):
                await client.models.retrieve("m")

    def test_any_object_with_get_frozen_credentials_is_accepted(self) -> None:
        class Provider:
            def get_frozen_credentials(self) -> ReadOnlyCredentials:
                return ReadOnlyCredentials("AKIDP", "s", None)

        aws = resolve(region="us-west-2", credentials=Provider()).aws
        assert aws is not None
        assert aws.freeze() == ("AKIDP", "s", None)

    def test_incomplete_credentials_raise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env(monkeypatch, AWS_ACCESS_KEY_ID="AKIDENV")
        with pytest.raises(ConfigurationError, match="could not be resolved"):
            Client(region="us-west-2")


class TestKeys:
    def test_an_expired_key_raises_with_its_expiry(self) -> None:
        with pytest.raises(ConfigurationError, match=r"expired at \d{4}-\d\d-\d\d \d\d:\d\d UTC"):
            resolve(api_key=short_term(age=13))

    def test_a_key_for_another_region_raises_with_both_regions(self) -> None:
        with pytest.raises(ConfigurationError, match=r"valid in us-east-1 only.*us-west-2"):
            resolve(region="us-west-2", api_key=short_term("us-east-1"))

    def test_the_identity_has_the_kind_and_expiry_of_the_key(self) -> None:
        identity = resolve(api_key=short_term()).identity
        assert identity.key_kind == "short-term"
        assert identity.expires_at is not None
        assert "expires" in str(identity)
        assert resolve(region="us-west-2", api_key=KEY).identity.key_kind == "long-term"

    @pytest.mark.parametrize("key", [KEY, "opaque-key", " padded ", "bedrock-api-key-QUJDQUJD", "key\n"])
    def test_a_valid_key_is_accepted(self, key: str) -> None:
        config = resolve(region="us-west-2", api_key=key)
        assert config.key is not None
        assert config.key.constant_key() == key.strip()

    @pytest.mark.parametrize(
        "key",
        [
            "", "ke\ny", "ke\x00y", "ke\x7fy", "ke\u2028y", "Bearer abc", '"abc"', "AKIAIOSFODNN7EXAMPLE", "x" * 99_999,
            b"abc", "${AWS_BEARER_TOKEN_BEDROCK}", "ke y",
        ],
    )  # fmt: skip
    def test_an_invalid_key_is_refused_without_repeating_it(self, key: Any) -> None:
        with pytest.raises(ConfigurationError) as refused:
            resolve(region="us-west-2", api_key=key)
        assert not key or str(key) not in str(refused.value)

    @given(st.text())
    def test_reading_any_text_never_fails(self, text: str) -> None:
        assert read("bedrock-api-key-" + text).kind == "short-term"

    @given(st.binary())
    def test_reading_any_wrapped_bytes_never_fails(self, content: bytes) -> None:
        assert read("bedrock-api-key-" + base64.b64encode(content).decode()).kind == "short-term"


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout": 0}, {"timeout": float("nan")}, {"timeout": True}, {"max_retries": -1}, {"max_retries": 99},
        {"max_retries": True}, {"project": "a\r\nb"}, {"ca_bundle": "/nowhere.pem"},
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(arguments: Any) -> None:
    with pytest.raises(ConfigurationError):
        resolve(region="us-west-2", api_key=KEY, **arguments)


def test_secrets_are_not_printed_or_pickled() -> None:
    secret = short_term()
    config: Config = resolve(api_key=secret)
    assert secret not in repr(config)
    assert secret not in repr(vars(config))
    with pytest.raises(TypeError):
        pickle.dumps(config)
    with Client(api_key=secret) as client:
        assert secret not in repr(client) + repr(vars(client)) + str(client.identity)
