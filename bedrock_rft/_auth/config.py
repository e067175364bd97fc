"""Resolve region, endpoint and identity from arguments and the environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bedrock_rft._auth import endpoint
from bedrock_rft._auth.api_key import ApiKey, ApiKeyInput, KeySource, has_bedrock_form, parse_key, validate_key
from bedrock_rft._auth.aws_credentials import (
    AwsCredentials,
    credential_chain,
    environment_profile,
    existing_profile,
    profile_region,
    wrap_credentials,
)
from bedrock_rft._auth.identity import Auth, Identity
from bedrock_rft._core.redaction import RedactedMapping, Secret, as_secret
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError

_MAX_RETRIES = 10


@dataclass(frozen=True)
class Config:
    """Validated settings of a client. Exactly one of `key` and `aws` is set."""

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

    @property
    def endpoint_setting(self) -> str:
        """The setting that the base URL came from: an environment variable, or base_url."""
        source = self.identity.base_url_source
        return source if source.isupper() else "base_url"

    def forget(self) -> None:
        """Drop the key and the credentials."""
        if self.key is not None:
            self.key.value.forget()
        if self.aws is not None:
            self.aws.close()


@dataclass(frozen=True)
class _ResolvedIdentity:
    """The identity that takes precedence."""

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
    """Resolve the settings of a client, or raise `ConfigurationError`. Nothing is sent."""
    # Local variables hold secrets only inside `Secret`, because tracebacks may show them.
    api_key, credentials, base_url = as_secret(api_key), as_secret(credentials), as_secret(base_url)
    env = RedactedMapping({name: value for name, value in os.environ.items() if value.strip()})
    url, url_source, unused_urls = _resolve_base_url(base_url, env)
    winner = _resolve_identity(api_key, profile, credentials, auth, env, url)
    plain_key = winner.key is not None and winner.key.function() is None
    properties = parse_key(winner.key.value.reveal()) if winner.key is not None and plain_key else ApiKey("opaque")
    resolved_region, region_source = _resolve_region(region, properties, url, profile, credentials, env)
    _refuse_other_region(region, resolved_region, region_source, url, url_source)
    if url is None:
        if resolved_region not in endpoint.KNOWN_REGIONS:
            warn_once(f"'{resolved_region}' is not a known region with a bedrock-mantle endpoint. It is used anyway.")
        url, url_source = f"https://{endpoint.SERVICE}.{resolved_region}.api.aws/v1", "the region"
    key = replace(winner.key, region=resolved_region) if winner.key else None
    if key is not None and plain_key:
        key.check(key.value)
        if winner.source == "OPENAI_API_KEY" and key.value.reveal().startswith("sk-"):
            warn_once(
                f"OPENAI_API_KEY looks like a key for OpenAI. It is sent to {url} because OPENAI_BASE_URL points there."
            )
    return Config(
        base_url=url,
        region=resolved_region,
        auth=winner.auth,
        key=key,
        aws=winner.aws,
        **_common_settings(project, timeout, max_retries),
        ca_bundle=_find_ca_bundle(ca_bundle, env),
        identity=Identity(
            auth=winner.auth,
            source=winner.source,
            base_url=url,
            base_url_source=url_source,
            region=resolved_region,
            region_source=region_source,
            key_kind=(properties.kind if plain_key else "refreshed") if key else None,
            expires_at=properties.expires_at,
            project=project,
            shadowed=(*unused_urls, *winner.shadowed),
        ),
    )


def config_for_transport(transport: object, **settings: Any) -> Config:
    """Return the settings of a client with a custom transport, which defines the endpoint and the identity."""
    names = ("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle")
    stray = [name for name in names if settings[name] is not None]
    if stray:
        has, it = ("has", "it") if len(stray) == 1 else ("have", "them")
        raise ConfigurationError(
            f"transport= defines the endpoint and the identity, so {' and '.join(f'{each}=' for each in stray)} {has} "
            f"no effect. Remove {it}, or remove transport=."
        )
    region = settings["region"] or getattr(transport, "region", None) or "us-west-2"
    resolved_region = endpoint.check_region(region, "region")
    url, name = f"local:{type(transport).__name__}", "transport="
    return Config(
        base_url=url,
        region=resolved_region,
        auth="aws",
        **_common_settings(settings["project"], settings["timeout"], settings["max_retries"]),
        identity=Identity(
            auth=None, source=name, base_url=url, base_url_source=name, region=resolved_region, region_source=name
        ),
    )


def _resolve_base_url(base_url: Secret[Any] | None, env: Mapping[str, str]) -> tuple[str | None, str, list[str]]:
    """Return the base URL if one is set, its source, and notes on the variables that are not used."""
    urls = [] if base_url is None else [("base_url=", base_url)]
    notes: list[str] = []
    for name in ("OPENAI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_MANTLE"):
        if name == "OPENAI_BASE_URL" and name in env and not endpoint.is_bedrock(env[name]):
            notes.append(f"{name}: its host is not a bedrock-mantle host")
        elif name in env:
            urls.append((name, Secret(env[name])))
    if not urls:
        return None, "", notes
    name, url = urls[0]
    notes += [f"{other}: {name} comes first" for other, _ in urls[1:]]
    return endpoint.base_url(url.reveal(), name.rstrip("=")), name, notes


def _resolve_identity(
    api_key: Secret[Any] | None,
    profile: str | None,
    credentials: Secret[Any] | None,
    auth: Auth | None,
    env: Mapping[str, str],
    url: str | None,
) -> _ResolvedIdentity:
    settings = {"api_key": api_key, "profile": profile, "credentials": credentials}
    explicit = [name for name, value in settings.items() if value is not None]
    if len(explicit) > 1:
        raise ConfigurationError(f"{' and '.join(explicit)} contradict each other. Pass one identity.")
    if auth not in (None, "api_key", "aws"):
        raise ConfigurationError(f"auth must be 'api_key' or 'aws', not {auth!r}.")
    if explicit and auth is not None and auth != ("api_key" if explicit == ["api_key"] else "aws"):
        raise ConfigurationError(f"{explicit[0]}= and auth='{auth}' contradict each other.")
    keys_found, shadowed = _find_environment_keys(env, url)
    variables = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    environment_aws = [name for name in variables if name in env]
    if explicit:
        overridden = [*(name for name, _ in keys_found), *environment_aws]
        shadowed += [f"{name}: {explicit[0]}= was given" for name in overridden]
        return _explicit_identity(api_key, profile, credentials, shadowed)
    if keys_found and auth != "aws":
        name, key = keys_found[0]
        reason = "auth='api_key' was given" if auth else f"{name} comes first"
        overridden = [f"{other}: {name} comes first" for other, _ in keys_found[1:]]
        overridden += [f"{other}: {reason}" for other in environment_aws]
        return _ResolvedIdentity(
            "api_key", name, key=KeySource(validate_key(key, name), name), shadowed=shadowed + overridden
        )
    if auth == "api_key":
        hint = f" ({'; '.join(shadowed)})" if shadowed else ""
        raise ConfigurationError(
            f"auth='api_key', but there is no Bedrock API key{hint}. Set AWS_BEARER_TOKEN_BEDROCK or pass api_key=…."
        )
    aws = credential_chain(None)
    if auth == "aws":
        aws.none_found = (
            "No identity: there are no AWS credentials, and a Bedrock API key is not enough here. Run 'aws configure' "
            "or 'aws sso login', or pass profile=… or credentials=…."
        )
    if shadowed:
        aws.none_found += f" Not used: {'; '.join(shadowed)}."
    if {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} <= set(environment_aws):
        shadowed.append("AWS_PROFILE: AWS_ACCESS_KEY_ID comes first")
    return _ResolvedIdentity(
        "aws", aws.origin, aws=aws, shadowed=shadowed + [f"{n}: auth='aws' was given" for n, _ in keys_found]
    )


def _explicit_identity(
    api_key: Secret[Any] | None, profile: str | None, credentials: Secret[Any] | None, shadowed: list[str]
) -> _ResolvedIdentity:
    if api_key is not None:
        source = KeySource(api_key if callable(api_key.reveal()) else validate_key(api_key, "api_key"), "api_key=")
        return _ResolvedIdentity("api_key", "api_key=", key=source, shadowed=shadowed)
    aws = (
        wrap_credentials(credentials)
        if credentials is not None
        else credential_chain(_printable_text(profile, "profile"))
    )
    return _ResolvedIdentity("aws", aws.origin, aws=aws, shadowed=shadowed)


def _find_environment_keys(env: Mapping[str, str], url: str | None) -> tuple[list[tuple[str, Secret[str]]], list[str]]:
    """Return the API keys for this service, in order of precedence, and a note on a key for another service."""
    keys: list[tuple[str, Secret[str]]] = []
    shadowed: list[str] = []
    openai_key = as_secret(env.get("OPENAI_API_KEY"))
    if openai_key is not None:
        openai_url = env.get("OPENAI_BASE_URL", "")
        # A server on this machine may belong to another program, so its key is used only if requests go to that server.
        ours = endpoint.is_mantle(openai_url) or (
            endpoint.is_bedrock(openai_url) and endpoint.same_host(openai_url, url)
        )
        if ours or has_bedrock_form(openai_key.reveal().strip()):
            keys.append(("OPENAI_API_KEY", openai_key))
        else:
            shadowed.append(
                "OPENAI_API_KEY: it is not a Bedrock API key, and OPENAI_BASE_URL is not an endpoint of this service"
            )
    if (bearer := as_secret(env.get("AWS_BEARER_TOKEN_BEDROCK"))) is not None:
        keys.append(("AWS_BEARER_TOKEN_BEDROCK", bearer))
    return keys, shadowed


def _resolve_region(
    region: str | None,
    properties: ApiKey,
    url: str | None,
    profile: str | None,
    credentials: Secret[Any] | None,
    env: Mapping[str, str],
) -> tuple[str, str]:
    if region is not None:
        return endpoint.check_region(region, "region"), "region="
    if properties.region is not None:
        return endpoint.check_region(properties.region, "the short-term key's region"), "the short-term key"
    # A region in the host comes first, because such a host accepts signatures for that region only.
    if url is not None and (host := endpoint.host_region(url)) is not None:
        return host, "the endpoint's host"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if name in env:
            return endpoint.check_region(env[name], name), name
    profile_setting = profile_region(profile, credentials)
    if profile_setting is not None:
        return endpoint.check_region(profile_setting, "the profile's region"), "the profile"
    profile_variable = environment_profile()
    stale = (
        f" {profile_variable[0]} names a profile that does not exist."
        if profile_variable and existing_profile() is None
        else ""
    )
    raise ConfigurationError(
        f"No region: pass region='us-west-2', set AWS_REGION, or run 'aws configure set region us-west-2'.{stale}"
    )


def _refuse_other_region(
    region: str | None, resolved_region: str, region_source: str, url: str | None, url_source: str
) -> None:
    host = endpoint.host_region(url) if url is not None else None
    if host is not None and host != resolved_region:
        setting = f"region='{region}'" if region else f"The region from {region_source} is {resolved_region}"
        raise ConfigurationError(
            f"{setting}, but {url_source.rstrip('=')} points to {host}. A signature or key for one region is rejected "
            "in another. Change the region or the endpoint."
        )


def _printable_text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?", value):
        raise ConfigurationError(f"{name} must be printable ASCII text of 1 to 512 characters.")
    return value


def _common_settings(project: object, timeout: Any, max_retries: Any) -> dict[str, Any]:
    """Return the validated settings that every client has."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not (0 < timeout < math.inf):
        raise ConfigurationError("timeout must be a positive number of seconds.")
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries <= _MAX_RETRIES:
        raise ConfigurationError(f"max_retries must be a whole number from 0 to {_MAX_RETRIES}.")
    project = _printable_text(project, "project")
    return {"project": project, "timeout": float(timeout), "max_retries": max_retries}


def _find_ca_bundle(value: str | os.PathLike[str] | None, env: Mapping[str, str]) -> str | None:
    name, path = "ca_bundle", value
    if path is None:
        name = next((n for n in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if n in env), "")
        path = env.get(name)
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)) or not Path(path).expanduser().exists():
        raise ConfigurationError(f"{name} must be the path of an existing file or folder with PEM certificates.")
    return str(Path(path).expanduser())
