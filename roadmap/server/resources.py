"""What belongs to a process: opened in its event loop after the fork, once, and closed in reverse."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple, cast

from django.conf import settings
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg_pool import AsyncConnectionPool

from healthcheck import pools, watch
from healthcheck.connecting import connection_kwargs
from healthcheck.heal import acheck_and_heal
from roadmap import checkpointer
from roadmap.runs import authors, hub
from roadmap.server.threads import Threads
from waitlist.joins import BACKLOG, JoinWriter

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def orm_pool() -> AsyncIterator[None]:
    """Django's pool, opened before the first request instead of by it."""
    connection = cast(DatabaseWrapper, connections["default"])
    pool = connection.pool
    assert pool is not None  # noqa: S101  # the settings of every role with pools have one
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
    pools.announce_gauge("joins", writer.gauge, BACKLOG)
    try:
        yield writer
    finally:
        await writer.close()
        pools.withdraw("joins")
        await pool.close()


@contextlib.asynccontextmanager
async def jobs_pool() -> AsyncIterator[AsyncConnectionPool]:
    """The pool of the worker's jobs; the connection that listens is made like its own, outside of it."""
    size = settings.CONNECTION_PLAN.worker.pool("jobs")
    pool = AsyncConnectionPool(
        kwargs=connection_kwargs("jobs"),
        name="jobs",
        min_size=size.min,
        max_size=size.max,
        timeout=size.timeout,
        max_lifetime=settings.CONNECTION_PLAN.timeouts.max_lifetime,
        reconnect_timeout=1,
        check=acheck_and_heal,
        open=False,
    )
    await pool.open()
    pools.announce(pool)
    try:
        yield pool
    finally:
        pools.withdraw("jobs")
        await pool.close()


@contextlib.asynccontextmanager
async def orm_threads(size: int) -> AsyncIterator[Threads]:
    threads = Threads(size)
    pools.announce_gauge("threads", threads.gauge)
    try:
        yield threads
    finally:
        pools.withdraw("threads")
        await threads.close()


class Web(NamedTuple):
    """What requests need of the web process."""

    writer: JoinWriter
    threads: Threads


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """What every process with pools has, whatever its role.

    No server is waited for: a process whose database is away starts, and is not ready.
    """
    role = settings.CONNECTION_PLAN.role(settings.PROCESS_ROLE)
    for size in role.pools:
        logger.info(
            "pool %s of %s: min %d, max %d, timeout %g s",
            size.name,
            role.name,
            size.min,
            size.max,
            size.timeout,
        )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(orm_pool())
        await stack.enter_async_context(checkpointer.opened())
        expected = frozenset(pool.name for pool in role.pools)
        await stack.enter_async_context(watch.watching(expected))
        yield


@contextlib.asynccontextmanager
async def opened_for_web() -> AsyncIterator[Web]:
    size = settings.CONNECTION_PLAN.orm_threads
    async with opened(), orm_threads(size) as threads, join_writer() as writer, hub.opened(threads):
        yield Web(writer, threads)


class Worker(NamedTuple):
    """What jobs need of a worker's process."""

    threads: Threads
    jobs: AsyncConnectionPool


@contextlib.asynccontextmanager
async def opened_for_worker() -> AsyncIterator[Worker]:
    plan = settings.CONNECTION_PLAN
    # No thread ever waits for a connection.
    size = min(plan.orm_threads, plan.worker.pool("orm").max)
    async with opened(), orm_threads(size) as threads, jobs_pool() as pool, authors.opened():
        yield Worker(threads, pool)
