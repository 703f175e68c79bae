"""Who asks, and over which scheme: read here and nowhere else, through a stated number of proxies.

Each proxy adds to the right of `X-Forwarded-For` whom it was asked by, so of what stands there only the last
`hops` entries are known to be true; further left is whatever the client made up.
"""

import socket
from collections.abc import MutableMapping
from typing import Any


def see_through(scope: MutableMapping[str, Any], hops: int) -> None:
    """Put the client's own address and scheme into the scope of a request that came through `hops` proxies."""
    forwarded_for: list[bytes] = []
    forwarded_proto: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded_for += value.split(b",")
        elif name == b"x-forwarded-proto":
            forwarded_proto.append(value)
    if len(forwarded_for) >= hops and (address := _address(forwarded_for[-hops])):
        scope["client"] = (address, 0)
    if forwarded_proto:
        scope["scheme"] = scheme(b",".join(forwarded_proto), hops, scope["scheme"])


def scheme(forwarded_proto: bytes, hops: int, own: str) -> str:
    """The scheme that the client used, by what `X-Forwarded-Proto` says, all of them in one.

    Args:
        own: that of the connection, for when it says nothing of use.
    """
    if not forwarded_proto or not hops:
        return own
    entries = forwarded_proto.split(b",")
    # Many proxies set this header instead of adding to it.
    found = entries[-min(hops, len(entries))].strip().lower()
    return found.decode() if found in (b"http", b"https") else own


def _address(entry: bytes) -> str | None:
    """An address as a proxy writes it: some add the port, and brackets around IPv6."""
    text = entry.strip().decode("latin-1")
    try:
        # The C library's check: a tenth of what `ipaddress` takes, and this runs for every request.
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            text = text.partition(":")[0]
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
        except (OSError, ValueError):
            return None
    return text
