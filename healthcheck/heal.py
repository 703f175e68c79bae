"""The `check` of the pools: one dead connection found means that all idle ones are looked at.

After a restart of the server every idle connection is dead. psycopg_pool's own loop would try them one by one
with a back-off in between: with three of them a caller waits 3 s, with eight it times out.
"""

import time
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

FRESH = 1.0  # seconds


def check_and_heal(connection: Connection[Any]) -> None:
    """Make sure that a connection works before it is handed out.

    Raises:
        psycopg.OperationalError: it is dead; the pool drops it and tries another, which is alive by then.
    """
    try:
        ConnectionPool.check_connection(connection)
    except Exception:
        # psycopg_pool sets `_pool` on a connection before it checks it.
        pool: ConnectionPool[Any] | None = getattr(connection, "_pool", None)
        if pool is not None:
            pool.check()
        raise


async def acheck_if_idle(connection: AsyncConnection[Any]) -> None:
    """The same for callers who do again what a broken connection cost them: each is checked once in `FRESH` seconds.

    A check takes a round trip; for a run's checkpoints, which are one each, it would double their time.

    Raises:
        psycopg.OperationalError: as above.
    """
    now = time.monotonic()
    if now - getattr(connection, "checked_at", float("-inf")) > FRESH:
        await acheck_and_heal(connection)
        connection.checked_at = now  # type: ignore[attr-defined]


async def acheck_and_heal(connection: AsyncConnection[Any]) -> None:
    """The same for a pool of an event loop.

    Raises:
        psycopg.OperationalError: as above.
    """
    try:
        await AsyncConnectionPool.check_connection(connection)
    except Exception:
        pool: AsyncConnectionPool[Any] | None = getattr(connection, "_pool", None)
        if pool is not None:
            await pool.check()
        raise
