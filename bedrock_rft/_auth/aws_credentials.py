"""AWS credentials, resolved by botocore, afresh for every attempt."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, cast

from bedrock_rft._core.log import redact_botocore_logs
from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import ConfigurationError

__all__ = ["AwsCredentials", "Frozen", "FrozenCredentials", "chain", "given", "profile_region"]


class FrozenCredentials(Protocol):
    """One matched triple, as botocore's `ReadOnlyCredentials` has it."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Frozen(NamedTuple):
    """A triple whose parts belong together and are text. It prints nothing of itself."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Frozen(access_key={self.access_key[:4]}…, '****')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials are not pickled: make a client of its own in each process.")


_NONE_FOUND = (
    "No identity: there is no Bedrock API key and no AWS credentials. Set AWS_BEARER_TOKEN_BEDROCK, run 'aws configure'"
    " or 'aws sso login', or pass api_key=…, profile=… or credentials=…."
)


class AwsCredentials:
    """Where a signature's credentials come from. Nothing is asked of it before it is needed."""

    def __init__(self, load: Callable[[], Any], origin: str) -> None:
        self._load = Secret(load)
        self._lock = threading.Lock()
        self._found: Secret[Any] | None = None
        self._origin = origin
        self._method: str | None = None
        self.none_found = _NONE_FOUND

    def __repr__(self) -> str:
        return f"AwsCredentials({self.origin!r})"

    @property
    def origin(self) -> str:
        """Which source they come from, as far as is known now."""
        with self._lock:
            method = getattr(self._found.reveal(), "method", None) if self._found else self._method
        return f"{self._origin} ({method})" if method and method != "explicit" else self._origin

    def find(self) -> Any:
        """Find the source once; what it answers is asked again for every attempt.

        Raises:
            ConfigurationError: there are none, or the profile does not exist.
        """
        with self._lock:
            if self._found is None:
                redact_botocore_logs()
                try:
                    found = Secret(self._load.reveal()())
                except Exception as error:
                    raise _unresolved(error) from error
                if found.reveal() is None:
                    raise ConfigurationError(self.none_found)
                self._found = found
            return self._found.reveal()

    def may_block(self) -> bool:
        """Return True if `freeze` may wait for the network, a process or a lock."""
        found = self._found
        if found is None:
            return True
        credentials = found.reveal()
        if type(credentials).__module__ == "botocore.credentials":
            refresh_needed = getattr(credentials, "refresh_needed", None)
            return bool(refresh_needed()) if refresh_needed is not None else False
        return not isinstance(credentials, _Environment)

    def forget(self) -> None:
        """Look again next time: what was found has been revoked or replaced where it came from."""
        with self._lock:
            self._found = None

    def close(self) -> None:
        """Let go of the credentials for good; the name of their source stays."""
        with self._lock:
            self._method = getattr(self._found.reveal(), "method", None) if self._found else self._method
            self._found = None
            self._load.forget()

    def freeze(self) -> Frozen:
        """The current triple, refreshed by botocore where it was about to expire.

        Raises:
            ConfigurationError: they could not be resolved or refreshed.
        """
        try:
            frozen = Secret(cast("FrozenCredentials", self.find().get_frozen_credentials()))
        except Exception as error:
            raise _unresolved(error) from error
        key, secret, token = (Secret(getattr(frozen.reveal(), name)) for name in ("access_key", "secret_key", "token"))
        if not isinstance(key.reveal(), str) or not isinstance(secret.reveal(), str) or not key.reveal():
            raise ConfigurationError(
                f"The AWS credentials from {self.origin} are incomplete: a key id or a secret is missing."
            )
        return Frozen(key.reveal(), secret.reveal(), token.reveal() or None)


def _unresolved(error: Exception) -> ConfigurationError:
    if isinstance(error, ConfigurationError):
        return error
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None  # frames of botocore's hold what it was about to return
        cause = cause.__cause__ or cause.__context__
    name = type(error).__name__
    renew = " Run 'aws sso login' again." if "SSO" in name or "Token" in name else ""
    return ConfigurationError(f"The AWS credentials could not be resolved: {name}: {error}.{renew}")


def given(value: Secret[Any]) -> AwsCredentials:
    """Take a botocore `Credentials`, anything with `get_frozen_credentials()`, or a boto3 or botocore session."""
    if callable(getattr(value.reveal(), "get_frozen_credentials", None)):
        return AwsCredentials(value.reveal, "credentials=")
    if callable(getattr(value.reveal(), "get_credentials", None)):
        return AwsCredentials(value.reveal().get_credentials, "the session in credentials=")
    raise ConfigurationError(
        "credentials must be a botocore Credentials, a boto3 or botocore session, or anything with "
        f"get_frozen_credentials(), not {type(value.reveal()).__name__}."
    )


class _Environment(NamedTuple):
    """The chain's first link in its plain form: asking it here spares a process a quarter of botocore.

    What is more than three variables (an expiry, half a pair) is left to botocore.
    """

    frozen: Frozen
    method: str = "env"

    @classmethod
    def whole(cls) -> _Environment | None:
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret or "AWS_CREDENTIAL_EXPIRATION" in os.environ:
            return None
        token = os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN")
        return cls(Frozen(key, secret, token or None))

    def get_frozen_credentials(self) -> Frozen:
        return self.frozen


def chain(profile: str | None) -> AwsCredentials:
    """Botocore's whole chain: environment, profile, assume-role, SSO, web identity, process, container, instance."""

    def load() -> Any:
        found = _Environment.whole() if profile is None else None
        return found or _session(profile).get_credentials()

    where = f"profile '{profile}'" if profile else "the AWS credential chain"
    if profile is None and os.environ.get("AWS_PROFILE") and not os.environ.get("AWS_ACCESS_KEY_ID"):
        where = f"profile '{os.environ['AWS_PROFILE']}' from AWS_PROFILE"
    return AwsCredentials(load, where)


def profile_region(profile: str | None, value: Secret[Any] | None) -> str | None:
    """The region a profile, or a session that was passed in, is set to."""
    session = value.reveal if value is not None else None
    own = getattr(session(), "region_name", None) if session else None
    if isinstance(own, str):
        return own
    variable = getattr(session(), "get_config_variable", None) if session else None
    try:
        found = variable("region") if callable(variable) else _session(profile).get_config_variable("region")
    except Exception as error:
        raise _unresolved(error) from error
    return found if isinstance(found, str) else None


def _session(profile: str | None) -> Any:
    from botocore.session import Session

    return Session(profile=profile)
