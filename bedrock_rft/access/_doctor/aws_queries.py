"""Questions to AWS that are allowed to fail: an answer, or why there is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bedrock_rft._auth.aws_credentials import AwsCredentials
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["Ask", "Aws", "Refused", "Who", "allow"]

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"}
_MISSING = {"ResourceNotFoundException", "NoSuchEntity", "NoSuchEntityException", "ResourceNotFound"}


@dataclass(frozen=True)
class Refused:
    """Why a question has no answer.

    Attributes:
        code: the service's own, or the name of what went wrong on the way.
        text: in its words, without secrets.
    """

    code: str
    text: str

    @property
    def denied(self) -> bool:
        """Whether whoever asks may not ask this."""
        return self.code in _DENIED

    @property
    def missing(self) -> bool:
        """Whether there is no such thing."""
        return self.code in _MISSING

    @property
    def unasked(self) -> bool:
        """Whether nobody was asked: there are no credentials, or the client rehearses."""
        return self.code in {"ConfigurationError", "NotAsked"}

    def __str__(self) -> str:
        if self.unasked:
            return "AWS could not be asked"  # why is said once, where it is said who this is
        return f"{self.code}: {self.text}" if self.text else self.code


@dataclass(frozen=True)
class Who:
    """An identity as STS names it, and as IAM's simulation takes it.

    Attributes:
        arn: from STS.
        account: its 12 digits.
    """

    arn: str
    account: str

    @property
    def role(self) -> str | None:
        """The name of the role that was assumed, where one was."""
        kind, _, rest = self.arn.rpartition(":")[2].partition("/")
        return rest.partition("/")[0] or None if kind == "assumed-role" else None

    @property
    def is_root(self) -> bool:
        """Whether it is the account itself, which no policy limits."""
        return self.arn.endswith(":root")


class Ask(Protocol):
    """Asks one operation of one service, named as botocore names them."""

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | Refused:
        """The answer, or why there is none. It does not raise."""
        ...


class Aws:
    """An `Ask` with the credentials of a client, or with those that botocore finds beside its API key.

    Args:
        credentials: who asks.
        regions: where, by service, with the client's own under the empty name.
        ca_bundle: a PEM file to trust instead of the usual authorities.
        seconds: for one answer.
        here: whether only services on this machine may be asked, since the client rehearses.
    """

    def __init__(
        self,
        credentials: AwsCredentials,
        regions: Mapping[str, str],
        *,
        ca_bundle: str | None,
        seconds: float,
        here: bool,
    ) -> None:
        self.credentials = credentials
        self._regions, self._here = regions, here
        self._ca_bundle, self._seconds = ca_bundle, seconds
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._clients: dict[str, Any] = {}
        self._who: Who | Refused | None = None

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Mapping[str, Any] | Refused:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._client(service)
            host = urlsplit(str(client.meta.endpoint_url)).hostname or ""
            if self._here and not is_loopback(host):
                return Refused("NotAsked", "this client rehearses on this machine, and AWS does not know its identity")
            answer: Mapping[str, Any] = getattr(client, operation)(**parameters)
        except ClientError as error:
            response: Any = error.response
            said = response.get("Error", {})
            return Refused(sanitize_line(str(said.get("Code", "")), 100), _clean(said.get("Message")))
        except (BotoCoreError, ConfigurationError) as error:
            return Refused(type(error).__name__, _clean(error))
        except Exception as error:  # noqa: BLE001 - an answer that botocore cannot read, above all
            return Refused(type(error).__name__, "the answer cannot be read")
        return answer

    @property
    def who(self) -> Who | Refused:
        """Whose credentials they are; asked once."""
        with self._asking:
            if self._who is None:
                said = self("sts", "get_caller_identity")
                self._who = (
                    said
                    if isinstance(said, Refused)
                    else Who(sanitize_line(str(said["Arn"]), 300), str(said["Account"]))
                )
            return self._who

    @property
    def known(self) -> Who | None:
        """Whose credentials they are, as far as that is known by now."""
        return self._who if isinstance(self._who, Who) else None

    def _client(self, service: str) -> Any:
        with self._lock:  # threads may share botocore's clients, and not make them at once
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
        """Let go of connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def allow(actions: tuple[str, ...], resources: tuple[str, ...], condition: Mapping[str, Any] | None = None) -> str:
    """A policy statement that allows something, as JSON that can be broken into lines anywhere it has a space."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return f"`{json.dumps(statement | ({'Condition': condition} if condition else {}))}`"


def _clean(text: object) -> str:
    return sanitize_line(redact(str(text or "")), 400).rstrip(".")
