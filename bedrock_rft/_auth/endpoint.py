"""Regions and base URLs: what is well formed, and where credentials may go."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError

__all__ = ["SERVICE", "base_url", "check_region", "default_url", "host_region", "is_bedrock", "is_loopback"]

SERVICE = "bedrock-mantle"
"""The service's name in host names and in signatures."""

KNOWN_REGIONS = frozenset(
    {
        "us-east-1", "us-east-2", "us-west-2", "ap-south-1", "ap-southeast-2", "ap-southeast-3", "ap-northeast-1",
        "eu-central-1", "eu-west-1", "eu-west-2", "eu-south-1", "eu-north-1", "sa-east-1", "us-gov-west-1",
    }
)  # fmt: skip
RFT_REGIONS = frozenset({"us-west-2"})

_REGION = re.compile(r"[a-z]{2,5}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", re.ASCII)
_OTHER_SERVICES = ("bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock-runtime-fips")


def check_region(region: object, name: str) -> str:
    """Return a well-formed region. Raises `ConfigurationError`; an unknown one is a warning, since AWS adds regions."""
    if not isinstance(region, str):
        raise ConfigurationError(f"{name} must be a string such as 'us-west-2', not {type(region).__name__}.")
    text = region.strip()
    if _REGION.fullmatch(text) is None:
        why = (
            "it is empty"
            if not text
            else "it is an availability zone"
            if re.fullmatch(r".*-\d[a-f]", text)
            else "it is not one"
        )
        raise ConfigurationError(
            f"{name} should be a region such as 'us-west-2', but {why}: {sanitize_line(repr(text), 60)}."
        )
    return text


def default_url(region: str) -> str:
    """The public endpoint of a region."""
    if region not in KNOWN_REGIONS:
        warn_once(f"The region '{region}' is not on the list of regions with a {SERVICE} endpoint; using it as it is.")
    return f"https://{SERVICE}.{region}.api.aws/v1"


def base_url(text: object, name: str) -> str:
    """Return a base URL without a slash at its end.

    Args:
        text: what was given. A URL without a path gets `/v1`.
        name: where it came from, for the message.

    Raises:
        ConfigurationError: credentials could not go there safely, or it is no URL. Userinfo is not repeated.
    """
    try:
        return _checked(text, name)
    except ConfigurationError as error:
        text = None  # it may hold a password, and tracebacks may show the variables of frames
        raise error.with_traceback(None) from None


def _checked(text: object, name: str) -> str:
    if not isinstance(text, str):
        raise ConfigurationError(f"{name} must be a string, not {type(text).__name__}.")
    url = text.strip()
    if not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url):
        raise ConfigurationError(
            f"{name} is empty."
            if not url
            else f"{name} contains a space, a backslash or a character outside ASCII. {_EXAMPLE}"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # a port that is no number is found out when it is asked for
    except ValueError:
        raise ConfigurationError(f"{name} is not a URL. {_EXAMPLE}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"{name} needs a scheme and a host. {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{name} contains a user name or password, so its host is '{host}'. Remove that part.")
    _refuse_parts(parts, url, host, name)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/') or '/v1'}"


def _refuse_parts(parts: SplitResult, url: str, host: str, name: str) -> None:
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigurationError(f"{name} contains a query or a fragment. Give it up to the path. {_EXAMPLE}")
    if parts.port == 0:
        raise ConfigurationError(f"{name} names port 0, which is none.")
    segments = parts.path.split("/")
    if "." in segments or ".." in segments or "%" in parts.path:
        raise ConfigurationError(f"{name} contains dot segments or escapes in its path. {_EXAMPLE}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(f"{name} would send credentials to {host} in clear text. Use https.")
    if host.split(".", maxsplit=1)[0] in _OTHER_SERVICES and host.endswith((".amazonaws.com", ".api.aws")):
        raise ConfigurationError(
            f"{name} points at another service, {host}. Fine-tuning is served by {SERVICE}. {_EXAMPLE}"
        )


_EXAMPLE = f"Example: 'https://{SERVICE}.us-west-2.api.aws/v1'."


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_bedrock(url: str) -> bool:
    """Whether a base URL from another SDK's environment is meant for this service, by its host, or for this machine."""
    return is_mantle(url) or is_loopback(_host(url))


def is_mantle(url: str) -> bool:
    """Whether a label of a base URL's host is the service's name."""
    return SERVICE in _host(url).split(".")


def same_host(url: str, other: str | None) -> bool:
    """Whether two base URLs lead to one host and port; a base URL that is yet to be decided is none other."""
    return other is None or urlsplit(url.strip().lower()).netloc == urlsplit(other.lower()).netloc


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def host_region(url: str) -> str | None:
    """The region that a host name carries: `bedrock-mantle.REGION.api.aws`, or `….bedrock-mantle.REGION.vpce.…`."""
    labels = (urlsplit(url).hostname or "").split(".")
    after = labels[labels.index(SERVICE) + 1 :] if SERVICE in labels else []
    return after[0] if after and _REGION.fullmatch(after[0]) else None
