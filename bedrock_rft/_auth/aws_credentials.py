"""AWS credentials, resolved by botocore again for every attempt."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from bedrock_rft._auth.aws_failures import hide_proxy_password, redact_botocore_logs
from bedrock_rft._core.redaction import RedactedMapping, Secret, redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

_NONE_FOUND = (
    "No identity: there is no Bedrock API key and there are no AWS credentials. Set AWS_BEARER_TOKEN_BEDROCK, run "
    "'aws configure' or 'aws sso login', or pass api_key=…, profile=… or credentials=…."
)
_PARTS = {  # the name and the variable of each part, by botocore's attribute
    "access_key": ("access key id", "AWS_ACCESS_KEY_ID"),
    "secret_key": ("secret access key", "AWS_SECRET_ACCESS_KEY"),
    "token": ("session token", "AWS_SESSION_TOKEN"),
}
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
# In the order in which botocore reads them.
_VARIABLES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")


def environment_profile() -> tuple[str, str] | None:
    """Return the variable that names a profile, and the profile. An empty variable counts as not set."""
    for variable in _VARIABLES:
        name = os.environ.get(variable, "").strip()
        if name:
            return variable, name
    return None


def existing_profile() -> str | None:
    """Return the profile that the environment names, if it exists."""
    setting = environment_profile()
    if setting is None or setting[1] not in new_session().available_profiles:
        return None
    return setting[1]


def new_session(profile: str | None = None) -> Any:
    """Return a botocore session with a profile, or with the default profile, whatever `AWS_PROFILE` is."""
    from botocore.session import Session

    return Session(profile=profile, session_vars={"profile": (None, None, None, None)})


class FrozenCredentials(NamedTuple):
    """A consistent set of credentials. Its `repr` shows no secret."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"FrozenCredentials(access_key={self.access_key[:4]}…, '****')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be pickled. Create a client in each process.")


class AwsCredentials:
    """The source of the credentials that sign requests, and a botocore session for other services.

    The credentials are resolved when they are needed.
    """

    def __init__(self, load: Callable[[], Any], origin: str, session: Callable[[], Any] = new_session) -> None:
        self._load = Secret(load)
        self._lock = threading.Lock()
        self._found: Secret[Any] | None = None
        self._origin = origin
        self._method: str | None = None
        self._new_session = session
        self._session: Any = None
        self._session_lock = threading.Lock()
        self.none_found = _NONE_FOUND

    def __repr__(self) -> str:
        return f"AwsCredentials({self.origin!r})"

    @property
    def origin(self) -> str:
        """Return the name of the source, with botocore's method once it is known."""
        with self._lock:
            method = getattr(self._found.reveal(), "method", None) if self._found else self._method
        return f"{self._origin} ({method})" if method and method != "explicit" else self._origin

    def find(self) -> Any:
        """Resolve the credentials object once. Raise `ConfigurationError` without credentials or profile."""
        with self._lock:
            if self._found is None:
                redact_botocore_logs()
                credentials = _call_botocore(self._load.reveal(), self._origin)
                if credentials.reveal() is None:
                    raise ConfigurationError(self.none_found)
                self._found = credentials
            return self._found.reveal()

    def may_block(self) -> bool:
        """Return True if `freeze` may wait for the network, a process or a lock."""
        secret = self._found
        if secret is None:
            return True
        credentials = secret.reveal()
        if type(credentials).__module__ == "botocore.credentials":
            refresh_needed = getattr(credentials, "refresh_needed", None)
            return bool(refresh_needed()) if refresh_needed is not None else False
        return not isinstance(credentials, _EnvironmentCredentials)

    def forget(self) -> None:
        """Drop credentials that were revoked or replaced, so that the next attempt resolves them again."""
        with self._lock:
            self._found = None

    def close(self) -> None:
        """Drop the credentials, but keep the name of their source."""
        with self._lock:
            self._method = getattr(self._found.reveal(), "method", None) if self._found else self._method
            self._found = None
            self._session = None
            self._load.forget()

    @contextmanager
    def session(self) -> Generator[Any, None, None]:
        """Lock and yield the botocore session that creates clients. It is shared, because it is slow to start."""
        with self._session_lock:
            if self._session is None:
                self._session = self._new_session()
            yield self._session

    def freeze(self) -> FrozenCredentials:
        """Return the current credentials, refreshed by botocore, or raise if a header cannot hold them."""
        # No local variable holds a secret, because tracebacks may show them.
        credentials = Secret(self.find())
        frozen = _call_botocore(lambda: credentials.reveal().get_frozen_credentials(), self._origin)
        key, secret, token = (Secret(getattr(frozen.reveal(), name)) for name in _PARTS)
        if not isinstance(key.reveal(), str) or not isinstance(secret.reveal(), str) or not key.reveal():
            raise ConfigurationError(
                f"The AWS credentials from {self.origin} are incomplete: the access key id or the secret is missing."
            )
        for (name, variable), value in zip(_PARTS.values(), (key, secret, token), strict=True):
            if value.reveal() and not _HEADER_SAFE.fullmatch(str(value.reveal())):
                from_variable = f" ({variable})" if getattr(credentials.reveal(), "method", "") == "env" else ""
                raise ConfigurationError(
                    f"The {name}{from_variable} from {self.origin} contains a space, a line break or a "
                    "non-ASCII character, so no request can be signed with it. Copy it again."
                )
        return FrozenCredentials(key.reveal(), secret.reveal(), token.reveal() or None)


def _call_botocore(load: Callable[[], Any], origin: str) -> Secret[Any]:
    """Call botocore, and map exceptions to `ConfigurationError` without a cause, because the cause may hold secrets."""
    problem: ConfigurationError
    try:
        return Secret(load())
    except ConfigurationError as error:
        problem = error
    except Exception as error:  # noqa: BLE001 - botocore, its plug-ins and processes raise anything
        problem = _resolution_error(error, origin)
    raise problem


def _resolution_error(error: Exception, origin: str) -> ConfigurationError:
    functions = {frame.f_code.co_name for frame in _traceback_frames(error)}
    name = type(error).__name__
    if "_retrieve_credentials_using" in functions or getattr(error, "kwargs", {}).get("provider") == "custom-process":
        # The output of the process, and the exception that quotes it, may hold the secret.
        status = "failed" if name == "CredentialRetrievalError" else "did not print the JSON object that AWS documents"
        return ConfigurationError(
            f"The credential_process of {origin} {status} ({name}). Run the command in a shell to see its output; "
            "it is not shown here because it may contain secrets."
        )
    if functions & {"unix_getpass", "win_getpass", "fallback_getpass", "_raw_input"}:
        return ConfigurationError(
            f"The role of {origin} needs an MFA code, and there is no terminal to enter it ({name}). Run 'aws sts "
            "get-session-token' in a terminal and set its credentials, or use a profile without MFA."
        )
    text = sanitize_line(redact(hide_proxy_password(str(error))), 600).rstrip(".")
    setting = environment_profile()
    if name == "ProfileNotFound" and setting is not None and f"({setting[1]})" in text:
        return ConfigurationError(
            f"{setting[0]} names the profile '{sanitize_line(setting[1], 80)}', which does not exist. Unset the "
            "variable, or set it to a profile of the AWS configuration."
        )
    remedy = ""
    if "SSO" in name or "Token" in name:
        profile = re.search(r"profile '([^']+)'", origin)
        remedy = f" Run 'aws sso login{f' --profile {profile[1]}' if profile else ''}' again."
    return ConfigurationError(f"The AWS credentials could not be resolved: {name}: {text}.{remedy}")


def _traceback_frames(error: BaseException) -> Iterator[FrameType]:
    pending: BaseException | None = error
    while pending is not None:
        trace = pending.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
        pending = pending.__cause__ or pending.__context__


def wrap_credentials(value: Secret[Any]) -> AwsCredentials:
    """Use a botocore `Credentials`, an object with `get_frozen_credentials()`, or a boto3 or botocore session."""
    if callable(getattr(value.reveal(), "get_frozen_credentials", None)):
        return AwsCredentials(value.reveal, "credentials=")
    if callable(getattr(value.reveal(), "get_credentials", None)):

        def session() -> Any:
            profile = getattr(value.reveal(), "profile_name", None) or getattr(value.reveal(), "profile", None)
            profiles = new_session().available_profiles
            return new_session(profile if profile in profiles else None)

        return AwsCredentials(value.reveal().get_credentials, "the session in credentials=", session)
    raise ConfigurationError(
        "credentials must be a botocore Credentials, a boto3 or botocore session, or an object with "
        f"get_frozen_credentials(), not {type(value.reveal()).__name__}."
    )


class _EnvironmentCredentials(NamedTuple):
    """Credentials from three variables. Reading them here saves importing a quarter of botocore."""

    frozen: FrozenCredentials
    method: str = "env"

    @classmethod
    def read(cls) -> _EnvironmentCredentials | None:
        """Return the credentials, or None if they expire or are not in the environment."""
        if "AWS_CREDENTIAL_EXPIRATION" in os.environ:
            return None
        environment = RedactedMapping(os.environ)
        names = (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN" if environment.get("AWS_SESSION_TOKEN") else "AWS_SECURITY_TOKEN",
        )
        if not environment.get(names[0]) or not environment.get(names[1]):
            return None
        for name in names:
            if name in environment and not _HEADER_SAFE.fullmatch(environment[name] or "-"):
                raise ConfigurationError(
                    f"{name} contains a space, a line break or a non-ASCII character, perhaps at its end, so no "
                    "request can be signed with it. Copy it again."
                )
        return cls(FrozenCredentials(environment[names[0]], environment[names[1]], environment.get(names[2]) or None))

    def get_frozen_credentials(self) -> FrozenCredentials:
        return self.frozen


def credential_chain(profile: str | None) -> AwsCredentials:
    """Return the credentials of a profile or, for None, of botocore's chain.

    The chain is: environment, profile, assumed role, SSO, web identity, process, container, instance.
    """
    if profile is not None:
        return AwsCredentials(
            lambda: new_session(profile).get_credentials(), f"profile '{profile}'", lambda: new_session(profile)
        )

    def load() -> Any:
        setting = environment_profile()
        return _EnvironmentCredentials.read() or new_session(setting[1] if setting else None).get_credentials()

    setting = environment_profile()
    origin = "the AWS credential chain"
    if setting is not None and not os.environ.get("AWS_ACCESS_KEY_ID"):
        origin = f"profile '{setting[1]}' from {setting[0]}"
    return AwsCredentials(load, origin, lambda: new_session(existing_profile()))


def profile_region(profile: str | None, value: Secret[Any] | None) -> str | None:
    """Return the region of a profile, of a session that was passed in, or of the profile in the environment."""
    session = value.reveal if value is not None else None
    region_name = getattr(session(), "region_name", None) if session else None
    if isinstance(region_name, str):
        return region_name
    variable = getattr(session(), "get_config_variable", None) if session else None

    def region() -> Any:
        if callable(variable):
            return variable("region")
        return new_session(profile or existing_profile()).get_config_variable("region")

    found = _call_botocore(region, f"profile '{profile}'" if profile else "the AWS configuration").reveal()
    return found if isinstance(found, str) else None
