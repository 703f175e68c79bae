"""What belongs to a process: opened in its event loop after the fork, once, and closed in reverse."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from django.conf import settings
from django.db import connections
from psycopg_pool import AsyncConnectionPool

from healthcheck import pools, watch
from healthcheck.connecting import connection_kwargs
from roadmap import checkpointer
from waitlist.joins import JoinWriter

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def orm_pool() -> AsyncIterator[None]:
    """Django's pool, opened before the first request instead of by it."""
    connection = connections["default"]
    pool = connection.pool
    pool.open()
    pools.announce(pool)
    try:
        yield
    finally:
        pools.withdraw("orm")
        await asyncio.to_thread(connection.close_pool)


@contextlib.asynccontextmanager
async def join_writer() -> AsyncIterator[JoinWriter]:
    """The join writer and its pool; what it was given is committed before it goes."""
    plan = settings.CONNECTION_PLAN
    size = plan.web.pool("joins")
    pool = AsyncConnectionPool(
        # The one statement is prepared once. There is no check: the writer repeats a batch that was cut.
        kwargs=connection_kwargs("joins", autocommit=True, prepare_threshold=1),
        name="joins",
        min_size=size.min,
        max_size=size.max,
        timeout=size.timeout,
        max_lifetime=plan.timeouts.max_lifetime,
        reconnect_timeout=1,
        open=False,
    )
    await pool.open()
    writer = JoinWriter(pool)
    writer.start()
    pools.announce(pool)
    pools.announce_gauge("joins", writer.gauge)
    try:
        yield writer
    finally:
        await writer.close()
        pools.withdraw("joins")
        await pool.close()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[JoinWriter | None]:
    """Everything that this process's role has; the web's join writer is what the block gets.

    No server is waited for: a process whose database is away starts, and is not ready.
    """
    role = settings.CONNECTION_PLAN.role(settings.PROCESS_ROLE)
    for size in role.pools:
        logger.info("pool %s of %s: min %d, max %d, timeout %g s", size.name, role.name, size.min, size.max, size.timeout)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(orm_pool())
        await stack.enter_async_context(checkpointer.opened())
        writer = await stack.enter_async_context(join_writer()) if role.name == "web" else None
        await stack.enter_async_context(watch.watching(frozenset(pool.name for pool in pools.announced())))
        yield writer
