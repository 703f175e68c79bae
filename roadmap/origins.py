"""Names of hosts and origins of pages, read strictly: a misspelt one would match nothing, and nobody would hear."""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

from roadmap.environment import BadValue

HOSTS = "names of hosts with commas between, such as example.com, .example.com or [::1], with no scheme and no port"
ORIGINS = (
    "origins as browsers send them, with commas between, such as https://www.example.com or http://localhost:3000: "
    "in small letters, with a scheme, and with neither a path nor the scheme's own port"
)
LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
HOST = re.compile(rf"\.?{LABEL}(\.{LABEL})*", re.IGNORECASE)
# Browsers take names with an underscore, and Django's check of the Host header does not.
ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?"
)
OWN_PORT = {"http": "80", "https": "443"}


def read_hosts(name: str, text: str) -> list[str]:
    """What Django's `ALLOWED_HOSTS` takes.

    Raises:
        BadValue: an entry that no `Host` header can match, or no entry at all.
    """
    hosts = _stripped(text.split(","))
    for host in hosts:
        if host != "*" and not HOST.fullmatch(host) and not _is_ipv6(host):
            raise BadValue(name, host, HOSTS)
    if not hosts:
        raise BadValue(name, text, HOSTS)
    return hosts


def read_origins(name: str, entries: Iterable[str], *, wildcards: bool = False) -> list[str]:
    """Origins; with `wildcards` also such as `https://*.example.com`, as `CSRF_TRUSTED_ORIGINS` takes them.

    Raises:
        BadValue: an entry that no `Origin` header can match.
    """
    origins = _stripped(entries)
    for origin in origins:
        match = ORIGIN.fullmatch(origin)
        if (
            match is None
            or (match[2] and not wildcards)
            or (match[3].startswith("[") and not _is_ipv6(match[3]))
            or (match[4] and (match[4] == OWN_PORT.get(match[1]) or int(match[4]) > 65535))
        ):
            raise BadValue(name, origin, ORIGINS + (", or https://*.example.com" if wildcards else ""))
    return origins


def _stripped(entries: Iterable[str]) -> list[str]:
    return [entry.strip() for entry in entries if entry.strip()]


def _is_ipv6(host: str) -> bool:
    if not (host.startswith("[") and host.endswith("]")):
        return False
    try:
        return IPv6Address(host[1:-1]).scope_id is None
    except ValueError:
        return False
