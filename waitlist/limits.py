"""How often one client may join: in memory, per process, so that no connection is spent on saying no."""

import re
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

CLIENTS = 100_000  # that are remembered at most; of more, the one that was seen longest ago is forgotten


class Rate(NamedTuple):
    """`burst` joins at once, then `per_second`."""

    burst: int
    per_second: float


class BadRate(ValueError):
    """`JOIN_RATE_LIMIT` is no rate; the text says what it takes."""


def read_rate(text: str) -> Rate | None:
    """A rate from `burst/per second`, or None for `off`.

    Raises:
        BadRate: it is neither.
    """
    if text == "off":
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,3})?)", text)
    if not match or int(match[1]) < 1 or float(match[2]) <= 0:
        raise BadRate(f"JOIN_RATE_LIMIT is {text!r}; it takes burst/per second, such as 2000/20, or off.")
    return Rate(int(match[1]), float(match[2]))


class Limiter:
    """A leaky bucket for each client (GCRA), kept as one number: when its bucket will be empty."""

    def __init__(self, rate: Rate, clients: int = CLIENTS, clock: Callable[[], float] = time.monotonic):
        self._interval = 1 / rate.per_second
        self._burst = rate.burst * self._interval
        self._clients = clients
        self._clock = clock
        self._empty_at: dict[str, float] = {}

    def wait(self, address: str) -> float:
        """Count a join of the client at `address`: 0.0, or the seconds until it may join again."""
        key = address if "." in address and ":" not in address else _network(address)
        now = self._clock()
        # Taken out and put back at the end: the dict's order is the order of last use.
        empty_at = max(now, self._empty_at.pop(key, now))
        wait = empty_at + self._interval - self._burst - now
        # Rounding must not cost the last join of a burst.
        allowed = wait <= 1e-9
        self._empty_at[key] = empty_at + self._interval if allowed else empty_at
        if len(self._empty_at) > self._clients:
            del self._empty_at[next(iter(self._empty_at))]
        return 0.0 if allowed else wait


def _network(address: str) -> str:
    """IPv6 by /64, which is what one household or machine gets; an IPv4 address in IPv6's clothes is itself."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(IPv6Network((int(ip) >> 64 << 64, 64)).network_address)
