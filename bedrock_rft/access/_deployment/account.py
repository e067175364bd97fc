"""An AWS account as a deployment sees it: who asks, and calls to its services that fail in this package's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from bedrock_rft._auth.aws_credentials import chain
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft.access._deployment.aws_errors import refused
from bedrock_rft.errors import BedrockRFTError, ConfigurationError, NotFoundError

__all__ = ["Account"]

_RETRIES = 4


class Account:
    """Calls to an account's services, with a client's region and AWS credentials.

    A client that has an API key signs nothing with it here: Lambda and IAM take AWS credentials, which botocore's
    chain then finds.

    Raises:
        ConfigurationError: there are no AWS credentials, or the client rehearses and the account is a real one.
    """

    def __init__(self, config: Config) -> None:
        self.region = config.region
        self._config = config
        self._credentials = config.aws
        if self._credentials is None:
            self._credentials = chain(None)
            self._credentials.none_found = (
                "No AWS credentials: Lambda and IAM take no Bedrock API key. Run 'aws configure' or 'aws sso login', "
                "or make the client with profile=… or credentials=…."
            )
        self._clients: dict[str, Any] = {}
        self._reward = ""
        self._role = ""
        self._boundary: str | None = None
        self._stay_here()
        said = self.ask("sts", "GetCallerIdentity")
        self.id = str(said["Account"])
        self.caller = str(said["Arn"])
        self.partition = self.caller.split(":")[1] or "aws"

    @property
    def origin(self) -> str:
        """Where the credentials come from."""
        return self._credentials.origin if self._credentials is not None else ""

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Where, and as whom."""
        return (
            ("account", f"{self.id}, {self.region}"),
            ("as", self.caller),
            ("identity", f"AWS credentials from {self.origin}"),
        )

    def about(self, function: str, role: str, boundary: str | None = None) -> None:
        """Say which function and role it is about, so that a denial can name the policy that is missing."""
        self._reward, self._role, self._boundary = function, role, boundary

    def function_arn(self, name: str) -> str:
        """The ARN that a function of this account has, or will have, without a qualifier."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.id}:function:{name}"

    def role_arn(self, path: str, name: str) -> str:
        """The ARN that a role of this account has, or will have."""
        return f"arn:{self.partition}:iam::{self.id}:role{path}{name}"

    def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation, such as `CreateRole`. Throttling is waited out.

        Raises:
            APIError: it failed; a denial names the action, and a policy that allows it.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()  # botocore's own spelling of it
        try:
            found = getattr(self._client(service), method)(**parameters)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            problem = self._refused(error, service, operation)  # raised below, with nothing of botocore's chained on
        else:
            return cast("dict[str, Any]", found)
        raise problem

    def look(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """Call an operation that looks at one thing. None where there is no such thing."""
        try:
            return self.ask(service, operation, **parameters)
        except NotFoundError:
            return None

    def every(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Every item of a list, across its pages. Raises as `ask`."""
        asked = dict(parameters)
        while True:
            page = self.ask(service, operation, **asked)
            yield from page.get(key, ())
            following = page.get("NextMarker") or (page.get("Marker") if page.get("IsTruncated") else None)
            if not following:
                return
            asked = {**parameters, "Marker": following}

    def _refused(self, error: Exception, service: str, operation: str) -> BedrockRFTError:
        about = f" --reward {self._reward} --role {self._role}" if self._reward else ""
        about += f" --permissions-boundary {self._boundary}" if self._boundary else ""
        policy = f"python -m bedrock_rft.access policy deployer{about}"
        return refused(error, service, operation, origin=self.origin, policy=policy)

    def _client(self, service: str) -> Any:
        if service not in self._clients and self._credentials is not None:
            self._clients[service] = service_client(
                service,
                region=self.region,
                credentials=self._credentials,
                ca_bundle=self._config.ca_bundle,
                timeout=self._config.timeout,
                retries=_RETRIES,
            )
        return self._clients[service]

    def _stay_here(self) -> None:
        """Whoever rehearses on this machine does not mean to change an account."""
        base = self._config.base_url
        if not base.startswith("local:") and not is_loopback(urlsplit(base).hostname or ""):
            return
        for service in ("lambda", "iam", "sts"):
            host = urlsplit(str(self._client(service).meta.endpoint_url)).hostname or ""
            if not is_loopback(host):
                raise ConfigurationError(
                    f"This client rehearses on this machine ({base}), and {host} is AWS: a real account would be "
                    f"changed. Make a client for AWS, or point AWS_ENDPOINT_URL_{service.upper()} at this machine too."
                )
