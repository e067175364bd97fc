"""Short-term Bedrock API keys, made from AWS credentials for tools that cannot sign requests."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from bedrock_rft._auth.api_key import parse_key
from bedrock_rft._auth.aws_credentials import AwsCredentials, FrozenCredentials
from bedrock_rft._auth.config import resolve
from bedrock_rft._core.redaction import Secret, as_secret
from bedrock_rft.errors import ConfigurationError, MissingExtraError

_MAX_LIFETIME = timedelta(hours=12)
_RENEWAL_MARGIN = timedelta(minutes=5)


class MintedKey(Secret[str]):
    """A short-term API key. Only `reveal()` shows it.

    Attributes:
        region: the only AWS region in which the key works.
        expires_at: end of the key's validity in UTC, or of the session of its credentials if that is known to end
            sooner.
    """

    __slots__ = ("expires_at", "region")

    def __init__(self, value: Secret[str], region: str, expires_at: datetime) -> None:
        super().__init__(value.reveal())
        self.region, self.expires_at = region, expires_at

    def __repr__(self) -> str:
        return f"MintedKey('****', {self.region}, until {self.expires_at:%Y-%m-%d %H:%M} UTC)"


class ApiKeyProvider:
    """Callable that returns an API key, and replaces the key before it expires.

    The provider is thread-safe and needs no background thread.
    """

    def __init__(self, credentials: AwsCredentials, region: str, expires_in: timedelta) -> None:
        self._credentials, self._region, self._expires_in = credentials, region, expires_in
        self._lock = threading.Lock()
        self._key: MintedKey | None = None
        self._access_key = ""
        self._renew_at = datetime.min.replace(tzinfo=timezone.utc)

    def __call__(self) -> str:
        """Return a valid key. Raises `ConfigurationError` if there are no credentials."""
        return self.key().reveal()

    def key(self) -> MintedKey:
        """Return a valid key with its region and expiry. Raises `ConfigurationError` if there are no credentials."""
        with self._lock:
            frozen = Secret(self._credentials.freeze())
            now = datetime.now(timezone.utc)
            key = self._key
            # Make a new key for replaced credentials, because the old ones may have been revoked, and with them the
            # key.
            if key is None or now >= self._renew_at or self._access_key != frozen.reveal().access_key:
                key = _mint(self._credentials, frozen, self._region, self._expires_in)
                self._renew_at = key.expires_at - min(_RENEWAL_MARGIN, (key.expires_at - now) / 4)
                self._key, self._access_key = key, frozen.reveal().access_key
            return key

    def __repr__(self) -> str:
        return f"ApiKeyProvider({self._region}, from {self._credentials.origin})"


def mint_api_key(
    region: str | None = None,
    *,
    profile: str | None = None,
    credentials: object | None = None,
    expires_in: timedelta | float = _MAX_LIFETIME,
) -> MintedKey:
    """Make a short-term API key from AWS credentials, without any request.

    ```python
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = mint_api_key("us-west-2", expires_in=3600).reveal()
    ```

    Needs the extra 'keys'. The key has all permissions of the credentials until it expires, and cannot be revoked
    without revoking the credentials. `caller_policy(api_key="short-term")` includes the permission to use it.

    Args:
        region: the AWS region in which the key will work. Default: as for `Client`.
        profile: a profile of the AWS configuration.
        credentials: AWS credentials, as for `Client`.
        expires_in: lifetime in seconds or as a timedelta, at most 12 hours. The key also ends with the session of the
            credentials.

    Raises:
        ConfigurationError: there is no region or there are no credentials, their session is over, or the lifetime is
            invalid.
        MissingExtraError: the extra is not installed.
    """
    return _create_provider(region, profile, as_secret(credentials), expires_in).key()


def api_key_provider(
    region: str | None = None,
    *,
    profile: str | None = None,
    credentials: object | None = None,
    expires_in: timedelta | float = _MAX_LIFETIME,
) -> ApiKeyProvider:
    """Return a callable that provides short-term API keys: `Client(api_key=api_key_provider(…))`.

    The callable replaces each key before the key expires, and resolves the credentials at each call. Arguments and
    errors are those of `mint_api_key`.
    """
    return _create_provider(region, profile, as_secret(credentials), expires_in)


def _create_provider(
    region: str | None, profile: str | None, credentials: Secret[Any] | None, expires_in: timedelta | float
) -> ApiKeyProvider:
    _load_generator()
    lifetime = _parse_lifetime(expires_in)
    config = resolve(region=region, profile=profile, credentials=credentials, auth="aws")
    if config.aws is None:
        raise ConfigurationError(
            "An API key is made from AWS credentials, and none were found. Configure them, or pass "
            "credentials= or profile=."
        )
    return ApiKeyProvider(config.aws, config.region, lifetime)


def _parse_lifetime(value: object) -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (ValueError, OverflowError):
            value = None
    if not isinstance(value, timedelta) or not timedelta(seconds=1) <= value <= _MAX_LIFETIME:
        raise ConfigurationError("expires_in is invalid. Pass 1 second to 12 hours, as seconds or a timedelta.")
    return value


def _load_generator() -> Any:
    try:
        import aws_bedrock_token_generator as generator
    except ImportError:
        raise MissingExtraError("Making an API key", "keys") from None
    return generator


def _mint(
    credentials: AwsCredentials, frozen: Secret[FrozenCredentials], region: str, lifetime: timedelta
) -> MintedKey:
    from botocore.credentials import Credentials

    expiry = getattr(credentials.find(), "_expiry_time", None)  # botocore's attribute
    end = expiry if isinstance(expiry, datetime) and expiry.tzinfo is not None else None
    if end is not None and end <= datetime.now(timezone.utc):
        raise ConfigurationError(
            f"The session of the AWS credentials from {credentials.origin} ended at {end:%Y-%m-%d %H:%M} UTC, and a "
            "key ends with it. Sign in again, or check this machine's clock."
        )
    provider = SimpleNamespace(load=lambda: Credentials(*frozen.reveal()))
    key: Secret[str] | None = None
    failure = ""
    try:
        key = Secret(_load_generator().provide_token(region=region, aws_credentials_provider=provider, expiry=lifetime))
    except Exception as error:  # noqa: BLE001 - the frames of any error hold the credentials
        failure = type(error).__name__
    if key is None:
        raise ConfigurationError(
            f"aws-bedrock-token-generator could not make a key: {failure}. Check the AWS credentials."
        )
    expires_at = parse_key(key.reveal()).expires_at or datetime.now(timezone.utc) + lifetime
    return MintedKey(key, region, min(expires_at, end or expires_at))
