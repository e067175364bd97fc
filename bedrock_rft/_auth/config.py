"""Arguments, then the environment: region, endpoint and identity, decided once and said aloud."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bedrock_rft._auth import api_key as keys
from bedrock_rft._auth import endpoint
from bedrock_rft._auth.api_key_source import ApiKeyInput, KeySource
from bedrock_rft._auth.aws_credentials import AwsCredentials, chain, given, profile_region
from bedrock_rft._auth.identity import Auth, Identity
from bedrock_rft._core.redaction import RedactedMapping, Secret, as_secret
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError

__all__ = ["Config", "carried", "resolve"]

_MOST_RETRIES = 10


@dataclass(frozen=True)
class Config:
    """Everything a client was told, checked. Exactly one of `key` and `aws` is set."""

    base_url: str
    region: str
    auth: Auth
    identity: Identity
    key: KeySource | None = None
    aws: AwsCredentials | None = None
    project: str | None = None
    timeout: float = 60.0
    max_retries: int = 2
    ca_bundle: str | None = None

    def forget(self) -> None:
        """Let go of key and credentials."""
        if self.key is not None:
            self.key.ask.forget()
        if self.aws is not None:
            self.aws.close()


@dataclass(frozen=True)
class _Found:
    """The identity that won."""

    auth: Auth
    source: str
    key: KeySource | None = None
    aws: AwsCredentials | None = None
    shadowed: list[str] = field(default_factory=list[str])


def resolve(
    *,
    region: str | None = None,
    api_key: ApiKeyInput | Secret[Any] | None = None,
    profile: str | None = None,
    credentials: object | None = None,
    auth: Auth | None = None,
    base_url: str | Secret[Any] | None = None,
    project: str | None = None,
    timeout: float = 60.0,
    max_retries: int = 2,
    ca_bundle: str | os.PathLike[str] | None = None,
) -> Config:
    """Decide who the client is and where it speaks. Raises `ConfigurationError`; nothing is sent.

    No variable of this module holds a secret by itself: where a setting is refused, tracebacks may show them all.
    """
    api_key, credentials, base_url = as_secret(api_key), as_secret(credentials), as_secret(base_url)
    env = RedactedMapping({name: value for name, value in os.environ.items() if value.strip()})
    url, url_source, ignored_url = _base_url(base_url, env)
    found = _identity(api_key, profile, credentials, auth, env, url)
    plain_key = found.key is not None and found.key.function() is None
    about = keys.read(found.key.ask.reveal()) if found.key is not None and plain_key else keys.ApiKey("opaque")
    where, where_source = _region(region, about, url, profile, credentials, env)
    _agree(region, where, where_source, url, url_source)
    if url is None:
        url, url_source = endpoint.default_url(where), "the region"
    key = replace(found.key, region=where) if found.key else None
    if key is not None and plain_key:
        key.check(key.ask)
        if found.source == "OPENAI_API_KEY" and key.ask.reveal().startswith("sk-"):
            warn_once(
                f"OPENAI_API_KEY looks like a key for OpenAI; it is sent to {url} because OPENAI_BASE_URL points there."
            )
    project = _text(project, "project")
    shadowed = (*([ignored_url] if ignored_url else []), *_beaten_urls(url_source, env), *found.shadowed)
    return Config(
        base_url=url,
        region=where,
        auth=found.auth,
        key=key,
        aws=found.aws,
        project=project,
        timeout=_seconds(timeout),
        max_retries=_retries(max_retries),
        ca_bundle=_bundle(ca_bundle, env),
        identity=Identity(
            auth=found.auth,
            source=found.source,
            base_url=url,
            base_url_source=url_source,
            region=where,
            region_source=where_source,
            key_kind=(about.kind if plain_key else "refreshed") if key else None,
            expires_at=about.expires_at,
            project=project,
            shadowed=shadowed,
        ),
    )


def carried(transport: object, **settings: Any) -> Config:
    """The settings of a client whose transport was passed in: it knows by itself who and where."""
    stray = [
        name
        for name in ("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle")
        if settings[name] is not None
    ]
    if stray:
        raise ConfigurationError(
            f"transport= brings its own endpoint and identity; {' and '.join(stray)} would not be used."
        )
    region = settings["region"] or getattr(transport, "region", None) or "us-west-2"
    where = endpoint.check_region(region, "region")
    url, name = f"local:{type(transport).__name__}", "transport="
    return Config(
        base_url=url,
        region=where,
        auth="aws",
        project=_text(settings["project"], "project"),
        timeout=_seconds(settings["timeout"]),
        max_retries=_retries(settings["max_retries"]),
        identity=Identity(auth=None, source=name, base_url=url, base_url_source=name, region=where, region_source=name),
    )


def _base_url(given_url: Secret[Any] | None, env: Mapping[str, str]) -> tuple[str | None, str, str | None]:
    """The base URL where one is set, its source, and a word on one that was passed over."""
    openai_url = env.get("OPENAI_BASE_URL")
    foreign = openai_url is not None and not endpoint.is_bedrock(openai_url)
    ignored = "OPENAI_BASE_URL: its host is not a bedrock-mantle one" if foreign else None
    if given_url is not None:
        return endpoint.base_url(given_url.reveal(), "base_url"), "base_url=", ignored
    if openai_url is not None and not foreign:
        return endpoint.base_url(openai_url, "OPENAI_BASE_URL"), "OPENAI_BASE_URL", ignored
    service_url = env.get("AWS_ENDPOINT_URL_BEDROCK_MANTLE")
    if service_url is not None:
        name = "AWS_ENDPOINT_URL_BEDROCK_MANTLE"
        return endpoint.base_url(service_url, name), name, ignored
    return None, "", ignored


def _beaten_urls(winner: str, env: Mapping[str, str]) -> list[str]:
    order = ["base_url=", "OPENAI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_MANTLE"]
    later = order[order.index(winner) + 1 :] if winner in order else []
    return [
        f"{name}: {winner} comes first"
        for name in later
        if name in env and (name[0] == "A" or endpoint.is_bedrock(env[name]))
    ]


def _identity(
    api_key: Secret[Any] | None,
    profile: str | None,
    credentials: Secret[Any] | None,
    auth: Auth | None,
    env: Mapping[str, str],
    url: str | None,
) -> _Found:
    explicit = [
        n for n, v in (("api_key", api_key), ("profile", profile), ("credentials", credentials)) if v is not None
    ]
    if len(explicit) > 1:
        raise ConfigurationError(f"{' and '.join(explicit)} contradict each other: give one identity.")
    if auth not in (None, "api_key", "aws"):
        raise ConfigurationError(f"auth must be 'api_key' or 'aws', not {auth!r}.")
    mode = {"api_key": "api_key", "profile": "aws", "credentials": "aws"}.get(explicit[0]) if explicit else None
    if mode and auth and mode != auth:
        raise ConfigurationError(f"{explicit[0]}= and auth='{auth}' contradict each other.")
    keys_found, shadowed = _environment_keys(env, url)
    environment_aws = _environment_aws(env)
    if api_key is not None:
        source = KeySource(api_key if callable(api_key.reveal()) else keys.check(api_key, "api_key"), "api_key=")
        beaten = [f"{name}: api_key= was given" for name, _ in keys_found] + [
            f"{n}: api_key= was given" for n in environment_aws
        ]
        return _Found("api_key", "api_key=", key=source, shadowed=shadowed + beaten)
    if profile is not None or credentials is not None:
        aws = given(credentials) if credentials is not None else chain(_text(profile, "profile"))
        names = [name for name, _ in keys_found] + environment_aws
        beaten = [f"{name}: {explicit[0]}= was given" for name in names]
        return _Found("aws", aws.origin, aws=aws, shadowed=shadowed + beaten)
    if keys_found and auth != "aws":
        name, key = keys_found[0]
        beaten = [f"{other}: {name} comes first" for other in [n for n, _ in keys_found[1:]] + environment_aws]
        return _Found("api_key", name, key=KeySource(keys.check(key, name), name), shadowed=shadowed + beaten)
    if auth == "api_key":
        hint = f" ({'; '.join(shadowed)})" if shadowed else ""
        raise ConfigurationError(
            f"auth='api_key', but there is no Bedrock API key{hint}. Set AWS_BEARER_TOKEN_BEDROCK or pass api_key=…."
        )
    aws = chain(None)
    if {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} <= set(environment_aws):
        shadowed.append("AWS_PROFILE: AWS_ACCESS_KEY_ID comes first")
    return _Found("aws", aws.origin, aws=aws, shadowed=shadowed + [f"{n}: auth='aws' was given" for n, _ in keys_found])


def _environment_keys(env: Mapping[str, str], url: str | None) -> tuple[list[tuple[str, Secret[str]]], list[str]]:
    """The API keys that are meant for this service, best first, and a word on one that is not."""
    found: list[tuple[str, Secret[str]]] = []
    shadowed: list[str] = []
    openai_key = as_secret(env.get("OPENAI_API_KEY"))
    if openai_key is not None:
        there = env.get("OPENAI_BASE_URL", "")
        # A server on this machine may be anybody's: its key is ours only where we go there.
        ours = endpoint.is_mantle(there) or (endpoint.is_bedrock(there) and endpoint.same_host(there, url))
        if ours or keys.has_bedrock_form(openai_key.reveal().strip()):
            found.append(("OPENAI_API_KEY", openai_key))
        else:
            shadowed.append("OPENAI_API_KEY: it is not a Bedrock key, and OPENAI_BASE_URL does not point here")
    if (bearer := as_secret(env.get("AWS_BEARER_TOKEN_BEDROCK"))) is not None:
        found.append(("AWS_BEARER_TOKEN_BEDROCK", bearer))
    return found, shadowed


def _environment_aws(env: Mapping[str, str]) -> list[str]:
    return [name for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE") if name in env]


def _region(
    region: str | None,
    about: keys.ApiKey,
    url: str | None,
    profile: str | None,
    credentials: Secret[Any] | None,
    env: Mapping[str, str],
) -> tuple[str, str]:
    if region is not None:
        return endpoint.check_region(region, "region"), "region="
    if about.region is not None:
        return endpoint.check_region(about.region, "the short-term key's region"), "the short-term key"
    # A host that names its region is the only one it can be signed for, whatever a shell's default says.
    if url is not None and (host := endpoint.host_region(url)) is not None:
        return host, "the endpoint's host"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if name in env:
            return endpoint.check_region(env[name], name), name
    own = profile_region(profile, credentials)
    if own is not None:
        return endpoint.check_region(own, "the profile's region"), "the profile"
    raise ConfigurationError(
        "No region: pass region='us-west-2', set AWS_REGION, or run 'aws configure set region us-west-2'."
    )


def _agree(region: str | None, where: str, where_source: str, url: str | None, url_source: str) -> None:
    host = endpoint.host_region(url) if url is not None else None
    if host is not None and host != where:
        said = f"region='{region}'" if region else f"{where_source} says {where}"
        raise ConfigurationError(
            f"{said}, but {url_source.rstrip('=')} points at {host}: a signature or key for one region is refused in "
            "another. Change one of them."
        )


def _text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?", value):
        raise ConfigurationError(f"{name} must be printable ASCII text of 1 to 512 characters.")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 < value < math.inf):
        raise ConfigurationError("timeout must be a positive number of seconds.")
    return float(value)


def _retries(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_RETRIES:
        raise ConfigurationError(f"max_retries must be a whole number from 0 to {_MOST_RETRIES}.")
    return value


def _bundle(value: str | os.PathLike[str] | None, env: Mapping[str, str]) -> str | None:
    name, path = "ca_bundle", value
    if path is None:
        name = next((n for n in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if n in env), "")
        path = env.get(name)
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)) or not Path(path).expanduser().exists():
        raise ConfigurationError(f"{name} must be the path of a file, or of a folder, with PEM certificates.")
    return str(Path(path).expanduser())
