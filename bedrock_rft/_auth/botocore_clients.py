"""botocore clients for other AWS services, such as Lambda, IAM and STS."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from bedrock_rft._auth.aws_credentials import AwsCredentials
from bedrock_rft._auth.aws_failures import read_aws_failure, redact_botocore_logs
from bedrock_rft._auth.ca_bundle import ca_file
from bedrock_rft.errors import ConfigurationError

__all__ = ["service_client"]


def service_client(
    service: str,
    *,
    region: str,
    credentials: AwsCredentials,
    ca_bundle: str | None = None,
    timeout: float = 60.0,
    retries: int = 3,
) -> Any:
    """Return a botocore client that uses the credentials and the profile of a Bedrock client.

    Endpoints are botocore's: the profile's `endpoint_url`, `services` and FIPS settings apply, and so do variables such
    as `AWS_ENDPOINT_URL_LAMBDA`. The timeout is for a response, in seconds. Raises `ConfigurationError` if there are no
    credentials, or if the service or region does not exist.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    redact_botocore_logs()
    found = credentials.find()
    credentials.freeze()  # raises here, without the value, for one that no header can hold
    try:
        with credentials.session() as session:
            session._credentials = _refreshing(found)  # the public setter takes strings, which cannot be refreshed
            session.register_component("data_loader", _models(session.get_config_variable("data_path")))
            client = session.create_client(
                service,
                region_name=region,
                verify=ca_file(ca_bundle) if ca_bundle else None,
                config=Config(
                    read_timeout=timeout,
                    connect_timeout=min(timeout, 10.0),
                    retries={"total_max_attempts": retries + 1, "mode": "standard"},
                    tcp_keepalive=True,  # an invocation may take 15 minutes, and gateways drop idle connections
                    user_agent_extra="bedrock_rft",
                ),
            )
            session._credentials = None
    except (BotoCoreError, ValueError) as error:
        why = read_aws_failure(error).message
    else:
        return client
    # Outside the handler, because botocore's exception may quote the URL of a proxy with its password.
    raise ConfigurationError(f"Could not create a client for AWS {service} in {region}: {why}.")


@cache
def _models(path: str | None) -> Any:
    """Return a shared loader of service descriptions. Reading them takes most of the time to create a client."""
    from botocore import loaders

    return cast("Any", loaders).create_loader(path)


def _refreshing(found: Any) -> Any:
    """Return credentials with the interface that botocore expects."""
    if all(hasattr(found, name) for name in ("access_key", "secret_key", "token")):
        return found

    from botocore.credentials import Credentials

    class Delegating(Credentials):  # type: ignore[misc] # botocore ships no annotations
        """Read from the source for every request, so that rotated credentials are used."""

        def __init__(self) -> None:
            self.method = "explicit"
            self.account_id = None

        def get_frozen_credentials(self) -> Any:
            return found.get_frozen_credentials()

        @property
        def access_key(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
            return str(found.get_frozen_credentials().access_key)

        @property
        def secret_key(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
            return str(found.get_frozen_credentials().secret_key)

        @property
        def token(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
            token: str | None = found.get_frozen_credentials().token
            return token

    return Delegating()
