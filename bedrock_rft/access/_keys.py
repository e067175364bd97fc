"""Short-term API keys, made from AWS credentials: for tools that take a key and cannot sign."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from bedrock_rft._auth.api_key import parse_key as read
from bedrock_rft._auth.aws_credentials import AwsCredentials, Frozen
from bedrock_rft._auth.config import resolve
from bedrock_rft._core.redaction import Secret, as_secret
from bedrock_rft.errors import ConfigurationError, MissingExtraError

__all__ = ["ApiKeyProvider", "MintedKey", "api_key_provider", "mint_api_key"]

_LONGEST = timedelta(hours=12)
_MARGIN = timedelta(minutes=5)


class MintedKey(Secret[str]):
    """A short-term API key. Only `reveal()` shows it.

    Attributes:
        region: the only one it works in.
        expires_at: when it ends, in UTC: with the session of the credentials, where that is known to end sooner.
    """

    __slots__ = ("expires_at", "region")

    def __init__(self, value: Secret[str], region: str, expires_at: datetime) -> None:
        super().__init__(value.reveal())
        self.region, self.expires_at = region, expires_at

    def __repr__(self) -> str:
        return f"MintedKey('****', {self.region}, until {self.expires_at:%Y-%m-%d %H:%M} UTC)"


class ApiKeyProvider:
    """A function without arguments that gives an API key, and makes the next one before the last expires.

    It takes part in nothing but its own calls: there is no thread and no timer. Any thread may call it.
    """

    def __init__(self, credentials: AwsCredentials, region: str, expires_in: timedelta) -> None:
        self._credentials, self._region, self._expires_in = credentials, region, expires_in
        self._lock = threading.Lock()
        self._key: MintedKey | None = None
        self._made_with = ""
        self._until = datetime.min.replace(tzinfo=timezone.utc)

    def __call__(self) -> str:
        """Return a key that is good for a while. Raises `ConfigurationError` where there are no credentials."""
        return self.key().reveal()

    def key(self) -> MintedKey:
        """The same, with what can be told of it."""
        with self._lock:
            frozen = Secret(self._credentials.freeze())
            now = datetime.now(timezone.utc)
            key = self._key
            # Credentials that were replaced may have been revoked, and every key made with them.
            if key is None or now >= self._until or self._made_with != frozen.reveal().access_key:
                key = _mint(self._credentials, frozen, self._region, self._expires_in)
                self._until = key.expires_at - min(_MARGIN, (key.expires_at - now) / 4)
                self._key, self._made_with = key, frozen.reveal().access_key
            return key

    def __repr__(self) -> str:
        return f"ApiKeyProvider({self._region}, from {self._credentials.origin})"


def mint_api_key(
    region: str | None = None,
    *,
    profile: str | None = None,
    credentials: object | None = None,
    expires_in: timedelta | float = _LONGEST,
) -> MintedKey:
    """Make a short-term API key from AWS credentials. Nothing is sent.

    ```python
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = mint_api_key("us-west-2", expires_in=3600).reveal()
    ```

    It needs the extra 'keys'. Whoever holds the key may do what the credentials may, until it ends; it cannot be
    revoked without revoking them. `caller_policy(api_key="short-term")` has the permission that its use needs.

    Args:
        region: the only one the key will work in. Else as for `Client`.
        profile: a profile of the AWS configuration.
        credentials: as for `Client`.
        expires_in: how long it lives, at most 12 hours; a number is seconds. It ends with the credentials' session.

    Raises:
        ConfigurationError: there is no region, there are no credentials, or it would live too long.
        MissingExtraError: the extra is not installed.
    """
    return _provider(region, profile, as_secret(credentials), expires_in).key()


def api_key_provider(
    region: str | None = None,
    *,
    profile: str | None = None,
    credentials: object | None = None,
    expires_in: timedelta | float = _LONGEST,
) -> ApiKeyProvider:
    """A function that gives a short-term API key and replaces it in time: `Client(api_key=api_key_provider(…))`.

    Arguments and errors are those of `mint_api_key`; credentials are looked for when it is called.
    """
    return _provider(region, profile, as_secret(credentials), expires_in)


def _provider(
    region: str | None, profile: str | None, credentials: Secret[Any] | None, expires_in: timedelta | float
) -> ApiKeyProvider:
    _generator()
    lives = _lifetime(expires_in)
    config = resolve(region=region, profile=profile, credentials=credentials, auth="aws")
    if config.aws is None:
        raise ConfigurationError("A key is made from AWS credentials, and there are none.")
    return ApiKeyProvider(config.aws, config.region, lives)


def _lifetime(value: object) -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (ValueError, OverflowError):
            value = None
    if not isinstance(value, timedelta) or not timedelta(seconds=1) <= value <= _LONGEST:
        raise ConfigurationError(
            "expires_in is how long the key lives: 1 second to 12 hours, in seconds or a timedelta."
        )
    return value


def _generator() -> Any:
    try:
        import aws_bedrock_token_generator as generator
    except ImportError:
        raise MissingExtraError("Making an API key", "keys") from None
    return generator


def _mint(credentials: AwsCredentials, frozen: Secret[Frozen], region: str, lives: timedelta) -> MintedKey:
    from botocore.credentials import Credentials

    provider = SimpleNamespace(load=lambda: Credentials(*frozen.reveal()))
    key: Secret[str] | None = None
    wrong = ""
    try:
        key = Secret(_generator().provide_token(region=region, aws_credentials_provider=provider, expiry=lives))
    except Exception as error:  # noqa: BLE001 - whatever it raises, its frames hold the credentials
        wrong = type(error).__name__
    if key is None:
        raise ConfigurationError(f"aws-bedrock-token-generator could not make a key: {wrong}.")
    ends = read(key.reveal()).expires_at or datetime.now(timezone.utc) + lives
    return MintedKey(key, region, min(ends, _session_end(credentials) or ends))


def _session_end(credentials: AwsCredentials) -> datetime | None:
    """When the session of the credentials ends, where botocore knows it."""
    found = getattr(credentials.find(), "_expiry_time", None)
    return found if isinstance(found, datetime) and found.tzinfo is not None else None
