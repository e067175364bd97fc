"""Validate regions and base URLs, and decide which hosts may receive credentials."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

SERVICE = "bedrock-mantle"
"""Name of the service in host names and signatures."""

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
    """Return a well-formed region, or raise `ConfigurationError`. Unknown regions pass, because AWS adds regions."""
    if not isinstance(region, str):
        raise ConfigurationError(f"{name} must be a string such as 'us-west-2', not {type(region).__name__}.")
    text = region.strip()
    if _REGION.fullmatch(text) is None:
        zone = re.fullmatch(r".*-\d[a-f]", text)
        why = "it is an availability zone" if zone else "it has another form" if text else "it is empty"
        raise ConfigurationError(
            f"{name} should be a region such as 'us-west-2', but {why}: {sanitize_line(repr(text), 60)}."
        )
    return text


def base_url(text: object, name: str) -> str:
    """Return a base URL with a path, by default `/v1`. Raise `ConfigurationError`, without secrets, for others."""
    try:
        return _parse_base_url(text, name)
    except ConfigurationError as error:
        text = None  # the text may contain a password, and tracebacks may show local variables
        raise error.with_traceback(None) from None


def _parse_base_url(text: object, name: str) -> str:
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
        _ = parts.port  # raises for a port that is not a number
        host.encode("idna")  # raises for a host that cannot be resolved, such as one with an empty label
    except ValueError:
        raise ConfigurationError(f"{name} is not a URL. {_EXAMPLE}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"{name} needs a scheme and a host. {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{name} contains '@': the text between '//' and '@' is a user name or password, and the host is '{host}'. "
            "Remove that text and the '@'."
        )
    _refuse_parts(parts, url, host, name)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/') or '/v1'}"


def _refuse_parts(parts: SplitResult, url: str, host: str, name: str) -> None:
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigurationError(f"{name} contains a query or a fragment. Remove all that follows the path. {_EXAMPLE}")
    if parts.port == 0:
        raise ConfigurationError(f"{name} has port 0, which is not valid.")
    segments = parts.path.split("/")
    if "." in segments or ".." in segments or "%" in parts.path:
        raise ConfigurationError(f"{name} contains dot segments or escapes in its path. {_EXAMPLE}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(f"{name} would send credentials to {host} in clear text. Use https.")
    if host.split(".", maxsplit=1)[0] in _OTHER_SERVICES and host.endswith((".amazonaws.com", ".api.aws")):
        raise ConfigurationError(f"{name} points to another service, {host}. Fine-tuning uses {SERVICE}. {_EXAMPLE}")


_EXAMPLE = f"Example: 'https://{SERVICE}.us-west-2.api.aws/v1'."


def is_loopback(host: str) -> bool:
    """Check if a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_local_service(url: str) -> bool:
    """Check if a base URL is that of the local service: in this process, or on this machine."""
    return url.startswith("local:") or is_loopback(_host_name(url))


def is_bedrock(url: str) -> bool:
    """Check if a base URL from the environment of another SDK is for this service or this machine."""
    return is_mantle(url) or is_loopback(_host_name(url))


def is_mantle(url: str) -> bool:
    """Check if the host of a base URL has the name of the service as a label."""
    return SERVICE in _host_name(url).split(".")


def same_host(url: str, other: str | None) -> bool:
    """Check if two base URLs have the same host and port. A base URL that is not resolved yet (None) equals any."""
    return other is None or urlsplit(url.strip().lower()).netloc == urlsplit(other.lower()).netloc


def _host_name(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def host_region(url: str) -> str | None:
    """Return the region in a host name: `bedrock-mantle.REGION.api.aws` or `….bedrock-mantle.REGION.vpce.…`."""
    labels = (urlsplit(url).hostname or "").split(".")
    following_labels = labels[labels.index(SERVICE) + 1 :] if SERVICE in labels else []
    return following_labels[0] if following_labels and _REGION.fullmatch(following_labels[0]) else None
