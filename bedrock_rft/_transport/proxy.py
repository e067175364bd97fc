"""Find the proxy that the environment or the operating system names for an endpoint."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft._core.redaction import Secret
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.http import origin

_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


@dataclass(frozen=True)
class Proxy:
    """An HTTP or SOCKS proxy, the variable that names it, its address without password, and its problem."""

    url: Secret[str]
    source: str
    address: str
    problem: str | None = None

    @property
    def is_https(self) -> bool:
        """True if the connection to the proxy itself uses TLS."""
        return self.url.reveal().startswith("https:")


def find_proxy(address: str) -> Proxy | None:
    """Return the proxy for the endpoint at `address`; None for loopback hosts and those in NO_PROXY."""
    # NO_PROXY may contain `*`, domains, addresses, networks, IPv6 with or without brackets, and a port after each.
    from urllib.request import getproxies, getproxies_environment, proxy_bypass

    scheme, host, port = origin(address)
    if is_loopback(host):
        return None
    proxies = getproxies()
    kind = scheme if proxies.get(scheme) else "all"
    url = proxies.get(kind)
    if not url or any(_matches_no_proxy(entry, host, port) for entry in proxies.get("no", "").split(",")):
        return None
    in_environment = bool(getproxies_environment())
    if not in_environment and proxy_bypass(host):  # the settings of Windows and macOS
        return None
    lower, upper = f"{kind}_proxy", f"{kind.upper()}_PROXY"
    variable = lower if os.environ.get(lower) else upper
    return _parse(url.strip(), variable if in_environment else "the system settings")


def _parse(url: str, source: str) -> Proxy:
    url = url if "://" in url else f"http://{url}"
    problem = _problem(url)
    if problem is not None:
        return Proxy(Secret(url), source, "", problem)
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 1080)
    return Proxy(Secret(url), source, sanitize_line(f"{shown}:{port}", 300))


def _problem(url: str) -> str | None:
    if not url.isprintable():
        return "it contains a control character"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # fails for a host that cannot be resolved, such as one with an empty label
    except ValueError:
        return "its host or port is invalid; reserved characters in a password must be encoded"
    if "@" in parts.path + parts.query + parts.fragment:
        return "reserved characters in its user name or password must be percent-encoded"
    if parts.scheme not in _SCHEMES:
        return f"its scheme must be one of {', '.join(sorted(_SCHEMES))}"
    return "it has no valid host" if not host or " " in host else None


def _matches_no_proxy(entry: str, host: str, port: int) -> bool:
    entry = entry.strip().lower().rpartition("://")[2]
    if entry == "*":
        return True
    bracketed = re.fullmatch(r"\[([^\]]+)\](/\d+)?(?::(\d+))?", entry)
    plain = re.fullmatch(r"([^:]+)(?::(\d+))?", entry)
    if bracketed:
        name, named_port = bracketed[1] + (bracketed[2] or ""), bracketed[3]
    elif plain:
        name, named_port = plain[1], plain[2]
    else:  # an IPv6 address or network without brackets
        name, named_port = entry, None
    if named_port and int(named_port) != port:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        domain, host = name.removeprefix("*").removeprefix(".").rstrip("."), host.rstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        network = ipaddress.ip_network(name.partition("%")[0], strict=False)
    except ValueError:
        return False
    return address in network
