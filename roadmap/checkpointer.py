"""The checkpointer pool of this process, and a saver for one run.

`AsyncPostgresSaver` takes one lock around everything that it does, so a saver that all runs share does one
operation at a time, however large the pool. A saver costs nothing: each run gets its own, over the shared pool.

LangGraph is a quarter of what a start would import; the web and most commands never need it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection as orm
from psycopg import AsyncConnection, connect
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from healthcheck import pools
from healthcheck.connecting import connection_kwargs
from healthcheck.heal import acheck_and_heal, acheck_if_idle

if TYPE_CHECKING:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

# What the saver needs of its connections; it handles transactions by itself.
_SAVERS: dict[str, Any] = {"autocommit": True, "row_factory": dict_row}

_pool: Pool | None = None
_loop: asyncio.AbstractEventLoop | None = None


class NotOpen(RuntimeError):
    """This process has no checkpointer pool open."""


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Pool]:
    """Open this process's pool in the running loop, for as long as the block; it waits for no server."""
    global _pool, _loop
    size = settings.CONNECTION_PLAN.role(settings.PROCESS_ROLE).pool("checkpointer")
    opening: Pool = AsyncConnectionPool(
        kwargs=connection_kwargs("checkpointer", **_SAVERS),
        name="checkpointer",
        min_size=size.min,
        max_size=size.max,
        timeout=size.timeout,
        max_lifetime=settings.CONNECTION_PLAN.timeouts.max_lifetime,
        reconnect_timeout=1,
        # A run writes again what a broken connection cost it; a page of the web does not ask twice.
        check=acheck_if_idle if settings.PROCESS_ROLE == "worker" else acheck_and_heal,
        open=False,
    )
    await opening.open()
    pools.announce(opening)
    _pool, _loop = opening, asyncio.get_running_loop()
    try:
        yield opening
    finally:
        _pool = _loop = None
        pools.withdraw(opening.name)
        await opening.close()


def pool() -> Pool:
    """This process's pool.

    Raises:
        NotOpen: outside `opened()`.
    """
    if _pool is None:
        raise NotOpen("The checkpointer pool is not open in this process.")
    return _pool


def saver() -> AsyncPostgresSaver:
    """A saver for one run's history; the run itself has a fenced one (`roadmap.runs.saver`).

    Raises:
        NotOpen: outside `opened()`.
    """
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    return AsyncPostgresSaver(pool())


def ask[T](question: Callable[[AsyncPostgresSaver], Coroutine[Any, Any, T]], seconds: float) -> T:
    """What a saver says, for a caller in another thread than the pool's; it may take so many seconds.

    Raises:
        NotOpen: outside `opened()`.
        TimeoutError
    """
    if _loop is None:
        raise NotOpen("The checkpointer pool is not open in this process.")

    async def answer() -> T:
        async with asyncio.timeout(seconds):
            return await question(saver())

    return asyncio.run_coroutine_threadsafe(answer(), _loop).result()


def prune(kept: str, parameters: list[Any]) -> None:
    """Delete all checkpoints but those of the threads that are kept; through the ORM, on the caller's connection.

    The checkpoints themselves go first: a thread that loses only them begins anew, without what they name it breaks.

    Args:
        kept: a query for their ids. It is asked within each statement, so that no thread that begins meanwhile is lost.
    """
    with orm.cursor() as cursor:
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            cursor.execute(f"DELETE FROM {table} WHERE thread_id NOT IN ({kept})", parameters)  # noqa: S608  # constants


def make_tables() -> None:
    """Make the saver's tables, or bring them up to date; on a connection of its own, as a command has it."""
    from langgraph.checkpoint.postgres import PostgresSaver

    with connect(**connection_kwargs(**_SAVERS)) as connection:
        PostgresSaver(connection).setup()
