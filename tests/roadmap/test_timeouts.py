"""Every time limit and keepalive of the plan, read back from the live connections of every pool."""

import asyncio
import gc
import os
import socket
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests.inside import inside
from tests.service import wait_until

SERVER_SIDE = (
    "application_name",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "client_connection_check_interval",
)
CLIENT_SIDE = {
    "keepalives": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    "keepalives_idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    "keepalives_interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    "keepalives_count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    "tcp_user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
}
PLAN = {
    "statement_timeout": "2min",
    "idle_in_transaction_session_timeout": "1min",
    "lock_timeout": "10s",
    "client_connection_check_interval": "2s",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 5,
    "tcp_user_timeout": 20_000,
}
CHANGED = {
    "DB_STATEMENT_TIMEOUT": "77",
    "DB_IDLE_IN_TRANSACTION_TIMEOUT": "0.5",
    "DB_LOCK_TIMEOUT": "3",
    "DB_CLIENT_CHECK_INTERVAL": "4",
    "DB_KEEPALIVES_IDLE": "31",
    "DB_KEEPALIVES_INTERVAL": "11",
    "DB_KEEPALIVES_COUNT": "6",
    "DB_TCP_USER_TIMEOUT": "21.5",
}
CHANGED_PLAN = {
    "statement_timeout": "77s",
    "idle_in_transaction_session_timeout": "500ms",
    "lock_timeout": "3s",
    "client_connection_check_interval": "4s",
    "keepalives": 1,
    "keepalives_idle": 31,
    "keepalives_interval": 11,
    "keepalives_count": 6,
    "tcp_user_timeout": 21_500,
}
POOLS = {
    "web": {"orm", "checkpointer", "joins", "watch"},
    "worker": {"orm", "checkpointer", "jobs", "watch"},
}


async def read_back(arguments: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """In the process: the settings of every open connection, by its name on the server."""
    from roadmap import checkpointer

    for _ in range(2):  # the connections that a restart or an expiry brings are as the first ones
        async with checkpointer.saver().conn.connection() as connection:  # the web keeps none of these open
            await connection.execute("SELECT 1")
        await filled()
        found: dict[str, list[dict[str, Any]]] = {}
        for connection in open_connections():
            settings = await ask(connection)
            found.setdefault(settings.pop("application_name"), []).append(settings)
        for pool in open_pools():
            await pool.drain() if isinstance(pool, AsyncConnectionPool) else await asyncio.to_thread(
                pool.drain
            )
    return found


async def filled() -> None:
    """Return once the watch is connected, and every pool has what it keeps open."""
    await asyncio.to_thread(wait_until, is_filled, 20, "the pools are filled and the watch is connected")


def is_filled() -> bool:
    names = {c.info.get_parameters().get("application_name", "") for c in open_connections()}
    full = all(p.get_stats().get("pool_available", 0) >= p.min_size for p in open_pools())
    return full and any(name.endswith("/watch") for name in names)


def open_pools() -> list[ConnectionPool | AsyncConnectionPool]:
    return [o for o in gc.get_objects() if type(o) in (ConnectionPool, AsyncConnectionPool)]


def open_connections() -> list[AsyncConnection | Connection]:
    found = [o for o in gc.get_objects() if isinstance(o, AsyncConnection | Connection)]
    return [connection for connection in found if not connection.closed]


async def ask(connection: AsyncConnection | Connection) -> dict[str, Any]:
    statement = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SERVER_SIDE)
    if isinstance(connection, AsyncConnection):
        async with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            row = await (await cursor.execute(statement)).fetchone()
    else:
        with psycopg.Cursor(connection) as cursor:
            row = cursor.execute(statement).fetchone()
        connection.rollback()
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as end:
        options = {name: end.getsockopt(*option) for name, option in CLIENT_SIDE.items()}
    return {**dict(zip(SERVER_SIDE, row, strict=True)), **options}


@pytest.mark.parametrize("role", ["web", "worker"])
@pytest.mark.parametrize(
    ("variables", "expected"), [({}, PLAN), (CHANGED, CHANGED_PLAN)], ids=["the-plan's", "changed"]
)
def test_every_connection_of_every_pool_has_the_limits_of_the_plan(role, variables, expected, database):
    found = inside(role, database, read_back, **variables)
    assert set(found) == {f"roadmap_agent/{role}/{pool}" for pool in POOLS[role]}
    for name, connections in found.items():
        for settings in connections:
            assert settings == expected, name


def test_keepalives_can_be_turned_off_for_all_of_them(database):
    found = inside("web", database, read_back, DB_KEEPALIVES="0")
    assert {settings["keepalives"] for connections in found.values() for settings in connections} == {0}


async def pool_limits(arguments: dict[str, Any]) -> dict[str, list[float]]:
    from healthcheck import pools

    return {p.name: [p.timeout, p.max_lifetime, p.min_size, p.max_size] for p in pools.announced()}  # type: ignore[attr-defined]


def test_pools_wait_and_recycle_as_planned(database):
    limits = inside("web", database, pool_limits)
    assert limits == {"orm": [30, 1800, 8, 24], "checkpointer": [30, 1800, 0, 1], "joins": [2, 1800, 1, 1]}
    limits = inside(
        "worker",
        database,
        pool_limits,
        DB_POOL_TIMEOUT="7",
        CHECKPOINTER_POOL_TIMEOUT="0.5",
        JOBS_POOL_TIMEOUT="8",
        DB_POOL_MAX_LIFETIME="99",
    )
    assert limits == {"orm": [7, 99, 2, 6], "checkpointer": [0.5, 99, 1, 4], "jobs": [8, 99, 1, 2]}


async def connect_timeouts(arguments: dict[str, Any]) -> dict[str, str]:
    await filled()
    return {
        parameters["application_name"]: parameters["connect_timeout"]
        for parameters in (connection.info.get_parameters() for connection in open_connections())
    }


def test_connecting_takes_no_longer_than_planned(database):
    """The watch's own limit is 5 s: readiness cannot wait for the plan's."""
    found = inside("web", database, connect_timeouts, DB_CONNECT_TIMEOUT="17")
    assert found == {
        "roadmap_agent/web/orm": "17",
        "roadmap_agent/web/joins": "17",
        "roadmap_agent/web/watch": "5",
    }


async def parameters_of_jobs(arguments: dict[str, Any]) -> list[dict[str, str]]:
    """In the process, at work: the parameters of the jobs pool's connections, and of the one that listens."""
    from roadmap.runs.working import working
    from roadmap.server.resources import Worker

    def named() -> list[dict[str, str]]:
        found = [connection.info.get_parameters() for connection in open_connections()]
        return [each for each in found if each["application_name"] == "roadmap_agent/worker/jobs"]

    worker: Worker = arguments["opened"]
    async with working(worker.jobs, worker.threads, 1):
        await asyncio.to_thread(
            wait_until, lambda: len(named()) > worker.jobs.get_stats()["pool_size"], 20, "it listens"
        )
        return named()


def test_the_connection_that_listens_for_jobs_is_as_those_of_their_pool(database):
    first, *others = inside("worker", database, parameters_of_jobs, **CHANGED)
    assert others
    assert all(other == first for other in others)
    assert "statement_timeout=77000" in first["options"]
