"""The register of what this process has that can run out: its pools, and the queues in front of them.

Pools announce themselves here by name. Anything with `name`, `min_size`, `max_size` and `get_stats()` is a
pool; `get_stats()` answers as psycopg_pool's does, and must neither wait nor ask the server.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol


class Pool(Protocol):
    name: str

    @property
    def min_size(self) -> int: ...

    @property
    def max_size(self) -> int: ...

    def get_stats(self) -> Mapping[str, int]: ...


Gauge = Callable[[], Mapping[str, int]]

_pools: dict[str, Pool] = {}
_gauges: dict[str, Gauge] = {}
_most: dict[str, float] = {}


def announce(pool: Pool) -> None:
    """Make a pool known; one of the same name takes the place of the other."""
    _pools[pool.name] = pool


def withdraw(name: str) -> None:
    """Forget a pool or a gauge, because it is being closed."""
    _pools.pop(name, None)
    _gauges.pop(name, None)
    _most.pop(name, None)


def announce_gauge(name: str, gauge: Gauge, most: float = math.inf) -> None:
    """Make a group of figures known that `/health` shows beside the pools.

    A gauge that tells of `busy` or `backlog` is a queue: it is full when that reaches its `max`, or `most`.
    """
    _gauges[name] = gauge
    _most[name] = most


def announced() -> list[Pool]:
    return list(_pools.values())


def measure(pool: Pool) -> dict[str, int]:
    """A pool's figures at this moment, in connections; `timeouts` counts since the process started.

    `used` is what is not idle: handed out, or just being opened. Callers that gave up stay in psycopg_pool's
    queue until the next connection comes back, so `waiting` may count some of them.
    """
    stats = pool.get_stats()
    # A pool's counters are absent while they are zero.
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
    return {
        "size": size,
        "min": pool.min_size,
        "max": pool.max_size,
        "idle": idle,
        "used": max(0, size - idle),
        "overflow": max(0, size - pool.min_size),
        "waiting": stats.get("requests_waiting", 0),
        "timeouts": stats.get("requests_errors", 0),
    }


def measure_all() -> dict[str, dict[str, int]]:
    return {pool.name: measure(pool) for pool in announced()}


def most(gauge: str) -> float:
    """Where a gauge that does not tell its `max` is full; infinity where it never is."""
    return _most.get(gauge, math.inf)


def read_gauges() -> dict[str, dict[str, int]]:
    return {name: dict(gauge()) for name, gauge in _gauges.items()}
