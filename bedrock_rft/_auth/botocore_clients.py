"""Other AWS services than the one that trains (Lambda, IAM, STS), through botocore's own clients."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from bedrock_rft._auth.aws_credentials import AwsCredentials
from bedrock_rft._core.log import redact_botocore_logs
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
    """A botocore client for one service, with the credentials that the caller's own client uses.

    Endpoints are botocore's, with `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_LAMBDA` and the like honoured.

    Args:
        service: botocore's name of it, such as `lambda`.
        region: where it is; a global service has one as well.
        credentials: who asks; they are resolved here and refreshed by botocore.
        ca_bundle: a PEM file to trust instead of the usual authorities.
        timeout: seconds to wait for an answer. A function that is invoked may take 900.
        retries: further attempts where botocore finds that safe.

    Raises:
        ConfigurationError: there are no credentials, or there is no such service or region.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    redact_botocore_logs()
    found = credentials.find()
    try:
        session: Any = Session()
        session._credentials = _refreshing(found)  # a session takes text alone; these refresh themselves
        session.register_component("data_loader", _models(session.get_config_variable("data_path")))
        client = session.create_client(
            service,
            region_name=region,
            verify=ca_bundle,
            config=Config(
                read_timeout=timeout,
                connect_timeout=min(timeout, 10.0),
                retries={"total_max_attempts": retries + 1, "mode": "standard"},
                tcp_keepalive=True,  # a function may take 15 minutes, and a gateway forgets silent connections
                user_agent_extra="bedrock_rft",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"No client for AWS {service} in {region}: {error}") from error
    return client


@cache
def _models(path: str | None) -> Any:
    """Botocore's descriptions of services: most of what a client costs is reading them, and every session would."""
    from botocore import loaders

    return cast("Any", loaders).create_loader(path)


def _refreshing(found: Any) -> Any:
    """What botocore wants of credentials: an object with `get_frozen_credentials`, and three attributes."""
    if all(hasattr(found, name) for name in ("access_key", "secret_key", "token")):
        return found

    from botocore.credentials import Credentials

    class Asked(Credentials):  # type: ignore[misc] # botocore ships no annotations
        """Frozen afresh for every request, so that a rotation in between is followed."""

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

    return Asked()
