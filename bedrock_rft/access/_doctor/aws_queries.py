"""Read-only queries to AWS that return a failure instead of raising it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bedrock_rft._auth.aws_credentials import AwsCredentials
from bedrock_rft._auth.aws_failures import read_aws_failure
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["Aws", "AwsQuery", "CallerIdentity", "QueryFailure", "allow_statement"]

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
_MISSING = {
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NoSuchEntityException",
    "NotFoundException",
    "ResourceNotFound",
}
_NOT_SENT = {"ConfigurationError", "LocalOnly"}
_EXPECTED_FIELDS = {
    "get_caller_identity": "Arn",
    "get_role": "Role",
    "list_attached_role_policies": "AttachedPolicies",
    "simulate_principal_policy": "EvaluationResults",
    "get_function_configuration": "FunctionName",
    "get_function_url_config": "AuthType",
    "get_policy": "Policy",
    "describe_key": "KeyMetadata",
    "describe_vpc_endpoints": "VpcEndpoints",
    "describe_route_tables": "RouteTables",
    "get_inference_profile": "models",
}
"""A field that the response of an operation always has. A proxy may answer `{}` in the service's place."""


@dataclass(frozen=True)
class QueryFailure:
    """Reason why a query has no result.

    Attributes:
        code: the service's error code, or the name of the exception.
        text: the message, without secrets.
    """

    code: str
    text: str

    @property
    def denied(self) -> bool:
        """True if the identity lacks the permission for the query."""
        return self.code in _DENIED

    @property
    def missing(self) -> bool:
        """True if the resource does not exist."""
        return self.code in _MISSING

    @property
    def not_sent(self) -> bool:
        """True if no request was sent: there are no credentials, or the client uses the local service."""
        return self.code in _NOT_SENT

    def finding(self, code: str, summary: str, actions: str | tuple[str, ...], *resources: str) -> Finding:
        """Return the finding `unknown`, with the permission for the query as its remedy if the query was denied."""
        remedy = ""
        if self.denied:
            remedy = f"Allow it: {allow_statement((actions,) if isinstance(actions, str) else actions, resources)}"
        return Finding("unknown", code, summary, str(self), remedy)

    def __str__(self) -> str:
        if self.not_sent:
            return "no request to AWS was possible"  # the finding on the identity gives the reason
        return f"{self.code}: {self.text}" if self.text else self.code


@dataclass(frozen=True)
class CallerIdentity:
    """An identity as returned by STS.

    Attributes:
        arn: its ARN.
        account: its account number, 12 digits.
    """

    arn: str
    account: str

    @property
    def role(self) -> str | None:
        """The name of the assumed role, or None for another kind of identity."""
        kind, _, rest = self.arn.rpartition(":")[2].partition("/")
        return rest.partition("/")[0] or None if kind == "assumed-role" else None

    @property
    def is_root(self) -> bool:
        """True for the account's root user, which no policy of the account limits."""
        return self.arn.endswith(":root")


class AwsQuery(Protocol):
    """Calls one read-only operation of an AWS service, by its names in botocore."""

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | QueryFailure:
        """Return the response or the failure. It does not raise."""
        ...


class Aws:
    """An `AwsQuery` with a client's credentials, or with those that botocore finds for a client with an API key.

    Args:
        credentials: the AWS credentials.
        regions: region by service; the client's own region under the empty name.
        ca_bundle: PEM file of trusted authorities. Default: the usual ones.
        seconds: timeout for one query.
        local_only: True if only services on this machine may be queried, because the client uses the local service.
    """

    def __init__(
        self,
        credentials: AwsCredentials,
        regions: Mapping[str, str],
        *,
        ca_bundle: str | None,
        seconds: float,
        local_only: bool,
    ) -> None:
        self.credentials = credentials
        self._regions, self._local_only = regions, local_only
        self._ca_bundle, self._seconds = ca_bundle, seconds
        self._client_lock, self._identity_lock = threading.Lock(), threading.Lock()
        self._clients: dict[str, Any] = {}
        self._identity: CallerIdentity | QueryFailure | None = None

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | QueryFailure:
        try:
            client = self._client(service)
            host = urlsplit(str(client.meta.endpoint_url)).hostname or ""
            if self._local_only and not is_loopback(host):
                reason = "the client uses the local service, whose identities AWS does not know"
                return QueryFailure("LocalOnly", reason)
            response: Mapping[str, Any] = getattr(client, operation)(**parameters)
        except ConfigurationError as error:
            return QueryFailure(type(error).__name__, sanitize_line(redact(str(error)), 400).rstrip("."))
        except Exception as error:  # noqa: BLE001 - botocore raises many types for responses it cannot parse
            failure = read_aws_failure(error)
            unreadable = failure.kind == "unreadable"
            return QueryFailure(failure.code, "the response cannot be parsed" if unreadable else failure.message)
        expected = _EXPECTED_FIELDS.get(operation)
        if expected is not None and expected not in response:
            return QueryFailure("InvalidResponse", f"the response has no {expected}; a proxy may have sent it")
        return response

    @property
    def identity(self) -> CallerIdentity | QueryFailure:
        """The identity of the credentials; queried once."""
        with self._identity_lock:
            if self._identity is None:
                response = self("sts", "get_caller_identity")
                self._identity = (
                    response
                    if isinstance(response, QueryFailure)
                    else CallerIdentity(sanitize_line(str(response["Arn"]), 300), str(response.get("Account", "")))
                )
            return self._identity

    @property
    def known_identity(self) -> CallerIdentity | None:
        """The identity of the credentials if it was queried successfully."""
        return self._identity if isinstance(self._identity, CallerIdentity) else None

    def _client(self, service: str) -> Any:
        with self._client_lock:  # threads may share botocore's clients but not create them concurrently
            if service not in self._clients:
                self._clients[service] = service_client(
                    service,
                    region=self._regions.get(service, self._regions[""]),
                    credentials=self.credentials,
                    ca_bundle=self._ca_bundle,
                    timeout=self._seconds,
                    retries=1,
                )
            return self._clients[service]

    def close(self) -> None:
        """Close all connections."""
        with self._client_lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def allow_statement(
    actions: tuple[str, ...], resources: tuple[str, ...], condition: Mapping[str, Any] | None = None
) -> str:
    """Return an Allow statement as JSON in backticks; it may be wrapped at any space."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return f"`{json.dumps(statement | ({'Condition': condition} if condition else {}))}`"
