"""What gave way to another transaction is done again; what is simply wrong is not."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from roadmap.runs.patience import patiently
from tests.client import run
from tests.service import query, wait_until

FIRST, SECOND = "SELECT pg_advisory_xact_lock(1)", "SELECT pg_advisory_xact_lock(2)"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def counted(
    url: str, work: Callable[[psycopg.AsyncConnection, int], Awaitable[None]]
) -> Callable[[], Awaitable[int]]:
    """Work in a transaction, told how often it has been begun; what it gives is that number."""
    times = 0

    async def once() -> int:
        nonlocal times
        times += 1
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await work(connection, times)
        return times

    return once


def test_a_transaction_that_a_deadlock_ended_is_done_again(database):
    async def work(connection: psycopg.AsyncConnection, times: int) -> None:
        await connection.execute(FIRST)
        await connection.execute(SECOND)

    async def both() -> int:
        async with await psycopg.AsyncConnection.connect(database.url) as other:
            await other.execute(SECOND)
            working = asyncio.create_task(patiently("a test", counted(database.url, work)))
            await asyncio.to_thread(
                wait_until, lambda: query(database.url, WAITING)[0][0], 5, "it waits for the second"
            )
            await other.execute(FIRST)  # it waited first, so it is the one that is ended
        return await working

    assert run(asyncio.wait_for(both(), 20)) == 2


def test_a_transaction_that_came_into_conflict_is_done_again(database):
    with psycopg.connect(database.url, autocommit=True) as other:
        other.execute("CREATE TABLE number AS SELECT 0 AS n")

        async def work(connection: psycopg.AsyncConnection, times: int) -> None:
            await connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
            await connection.execute("SELECT n FROM number")
            if times == 1:
                other.execute("UPDATE number SET n = 1")
            await connection.execute("UPDATE number SET n = n + 1")

        assert run(patiently("a test", counted(database.url, work))) == 2
    assert query(database.url, "SELECT n FROM number") == [(2,)]


def test_a_mistake_is_not_repeated(database):
    async def work(connection: psycopg.AsyncConnection, times: int) -> None:
        assert times == 1
        await connection.execute("SELECT nothing")

    with pytest.raises(psycopg.errors.UndefinedColumn):
        run(patiently("a test", counted(database.url, work)))
