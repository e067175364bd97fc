"""Common problems of AWS settings: stale profiles, line ends in variables, processes that print secrets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials

from bedrock_rft import Client, access
from bedrock_rft._auth.aws_credentials import AwsCredentials, credential_chain
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft.errors import ConfigurationError

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJsession-token-of-the-test"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    keys = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    path.write_text(
        f"[profile work]\nregion = us-west-2\n{keys}"
        f"[profile box]\nregion = us-west-2\n{keys}endpoint_url = http://127.0.0.1:4566\n"
        f"[profile each]\nregion = us-west-2\n{keys}services = here\n"
        "[services here]\nlambda =\n  endpoint_url = http://127.0.0.1:4567\n"
        f"[profile fips]\nregion = us-west-2\n{keys}use_fips_endpoint = true\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


def credentials_of(client: Client) -> AwsCredentials:
    found = client._async._session.config.aws
    assert isinstance(found, AwsCredentials)
    return found


def lambda_endpoint(client: Client) -> str:
    made: Any = service_client("lambda", region="us-west-2", credentials=credentials_of(client))
    return str(made.meta.endpoint_url)


# Profiles


@pytest.mark.parametrize("stale", ["", " ", "gone"])
@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
@pytest.mark.parametrize("settings", ["profile", "credentials", "environment", "policy"])
def test_an_unused_stale_profile_is_ignored(
    settings: str, variable: str, stale: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.exists()
    monkeypatch.setenv(variable, stale)
    if settings == "policy":
        assert "bedrock-mantle" in access.caller_policy("us-west-2", reward=ARN).json()
        return
    if settings == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    options: dict[str, dict[str, Any]] = {
        "profile": {"profile": "work"},
        "credentials": {"credentials": Credentials(KEY_ID, SECRET)},
        "environment": {},
    }
    with Client("us-west-2", **options[settings]) as client:
        assert lambda_endpoint(client) == "https://lambda.us-west-2.amazonaws.com"


def test_a_stale_profile_in_use_is_named_in_the_error(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.exists()
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(ConfigurationError, match="AWS_PROFILE names the profile 'gone', which does not exist"):
        Client("us-west-2")
    with pytest.raises(ConfigurationError, match=r"No region.*AWS_PROFILE names a profile that does not exist"):
        Client(api_key="ABSKQmVkcm9ja0FQSUtleS0xMjM0NTY3ODkwYWJj")


@pytest.mark.parametrize(("profile", "endpoint"), [("box", ":4566"), ("each", ":4567"), ("fips", "lambda-fips.")])
@pytest.mark.parametrize("how", ["argument", "AWS_PROFILE", "botocore session", "boto3 session"])
def test_the_settings_of_a_profile_apply_to_every_client(
    how: str, profile: str, endpoint: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.exists()
    options: dict[str, Any] = {"profile": profile}
    if how == "AWS_PROFILE":
        monkeypatch.setenv("AWS_PROFILE", profile)
        options = {"auth": "aws"}
    elif how == "botocore session":
        from botocore.session import Session

        options = {"credentials": Session(profile=profile)}
    elif how == "boto3 session":
        boto3: Any = pytest.importorskip("boto3")
        options = {"credentials": boto3.Session(profile_name=profile)}
    with Client(**options) as client:
        assert endpoint in lambda_endpoint(client)


# Variables


@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]
)
@pytest.mark.parametrize("edge", ["\r", "\n", "\r\n", " ", "\t", "\u00a0"])
@pytest.mark.parametrize("service", [False, True])
def test_a_variable_with_a_line_end_is_refused_with_its_name(
    name: str, edge: str, monkeypatch: pytest.MonkeyPatch, *, service: bool
) -> None:
    token = "AWS_SECURITY_TOKEN" if name == "AWS_SECURITY_TOKEN" else "AWS_SESSION_TOKEN"
    plain = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, token: TOKEN}
    for variable, value in plain.items():
        monkeypatch.setenv(variable, value + (edge if variable == name else ""))

    def connect() -> object:
        return (
            service_client("lambda", region="us-west-2", credentials=credential_chain(None))
            if service
            else Client("us-west-2")
        )

    with pytest.raises(ConfigurationError, match=f"{name} contains a space, a line break") as caught:
        connect()
    assert not any(secret in str(caught.value) for secret in plain.values())


@pytest.mark.parametrize("middle", ["\n", " ", "é", "\x00"])
def test_a_value_that_is_invalid_in_a_header_is_refused_without_showing_it(middle: str) -> None:
    for parts in ((KEY_ID + middle + "A", SECRET, None), (KEY_ID, SECRET + middle + "A", None)):
        with pytest.raises(ConfigurationError, match="contains a space, a line break or a non-ASCII") as caught:
            AwsCredentials(lambda parts=parts: Credentials(*parts), "the test").freeze()  # type: ignore[misc]
        assert SECRET not in str(caught.value)


def test_the_error_explains_an_unused_openai_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-0123456789")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY: it is not a Bedrock API key") as caught:
        Client("us-west-2")
    assert "sk-proj" not in str(caught.value)


# Processes

SCRIPTS = {
    "trailing comma": f"""print('{{"Version": 1, "AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}",}}')""",
    "a line before": f"""print('Logging in'); print('{{"Version": 1, "SecretAccessKey": "{SECRET}"}}')""",
    "nothing": "pass",
    "a list": "print('[]')",
    "no key": f"""print('{{"Version": 1, "SecretAccessKey": "{SECRET}"}}')""",
    "another version": f"""print('{{"Version": 2, "AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}"}}')""",
    "fails, printing its secret": f"import sys; sys.stderr.write('secret {SECRET}\\nsecond line'); sys.exit(1)",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_error_hides_the_output_of_a_credential_process(script: str, config: Path) -> None:
    code = config.with_name("process.py")
    code.write_text(SCRIPTS[script])
    python = Path(sys.executable).as_posix()
    config.write_text(f"[profile p]\nregion = us-west-2\ncredential_process = {python} {code.as_posix()}\n")
    with pytest.raises(ConfigurationError, match="credential_process of profile 'p'") as caught:
        Client("us-west-2", profile="p")
    chained: BaseException | None = caught.value
    while chained is not None:
        assert SECRET not in str(chained) + repr(vars(chained))
        assert "\n" not in str(chained)
        chained = chained.__cause__ or chained.__context__


@pytest.mark.parametrize("session", ["", "sso_session = corp\n[sso-session corp]\n"])
def test_the_error_for_a_missing_sso_token_names_the_command_that_renews_it(session: str, config: Path) -> None:
    config.write_text(
        "[profile research]\nsso_account_id = 123456789012\nsso_role_name = Dev\n"
        f"{session}sso_start_url = https://example.invalid/start\nsso_region = us-west-2\n"
    )
    with pytest.raises(ConfigurationError, match=r"Run 'aws sso login --profile research' again\.$"):
        credentials_of(Client("us-west-2", profile="research", auth="aws")).freeze()


def test_a_role_with_mfa_needs_a_terminal(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(
        f"[profile base]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
        "[profile role]\nregion = us-west-2\nsource_profile = base\n"
        "role_arn = arn:aws:iam::123456789012:role/r\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
    )

    def no_terminal(_prompt: str) -> str:
        raise EOFError

    # botocore prompts with getpass; replace it, because the tests may run in a terminal.
    monkeypatch.setattr("getpass.unix_getpass", no_terminal, raising=False)

    def unix_getpass(prompt: str = "", stream: object = None) -> str:
        return no_terminal(prompt if stream is None else "")

    monkeypatch.setattr("getpass.getpass", unix_getpass)
    with pytest.raises(ConfigurationError, match=r"needs an MFA code, and there is no terminal"):
        credentials_of(Client("us-west-2", profile="role", auth="aws")).freeze()
